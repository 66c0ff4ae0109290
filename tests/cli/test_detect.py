"""`facerec detect` and `facerec evaluate detection` as a user meets them."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from tests.conftest import Run, noise


def records(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_detect_prints_boxes_scores_and_landmarks(run: Run, picture: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "detect", picture, "--save", tmp_path / "drawn", "--crops", tmp_path / "crops", "--json"
    )
    (record,) = records(out)
    assert (code, record["width"], len(record["faces"])) == (0, 1260, 2)
    assert set(record["faces"][0]) == {"box", "score", "landmarks", "quality"}
    assert read_image(tmp_path / "drawn" / "picture.jpg", 10**7).shape == (560, 1260, 3)
    crops = sorted((tmp_path / "crops").iterdir())
    assert [crop.name for crop in crops] == ["picture-1.png", "picture-2.png"]
    height, width = read_image(crops[0], 10**7).shape[:2]
    assert height == width > 100


def test_detect_goes_on_after_what_cannot_be_read(run: Run, picture: Path, tmp_path: Path) -> None:
    code, out, err = run("detect", tmp_path / "none.jpg", picture, "--json")
    assert (code, len(records(out)), "no such file" in err) == (3, 1, True)


@pytest.fixture
def wider(picture: Path, tmp_path: Path, run: Run) -> tuple[Path, Path]:
    """A set in WIDER FACE's layout: both found faces, one that is not there, and a bare picture."""
    images = tmp_path / "images"
    (images / "0--Demo").mkdir(parents=True)
    (images / "0--Demo" / "both.jpg").write_bytes(picture.read_bytes())
    write_image(images / "0--Demo" / "bare.png", noise(60, 60))
    lines = ["0--Demo/both.jpg", "3"]
    for face in records(run("detect", picture, "--json")[1])[0]["faces"]:
        x1, y1, x2, y2 = map(round, face["box"])
        lines.append(f"{x1} {y1} {x2 - x1} {y2 - y1} 0 0 0 0 0 0")
    lines += ["600 300 80 80 0 0 0 0 0 0", "0--Demo/bare.png", "0", "0 0 0 0 0 0 0 0 0 0"]
    annotations = tmp_path / "gt.txt"
    annotations.write_text("\n".join(lines) + "\n")
    return annotations, images


def test_detectors_are_scored_on_wider_face(
    run: Run, wider: tuple[Path, Path], tmp_path: Path
) -> None:
    annotations, images = wider
    code, out, _ = run(
        "evaluate", "detection", "--data", images, "--annotations", annotations,
        "--plot", tmp_path / "curve.png", "--json",
    )  # fmt: skip
    (record,) = records(out)
    assert code == 0
    assert (record["images"], record["faces"]) == (2, 3)
    assert record["precision"] == 100
    assert record["recall"] == pytest.approx(200 / 3, abs=1e-3)
    assert record["average_precision"] == pytest.approx(200 / 3, abs=1e-3)
    assert record["seconds_per_image"] > 0
    assert read_image(tmp_path / "curve.png", 10**7).std() > 0


def test_a_key_of_one_of_several_detectors_is_taken_and_one_of_none_refused(
    run: Run, wider: tuple[Path, Path]
) -> None:
    annotations, images = wider
    command = (
        "evaluate", "detection", "--data", images, "--annotations", annotations, "--json",
        "--set", "detector.max_candidates=500", "--set", "detector.score=0.9",
    )  # fmt: skip
    code, _, err = run(*command)
    assert (code, "detector.score: mtcnn does not read it" in err) == (2, True)
    code, out, err = run(*command, "--compare", "centerface")
    assert code == 0, err
    assert len(records(out)) == 2


def test_a_damaged_image_costs_its_faces_and_not_the_evaluation(
    run: Run, wider: tuple[Path, Path], tmp_path: Path
) -> None:
    annotations, images = wider
    (images / "0--Demo" / "bare.png").write_bytes(b"damaged")
    arguments = ("evaluate", "detection", "--data", images, "--annotations", annotations, "--json")
    code, out, err = run(*arguments)
    (record,) = records(out)
    assert (code, record["images"], record["faces"], record["unreadable"]) == (3, 2, 3, 1)
    assert record["recall"] == pytest.approx(200 / 3, abs=1e-3)
    assert "bare.png: is not an image" in err
    assert "1 of 2 images cannot be read; its faces count as missed" in err
    (images / "0--Demo" / "both.jpg").unlink()
    code, out, err = run(*arguments)
    assert (code, out) == (3, "")
    assert "both.jpg: " in err


