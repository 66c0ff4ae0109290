"""One awkward tree, and who is who in it by `embed`, `recognize image`, `train` and `evaluate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from facerec.training.data.opening import open_examples
from tests.conftest import Run
from tests.training.test_training import tiny

TREE = {
    "Data/Images/grace_hopper/frontal/1.png": "grace_hopper",
    "Data/Images/grace_hopper/profile/2.png": "grace_hopper",
    "Data/Images/grace_hopper/2019/deep/3.png": "grace_hopper",
    "Data/Images/eileen_collins/profile/1.png": "eileen_collins",
    "Data/Images/eileen_collins/4.png": "eileen_collins",
}
JUNK = ("Data/Images/@eaDir/1.png", "Data/__MACOSX/x/._1.png", ".git/1.png", "Data/#recycle/9.png",
        "Data/Images/.picasaoriginals/1.png", "Data/FOUND.000/2.png", "Data/Images/LOST.DIR/3.png",
        "Data/.dtrash/4.png", "Data/Images/grace_hopper/.AppleDouble/5.png", "@Recycle/6.png",
        "Data/Images/grace_hopper/Thumbs.db")  # fmt: skip
PEOPLE = {"grace_hopper": 3, "eileen_collins": 2}


@pytest.fixture
def awkward(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    root = tmp_path / "cfp"
    for number, (key, person) in enumerate(TREE.items()):
        photo = read_image(portraits[person], 10**7)
        write_image(root / key, photo[4 * number :, 4 * number :])
    for key in JUNK:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "Data/Images/eileen_collins/4.png", root / key)
    (root / "Data/Fiducials/grace_hopper").mkdir(parents=True)
    (root / "Data/Fiducials/grace_hopper/1.txt").write_text("1 2")
    return root


@pytest.fixture(params=["folder", "tar", "zip"])
def place(request: pytest.FixtureRequest, awkward: Path, tmp_path: Path) -> Path:
    if request.param == "folder":
        return awkward
    return Path(shutil.make_archive(str(tmp_path / "packed"), request.param, awkward.parent, "cfp"))


def test_four_commands_agree_on_who_is_who(place: Path, run: Run, tmp_path: Path) -> None:
    gallery = tmp_path / "g.h5"
    code, out, _ = run("embed", place, "-o", gallery, "--json")
    assert (code, json.loads(out)["people"]) == (0, PEOPLE)

    code, out, _ = run("recognize", "image", place, "-g", gallery, "--json")
    named = {
        line["image"].partition("Data/")[2]: face["name"]
        for line in map(json.loads, out.splitlines())
        for face in line["faces"]
    }
    assert named == {key.removeprefix("Data/"): person for key, person in TREE.items()}

    examples = open_examples(place)
    trained = {
        examples.name(row).partition("Data/")[2]: examples.people[label]
        for row, label in enumerate(examples.labels)
    }
    assert trained == named
    real = tiny(
        tmp_path / "run", "--data", place, "--json", data__synthetic="false", train__batch=4
    )
    code, out, err = run(*real, "--set", "data.check_aligned=false")
    assert code == 0, err
    assert (json.loads(out)["people"], json.loads(out)["images"]) == (2, 5)

    lists = tmp_path / "known.txt", tmp_path / "new.txt"
    lists[0].write_text("\n".join(key for key in TREE if key.endswith("1.png")))
    lists[1].write_text("\n".join(key for key in TREE if not key.endswith("1.png")))
    options = ("--gallery", lists[0], "--probes", lists[1], "--json")
    code, out, err = run("evaluate", "identification", "--data", place, *options)
    assert code == 0, err
    found = json.loads(out)
    assert (found["people"], found["strangers"], found["rank_1"]) == (2, 0, 100)


def test_the_level_may_be_said_to_each(awkward: Path, run: Run, tmp_path: Path) -> None:
    level = ("--person-level", "parent")
    code, out, _ = run("embed", awkward, "-o", tmp_path / "g.h5", "--json", *level)
    folders = {"frontal": 1, "profile": 2, "deep": 1, "eileen_collins": 1}
    assert (code, json.loads(out)["people"]) == (0, folders)
    assert open_examples(awkward, "parent").people == sorted(folders)
