"""`facerec evaluate` on small made data; the table and the report as processes."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from facerec.card import Norms
from facerec.errors import UsageError
from facerec.models.factory import create_network
from facerec.training.run_folder import write_artefact
from facerec.weights.store import load_card, read_model
from tests.conftest import Run, make_card, spawn

PEOPLE, PHOTOS = 12, 3
CHROMIUM = shutil.which("chromium")


def chip(person: int, photo: int) -> np.ndarray:
    """A made 150x150 face: blobs that belong to the person, grain that belongs to the photo."""
    own = np.random.default_rng(person).integers(0, 256, (6, 6, 3), np.uint8)
    smooth = cv2.resize(own, (150, 150), interpolation=cv2.INTER_CUBIC).astype(int)
    grain = np.random.default_rng((person, photo)).integers(-50, 51, (150, 150, 3))
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def jpeg(person: int, photo: int) -> bytes:
    return cv2.imencode(".jpg", chip(person, photo))[1].tobytes()


def name(person: int, photo: int) -> str:
    return f"P{person}/P{person}_{photo:04d}.jpg"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for person in range(PEOPLE):
        (root / f"P{person}").mkdir()
        for photo in range(1, PHOTOS + 1):
            (root / name(person, photo)).write_bytes(jpeg(person, photo))
    return root


def made_pairs() -> list[tuple[tuple[int, int], tuple[int, int], bool]]:
    same = [((p, a), (p, b), True) for p in range(PEOPLE) for a, b in ((1, 2), (1, 3), (2, 3))]
    different = [
        ((p, 1), ((p + k) % PEOPLE, 1 + k % 3), False) for p in range(PEOPLE) for k in range(1, 10)
    ]
    return same + different


@pytest.fixture(scope="module")
def pair_list(faces: Path) -> Path:
    lines = [f"{name(*a)} {name(*b)} {int(same)}" for a, b, same in made_pairs()]
    path = faces / "pairs.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FACEREC_HOME", str(tmp_path_factory.mktemp("home")))
    yield
    patch.undo()


@pytest.fixture
def evaluate(run: Run) -> Callable[..., list[dict]]:
    """Run `facerec evaluate --aligned --json`: arguments to records."""

    def call(*arguments: object, code: int = 0) -> list[dict]:
        done, out, err = run("evaluate", *arguments, "--aligned", "--json")
        assert done == code, err
        return [json.loads(line) for line in out.splitlines()]

    return call


def test_a_pair_list(evaluate, faces, pair_list):
    (record,) = evaluate("pairs", "--data", faces)
    assert record["pairs"] == len(made_pairs())
    assert record["images"] == PEOPLE * PHOTOS
    assert record["missing"] == 0
    assert record["accuracy"] > 90
    assert set(record["tar_at_far"]) == {"1e-1", "1e-2"}
    (again,) = evaluate("pairs", "--data", faces)
    assert again["from_cache"] == PEOPLE * PHOTOS
    assert again["accuracy"] == record["accuracy"]
    (fresh,) = evaluate("pairs", "--data", faces, "--no-cache")
    assert fresh["from_cache"] == 0
    assert fresh["threshold"] == pytest.approx(record["threshold"], abs=1e-5)


def lfw_list() -> str:
    rows = []
    for fold in range(2):
        own = range(6 * fold, 6 * fold + 6)
        rows += [f"P{p}\t1\t2" for p in own]
        rows += [f"P{p}\t1\tP{own[(k + 1) % 6]}\t2" for k, p in enumerate(own)]
    return "2\t6\n" + "\n".join(rows)


def two_line_list() -> str:
    return "".join(
        f"{name(*a)} {int(same)}\n{name(*b)} {int(same)}\n" for a, b, same in made_pairs()
    )


@pytest.mark.parametrize(
    ("protocol", "file", "text"),
    [
        ("lfw", "pairs.txt", lfw_list()),
        ("calfw", "pairs_CALFW.txt", two_line_list()),
        ("cplfw", "pairs_CPLFW.txt", two_line_list()),
        ("agedb", "agedb_30_pair.txt",
         "\n".join(f"{name(*a)} {name(*b)} {int(same)}" for a, b, same in made_pairs())),
    ],
)  # fmt: skip
def test_protocols_with_a_list(evaluate, faces, tmp_path, protocol, file, text):
    (tmp_path / file).write_text(text)
    (record,) = evaluate(protocol, "--data", faces, "--pairs", tmp_path / file)
    assert record["protocol"] == protocol
    assert record["accuracy"] > 85


@pytest.mark.parametrize("kind", ["FF", "FP"])
def test_cfp(evaluate, tmp_path, kind):
    for view, folder, letter in (("frontal", "frontal", "F"), ("profile", "profile", "P")):
        lines = []
        for person in range(4):
            image = tmp_path / "Data" / "Images" / f"{person:03d}" / folder / "01.jpg"
            image.parent.mkdir(parents=True)
            image.write_bytes(jpeg(person, 1 if view == "frontal" else 2))
            lines.append(f"{person + 1} ../Data/Images/{person:03d}/{folder}/01.jpg")
        (tmp_path / "Protocol").mkdir(exist_ok=True)
        (tmp_path / "Protocol" / f"Pair_list_{letter}.txt").write_text("\n".join(lines))
    for split in ("01", "02"):
        folder = tmp_path / "Protocol" / "Split" / kind / split
        folder.mkdir(parents=True)
        (folder / "same.txt").write_text("1,1\n2,2\n3,3\n")
        (folder / "diff.txt").write_text("1,2\n2,3\n3,4\n")
    (record,) = evaluate(f"cfp-{kind.lower()}", "--data", tmp_path)
    assert record["accuracy"] == 100
    assert record["pairs"] == 12


def test_a_bin_set(evaluate, tmp_path):
    images = [jpeg(*photo) for a, b, _ in made_pairs() for photo in (a, b)]
    path = tmp_path / "made.bin"
    path.write_bytes(pickle.dumps((images, [same for _, _, same in made_pairs()])))
    (record,) = evaluate("bin", "--data", path)
    assert record["protocol"] == "bin:made"
    assert record["accuracy"] > 90


def test_identification_with_strangers(evaluate, faces, tmp_path):
    (tmp_path / "gallery.txt").write_text("\n".join(name(p, 1) for p in range(8)))
    (tmp_path / "probes.txt").write_text(
        "\n".join(name(p, k) for p in range(PEOPLE) for k in (2, 3))
    )
    lists = ("--gallery", tmp_path / "gallery.txt", "--probes", tmp_path / "probes.txt")
    (record,) = evaluate("identification", "--data", faces, *lists, "--report", tmp_path / "out")
    assert record["people"] == 8
    assert (record["probes"], record["strangers"]) == (24, 8)
    assert record["rank_1"] <= record["rank_5"] <= record["rank_10"] == 100
    assert "CMC" in (tmp_path / "out" / "index.html").read_text()
    evaluate("identification", "--data", faces, *lists, "--fail-under", "100.1", code=1)


def test_ijb_in_both_layouts(evaluate, faces, tmp_path):
    nist, insight = tmp_path / "nist", tmp_path / "insight"
    for root, folder in ((nist, "img"), (insight, "loose_crop")):
        (root / folder).mkdir(parents=True)
        for person in range(PEOPLE):
            for photo in range(1, 4):
                (root / folder / f"{person}-{photo}.jpg").write_bytes(jpeg(person, photo))
    heading = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"
    gallery = [f"{p},{p},img/{p}-1.jpg" for p in range(PEOPLE - 2)]
    probes = [f"{100 + p},{p},img/{p}-{k}.jpg" for p in range(PEOPLE) for k in (2, 3)]
    pairs = [(a, 100 + b) for a in range(PEOPLE - 2) for b in range(PEOPLE)]
    (nist / "ijbc_1N_gallery_G1.csv").write_text(heading + "\n".join(gallery))
    (nist / "ijbc_1N_probe_mixed.csv").write_text(heading + "\n".join(probes))
    (nist / "ijbc_11_G1_G2_matches.csv").write_text("".join(f"{a},{b}\n" for a, b in pairs))
    (first,) = evaluate("ijb", "--data", nist)
    assert first["genuine"] == PEOPLE - 2
    assert first["pairs"] == len(pairs)
    assert first["galleries"]["ijbc_1N_gallery_G1.csv"]["strangers"] == 2

    rows = [f"{p}-1.jpg {p} {3 * p}" for p in range(PEOPLE - 2)]
    rows += [f"{p}-{k}.jpg {100 + p} {3 * p + k - 1}" for p in range(PEOPLE) for k in (2, 3)]
    (insight / "ijbc_face_tid_mid.txt").write_text("\n".join(rows))
    (insight / "ijbc_template_pair_label.txt").write_text(
        "".join(f"{a} {b} {int(b - 100 == a)}\n" for a, b in pairs)
    )
    (second,) = evaluate("ijb", "--data", insight)
    assert second["eer"] == first["eer"]
    assert second["tar_at_far"] == first["tar_at_far"]


def test_missing_images_are_counted(run, evaluate, faces, pair_list, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(faces, copy)
    (copy / name(0, 1)).unlink()
    (copy / name(1, 1)).write_bytes(b"no image")
    (whole,) = evaluate("pairs", "--data", faces)
    (record,) = evaluate("pairs", "--data", copy, code=3)
    assert (record["missing"], record["unreadable"]) == (2, 2)
    assert record["tar_at_far"]["1e-1"] < whole["tar_at_far"]["1e-1"]
    code, _, err = run("evaluate", "pairs", "--data", copy, "--aligned", "--json")
    assert (code, err.count(name(1, 1))) == (3, 1)
    code, out, err = run("evaluate", "pairs", "--data", copy, "--aligned", "--on-missing", "fail")
    assert (code, out) == (3, "")
    assert "2 of 36 images have no vector" in err


def test_an_unembeddable_photo_goes_through_detection(run, faces, pair_list):
    code, _, err = run("evaluate", "pairs", "--data", faces, "--json", "--no-cache")
    assert code == 2
    assert "36 of 36 images have no vector" in err
    assert "no face found" in err


def test_fail_under_says_no(evaluate, faces, pair_list):
    evaluate("pairs", "--data", faces, "--fail-under", "50")
    evaluate("pairs", "--data", faces, "--fail-under", "100.1", code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pairs", "--data", "nowhere"], 4, "nowhere: no such folder or archive"),
        (["bin", "--data", "nowhere"], 4, "nowhere: No such file"),
        (["cfp-ff", "--data", ".", "--pairs", "x"], 2, "cfp-ff brings its own pairs"),
        (["lfw", "--data", "."], 4, "holds no pairs.txt or pairs_LFW.txt; name it"),
        (["pairs", "--data", ".", "--model", "x.onnx"], 2, "no such|carries no model card|holds"),
        (["pairs", "--data", ".", "--card", "a", "--card", "b"], 2, "no model is left"),
    ],
)
def test_usage_errors_are_one_line(run, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    ended, _, err = run("evaluate", *arguments)
    assert re.search(message, err), err
    assert len(err.splitlines()) == 1
    assert ended in (code, 4)


def test_groups_show_a_gap(evaluate, faces, pair_list, tmp_path):
    table = tmp_path / "groups.csv"
    lines = [f"P{p},{'even' if p % 2 == 0 else 'odd'}" for p in range(PEOPLE)]
    table.write_text("person,group\n" + "\n".join(lines))
    (record,) = evaluate("pairs", "--data", faces, "--groups", table)
    groups = record["by_group"]["groups"]
    accuracies = [group["accuracy"] for group in groups.values()]
    assert set(groups) == {"even", "odd"}
    assert record["by_group"]["gap"] == pytest.approx(max(accuracies) - min(accuracies), abs=1e-3)
    inside = sum(a[0] % 2 == b[0] % 2 for a, b, _ in made_pairs())
    assert sum(group["pairs"] for group in groups.values()) == inside


def test_two_models_are_compared(evaluate, faces, pair_list, tmp_path):
    card = tmp_path / "same.yaml"
    card.write_text(yaml.safe_dump(load_card("dlib_resnet").model_dump(mode="json")))
    scalars = tmp_path / "board"
    *records, last = evaluate(
        "pairs", "--data", faces, "--model", "dlib_resnet", "--model", "dlib_resnet",
        "--tensorboard", scalars,
    )  # fmt: skip
    assert len(records) == 2
    (comparison,) = last["comparisons"]
    assert comparison["p_value"] == 1.0
    assert len(list(scalars.rglob("events.out*"))) == 2


def test_a_card_belongs_to_the_model_that_carries_none(evaluate, faces, pair_list, tmp_path):
    card = make_card(
        16, architecture="test_iresnet", input_height=32, input_width=32, calibration=None
    )
    network, own = create_network(card).eval(), tmp_path / "own.safetensors"
    written = write_artefact(own, network, card, "")
    tensors = {key: it.numpy() for key, it in network.state_dict().items()}
    save_file(tensors, tmp_path / "bare.safetensors")
    theirs = tmp_path / "card.json"
    theirs.write_text(written.model_dump_json(exclude={"sha256"}))
    *records, _ = evaluate(
        "pairs", "--data", faces, "--model", own, "--model", tmp_path / "bare.safetensors",
        "--card", theirs,
    )  # fmt: skip
    assert records[0]["accuracy"] == records[1]["accuracy"]


def test_the_calibrated_threshold_is_the_one_that_compare_uses(
    run, evaluate, faces, pair_list, tmp_path
):
    card = tmp_path / "card.yaml"
    (record,) = evaluate("pairs", "--data", faces, "--calibrate", card)
    calibration = yaml.safe_load(card.read_text())["calibration"]
    assert calibration["data"] == "pairs"
    assert calibration["pairs"] == len(made_pairs())
    assert calibration["thresholds"] == {"1e-2": record["thresholds"]["1e-2"]}
    _, out, _ = run(
        "compare", faces / name(0, 1), faces / name(1, 1), "--aligned", "--far", "1e-2",
        "--set", f"model.card={card}", "--json",
    )  # fmt: skip
    assert json.loads(out)["threshold"] == round(record["thresholds"]["1e-2"], 6)


def test_a_gallery_is_calibrated_and_compare_uses_it(run, evaluate, faces, pair_list, tmp_path):
    gallery = tmp_path / "gallery.h5"
    code, _, err = run("embed", faces, "--aligned", "--out", gallery)
    assert code == 0, err
    (record,) = evaluate("pairs", "--data", faces, "--calibrate", gallery)
    from facerec.gallery import Gallery

    card = Gallery.open(gallery).card
    assert card.threshold(1e-2) == record["thresholds"]["1e-2"]
    _, out, _ = run(
        "compare", faces / name(0, 1), "P1", "--gallery", gallery, "--aligned", "--far", "1e-2",
        "--json",
    )  # fmt: skip
    assert json.loads(out)["threshold"] == round(record["thresholds"]["1e-2"], 6)


def test_calibration_measures_the_norms_of_a_model_to_which_they_mean_something(
    run, evaluate, faces, pair_list, tmp_path
):
    model, photo = tmp_path / "mag.safetensors", faces / name(0, 1)
    card = make_card(
        16, name="mag", architecture="test_iresnet", input_height=32, input_width=32,
        norms=Norms(loss="magface"),
    )  # fmt: skip
    write_artefact(model, create_network(card).eval(), card, "")
    assert run("model", "show", model, "--table")[1].count("not measured (magface)") == 1
    command = "pairs", "--data", faces, "--model", model, "--calibrate", model
    evaluate(*command)
    low, median = read_model(model)[0].norms.usual
    assert read_model(model)[0].norms.data == "pairs"
    assert 0 < low < median
    assert run("model", "show", model, "--table")[1].count(f"{median:g} (median)") == 1
    # From the cache, too, and a gallery's faces tell their quality by it.
    evaluate(*command)
    assert read_model(model)[0].norms.usual == (low, median)
    gallery = tmp_path / "g.h5"
    own = "--aligned", "--set", f"model.name={model}"
    assert run("embed", faces, *own, "--out", gallery)[0] == 0
    code, out, err = run("recognize", "image", photo, "--gallery", gallery, *own, "--far", "1e-2")
    assert code == 0, err
    (face,) = json.loads(out)["faces"]
    assert face["norm"] > 0
    assert face["quality"] <= 2 ** -max(0, (median - face["norm"]) / (median - low)) + 1e-3


def test_norms_that_do_not_differ_are_told(run, faces, pair_list, tmp_path, monkeypatch):
    model = tmp_path / "mag.safetensors"
    card = make_card(
        16, name="mag", architecture="test_iresnet", input_height=32, input_width=32,
        norms=Norms(loss="adaface"),
    )  # fmt: skip
    write_artefact(model, create_network(card).eval(), card, "")
    monkeypatch.setattr("facerec.evaluation.embedding._facts", lambda face: {"norm": 1.0})
    code, _, err = run(
        "evaluate", "pairs", "--data", faces, "--model", model, "--calibrate", model, "--aligned"
    )
    assert code == 0, err
    assert "no usual norms, since all vectors have the same" in err
    assert read_model(model)[0].norms == Norms(loss="adaface", data="pairs")


@pytest.mark.parametrize("command", [("pairs", "--data"), ("all",)])
def test_figures_are_told_also_where_thresholds_cannot_be_written(
    command, run, faces, pair_list, tmp_path, monkeypatch
):
    def full(*_: object) -> None:
        raise UsageError("no space left on device")

    monkeypatch.setattr("facerec.cli.evaluation.calibration._write", full)
    data = faces if "--data" in command else f"pairs={faces}"
    code, out, err = run(
        "evaluate", *command, data, "--aligned", "--calibrate", tmp_path / "card.yaml", "--json"
    )
    record = json.loads(out)
    assert code == 2
    assert "no space left on device" in err
    assert "accuracy" in record
    assert "calibrated" not in record


def test_a_card_of_another_model_is_not_overwritten(run, faces, pair_list, tmp_path):
    card = tmp_path / "card.json"
    fields = load_card("dlib_resnet").model_dump(mode="json") | {"input_height": 96}
    card.write_text(json.dumps(fields))
    code, _, err = run("evaluate", "pairs", "--data", faces, "--aligned", "--calibrate", card)
    assert code == 2
    assert "was built with dlib_resnet" in err
    assert json.loads(card.read_text()) == fields


def test_a_gallery_of_another_model_is_refused_before_the_work(
    run: Run, faces, pair_list, tmp_path, monkeypatch
):
    from facerec.gallery import Gallery

    gallery = tmp_path / "g.h5"
    other = load_card("dlib_resnet").model_copy(update={"augment": "flip"})
    Gallery(other).save(gallery)

    def refuse(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("facerec.evaluation.run.embed_set", refuse)
    for command in (("pairs", "--data", faces), ("all", f"pairs={faces}")):
        code, _, err = run("evaluate", *command, "--aligned", "--calibrate", gallery)
        assert (code, "was built with dlib_resnet" in err) == (2, True)


def test_too_few_pairs_for_a_threshold_are_told_before_the_work(
    run: Run, faces, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("facerec.evaluation.run.embed_set", refuse)
    few, card = tmp_path / "few.txt", tmp_path / "card.yaml"
    few.write_text(f"{name(0, 1)} {name(0, 2)} 1\n" + f"{name(0, 1)} {name(1, 1)} 0\n" * 99)
    options = "--aligned", "--calibrate", card
    code, _, err = run("evaluate", "pairs", "--data", faces, "--pairs", few, *options)
    assert (code, "at least 100 pairs of different people, pairs has 99" in err) == (2, True), err
    code, _, err = run("evaluate", "all", f"pairs={faces}", "--aligned", "--calibrate", "card.txt")
    assert (code, "a card ends in" in err) == (2, True), err


def test_a_table_on_request(faces, pair_list):
    done = spawn("evaluate", "pairs", "--data", faces, "--aligned", "--table")
    assert done.returncode == 0
    assert "accuracy, %" in done.stdout
    assert "TAR at FAR 1e-2, %" in done.stdout


@pytest.fixture(scope="module")
def page(faces, pair_list, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    # Different photos called the same person make errors that the page can show.
    wrong = faces / "wrong.txt"
    wrong.write_text(pair_list.read_text() + f"\n{name(0, 1)} {name(5, 1)} 1\n")
    done = spawn(
        "evaluate", "pairs", "--data", faces, "--pairs", wrong, "--aligned", "--report", out
    )
    assert done.returncode == 0, done.stderr
    return out / "index.html"


def test_the_report_needs_nothing_else(page):
    html = page.read_text()
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html.replace("https://www.w3.org", "")
    assert "<script" not in html
    assert "data:image/jpeg;base64," in html


def test_the_report_is_not_replaced_unasked(evaluate, faces, pair_list, page):
    before = page.read_text()
    evaluate("pairs", "--data", faces, "--report", page.parent, code=2)
    assert page.read_text() == before


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_report_opens_in_a_browser(page):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: problems.append(request.url)
               if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        tab.goto(page.as_uri())
        assert tab.locator("h1").inner_text().startswith("pairs")
        assert tab.locator("svg[role=img]").count() == 4
        assert all(svg.bounding_box()["height"] > 200 for svg in tab.locator("svg[role=img]").all())
        pictures = tab.locator(".pair img")
        assert pictures.count() >= 2
        assert pictures.first.evaluate("image => image.complete && image.naturalWidth > 0")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert problems == []