@pytest.fixture
def fddb(picture: Path, tmp_path: Path, run: Run) -> Path:
    """Two of FDDB's folds, as its owners pack them, with the faces that are found."""
    root = tmp_path / "FDDB"
    (root / "FDDB-folds").mkdir(parents=True)
    (found,) = records(run("detect", picture, "--json")[1])
    faces = []
    for face in found["faces"]:
        x1, y1, x2, y2 = face["box"]
        half = (y2 - y1) / 2, (x2 - x1) / 2
        faces.append(f"{half[0]} {half[1]} 1.5707963 {(x1 + x2) / 2} {(y1 + y2) / 2}  1")
    for fold, image in (("01", "2002/08/11/big/img_591"), ("02", "2003/01/15/big/img_7")):
        path = root / "originalPics" / f"{image}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture.read_bytes())
        lines = [image, str(len(faces)), *faces]
        folds = root / "FDDB-folds"
        (folds / f"FDDB-fold-{fold}-ellipseList.txt").write_text("\n".join(lines) + "\n")
        (folds / f"FDDB-fold-{fold}.txt").write_text(f"{image}\n")
    return root


def test_some_of_fddbs_folds_are_scored_in_any_of_its_owners_layouts(
    run: Run, fddb: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "fddb.tar.gz", "w:gz") as packed:
        packed.add(fddb, "FDDB")
    beside = shutil.copytree(fddb, tmp_path / "beside")
    for year in (beside / "originalPics").iterdir():
        year.rename(beside / year.name)
    wanted = {"images": 2, "faces": 4, "unreadable": 0, "precision": 100, "recall": 100}
    for place in (fddb, tmp_path / "fddb.tar.gz", beside):
        code, out, err = run("evaluate", "detection", "--data", place, "--json")
        assert code == 0, err
        (record,) = records(out)
        assert {key: record[key] for key in wanted} == wanted
        assert record["recall_at_false_positives"]["20"] == 100


def test_a_second_look_counts_as_the_profile_sets_it(
    run: Run, portraits: dict[str, Path], tmp_path: Path
) -> None:
    photo = read_image(portraits["eileen_collins"], 10**7)
    (found,) = records(run("detect", portraits["eileen_collins"], "--json")[1])[0]["faces"]
    x1, y1, x2, y2 = map(round, found["box"])
    margin = (x2 - x1) // 12
    tight = photo[y1 + margin : y2 - margin, x1 + margin : x2 - margin]
    write_image(tmp_path / "images" / "tight.png", tight)
    height, width = tight.shape[:2]
    (tmp_path / "gt.txt").write_text(f"tight.png\n1\n0 0 {width} {height}\n")
    recalls = []
    for how in ("none", "padding"):
        code, out, err = run(
            "evaluate", "detection", "--data", tmp_path / "images", "--annotations",
            tmp_path / "gt.txt", "--set", f"detector.second_look={how}", "--json",
        )  # fmt: skip
        assert code == 0, err
        recalls.append(records(out)[0]["recall"])
    assert recalls == [0, 100]


def test_an_absent_image_of_fddb_is_named_and_counted(run: Run, fddb: Path) -> None:
    (fddb / "originalPics/2003/01/15/big/img_7.jpg").unlink()
    code, out, err = run("evaluate", "detection", "--data", fddb, "--json")
    (record,) = records(out)
    assert (code, record["images"], record["faces"], record["unreadable"]) == (3, 2, 4, 1)
    assert record["recall"] == 50
    assert "2003/01/15/big/img_7.jpg" in err


def test_too_low_an_average_precision_exits_with_1(run: Run, wider: tuple[Path, Path]) -> None:
    annotations, images = wider
    arguments = ("evaluate", "detection", "--data", images, "--annotations", annotations)
    assert run(*arguments, "--fail-under", 90)[0] == 1
    assert run(*arguments, "--fail-under", 60)[0] == 0


def test_data_in_no_known_layout_is_one_line(run: Run, tmp_path: Path) -> None:
    code, _, err = run("evaluate", "detection", "--data", tmp_path)
    assert code == 3
    assert err == f"facerec: {tmp_path}: no FDDB-folds/FDDB-fold-*-ellipseList.txt\n"


@pytest.mark.slow
def test_detectors_are_compared_side_by_side(
    run: Run, wider: tuple[Path, Path], data: Path
) -> None:
    annotations, images = wider
    _, out, _ = run(
        "evaluate", "detection", "--data", images, "--annotations", annotations, "--compare",
        "yunet", "--set", f"detector.weights={data / 'models' / 'yunet_n_640.onnx'}", "--json",
    )  # fmt: skip
    assert [record["detector"]["name"] for record in records(out)] == ["mtcnn", "yunet"]
    assert all(record["recall"] > 60 for record in records(out))
