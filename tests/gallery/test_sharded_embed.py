"""`embed` by several processes gives the bytes that one gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from facerec import Engine, Gallery
from facerec.gallery import outcomes
from facerec.gallery.enrol import Ranks, enrol_photos
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from facerec.imaging.photos import Photo
from facerec.imaging.sources import list_people
from facerec.profile.loading import Profile, resolve
from tests.conftest import Run

pytestmark = pytest.mark.numeric

COPIES = 80


def photos_in(folder: Path) -> list[tuple[str, Photo]]:
    return list(list_people([str(folder)], name=None, stdin=None, null=False))


@pytest.fixture
def single_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each photo is a run of its own."""
    monkeypatch.setattr(outcomes, "_CHUNK", 1)


def embed_by(rank: int, out: Path, people: Path, engine: Engine) -> list[str]:
    """What one of two processes embeds."""
    seen: list[str] = []
    enrol_photos(
        str(out),
        photos_in(people),
        engine,
        Profile.load(),
        seen=lambda person, frame, faces: seen.append(person),
        ranks=Ranks(rank, 2),
    )
    return seen


@pytest.mark.usefixtures("single_photos")
def test_two_processes_share_the_photos_and_merge_to_the_bytes_of_one(
    run: Run, people: Path, engine: Engine, tmp_path: Path
) -> None:
    run("embed", people, "-o", tmp_path / "one.h5")
    assert embed_by(1, tmp_path / "two.h5", people, engine) == ["grace_hopper"]
    assert not (tmp_path / "two.h5").exists()
    assert embed_by(0, tmp_path / "two.h5", people, engine) == ["eileen_collins"]
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert not list(tmp_path.glob(".*.parts"))


@pytest.mark.usefixtures("single_photos")
def test_a_photo_that_changed_since_a_process_died_is_embedded_again(
    people: Path, engine: Engine, tmp_path: Path
) -> None:
    embed_by(1, tmp_path / "g.h5", people, engine)
    photo = people / "grace_hopper" / "grace_hopper.jpg"
    photo.write_bytes(photo.read_bytes() + b" ")
    assert embed_by(0, tmp_path / "g.h5", people, engine) == ["eileen_collins", "grace_hopper"]


@pytest.mark.usefixtures("single_photos")
def test_a_damaged_part_is_made_again(people: Path, engine: Engine, tmp_path: Path) -> None:
    embed_by(1, tmp_path / "g.h5", people, engine)
    for part in tmp_path.glob(".g.h5.parts/*.npz"):
        part.write_bytes(part.read_bytes()[:200])
    assert embed_by(0, tmp_path / "g.h5", people, engine) == ["eileen_collins", "grace_hopper"]


@pytest.mark.usefixtures("single_photos")
def test_what_was_left_out_as_enrolled_is_embedded_when_it_no_longer_is(
    run: Run, people: Path, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "g.h5"
    run("embed", people, "-o", path)
    embed_by(1, path, people, engine)
    run("gallery", "remove", "grace_hopper", "-g", path, "--force")
    embed_by(0, path, people, engine)
    assert Gallery.open(path).counts() == {"eileen_collins": 1, "grace_hopper": 1}


def test_a_photo_of_two_people_is_enrolled_for_both_whoever_was_first(
    people: Path, engine: Engine, tmp_path: Path
) -> None:
    """A group photo, listed under each name."""
    (_, photo), *_ = photos_in(people)
    path = tmp_path / "g.h5"
    enrol_photos(str(path), [("bob", photo)], engine, Profile.load())
    enrol_photos(str(path), [("ann", photo), ("bob", photo)], engine, Profile.load())
    assert Gallery.open(path).counts() == {"bob": 1, "ann": 1}


def test_a_vector_does_not_depend_on_what_is_embedded_beside_it(
    people: Path, engine: Engine, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    photos = photos_in(people)
    enrol_photos(str(whole), photos, engine, Profile.load())
    enrol_photos(str(part), photos[1:], engine, Profile.load())
    both, one = Gallery.open(whole).entries, Gallery.open(part).entries
    assert both.embeddings[1].tobytes() == one.embeddings[0].tobytes()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_vector_depends_on_no_neighbour_place_or_number_of_threads(precision: str) -> None:
    profile = resolve("default", settings=[f"runtime.precision={precision}"], flags={}).profile
    engine = Engine.from_profile(profile).in_whole_batches()
    chips = np.random.default_rng(0).integers(0, 256, (20, 150, 150, 3), np.uint8)
    vectors = engine.embed_chips(chips)
    order = np.random.default_rng(1).permutation(len(chips))[:13]
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            again = engine.embed_chips(chips[order])
            assert again.tobytes() == vectors[order].tobytes()
    finally:
        torch.set_num_threads(before)


def test_several_processes_cannot_share_a_list_on_stdin(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    code, _, err = run("embed", "-", "-o", "g.h5")
    assert (code, "cannot share standard input" in err) == (2, True)


@pytest.fixture
def many(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Two people with many different photos each, several runs of them."""
    for name, file in portraits.items():
        photo = read_image(file, 10**7)
        for number in range(COPIES):
            write_image(tmp_path / "people" / name / f"{number:02}.jpg", photo[number:, number:])
    return tmp_path / "people"


def ranks_of(launcher: int) -> list[int]:
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_killing_a_process_costs_nothing_and_the_same_command_ends_with_the_same_bytes(
    many: Path, tmp_path: Path
) -> None:
    one = [sys.executable, "-m", "facerec", "embed", str(many), "-o", str(tmp_path / "one.h5")]
    subprocess.run(one, check=True, capture_output=True)
    sharded = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("-m", "facerec", "embed", str(many), "-o", str(tmp_path / "two.h5")),
    ]
    folder = tmp_path / ".two.h5.parts"
    launcher = subprocess.Popen(sharded, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(folder.glob("*.npz")):
        assert launcher.poll() is None
    os.kill(ranks_of(launcher.pid)[-1], signal.SIGKILL)
    assert launcher.wait(60) != 0
    assert not (tmp_path / "two.h5").exists()
    assert list(folder.glob("*.npz"))

    subprocess.run(sharded, check=True, capture_output=True)
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert not folder.exists()
