"""Whatever reads a tree of photos sees the same ones: enrolment, alignment, training, evaluation,
cleanup, video, in a folder, a tar, a zip and behind a URL."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.cli.cleanup_inputs import look_at_excluded
from facerec.errors import MissingError
from facerec.imaging.archives import locate, open_source
from facerec.imaging.names import IMAGE_SUFFIXES
from facerec.imaging.sources import find_photos, list_people, photo_tree
from facerec.training.data.opening import open_examples
from facerec.video.sources import ImageSource

# As in ORL, the AT&T database of faces.
ORL = ["s1/1.pgm", "s1/2.pgm", "s2/1.pgm"]
JUNK = [
    "s1/._1.pgm",
    "__MACOSX/s1/1.pgm",
    "@eaDir/1.pgm/SYNOPHOTO_THUMB_M.jpg",
    "s2/@eaDir/1.jpg",
    "#recycle/s2/9.pgm",
    "$RECYCLE.BIN/$R1.jpg",
    "lost+found/1.jpg",
    "s1/.thumbnails/1.png",
    ".cache/1.jpg",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """ORL's layout, as disks and network drives return it."""
    root = tmp_path / "orl"
    pixels = np.random.default_rng(0).integers(0, 256, (112, 92), np.uint8)
    for name in [*ORL, *JUNK]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(path, "PNG" if path.suffix == ".png" else "PPM")
    (root / "README").write_text("no photo")
    return root


def packed(tree: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(tree), kind, tree))


@pytest.fixture(params=["folder", "tar", "gztar", "zip"])
def place(tree: Path, request: pytest.FixtureRequest) -> Path:
    return tree if request.param == "folder" else packed(tree, request.param)


def located(place: Path) -> list[str]:
    return list(locate(open_source(place), [name.replace(".pgm", ".jpg") for name in ORL]).values())


def trained_on(place: Path) -> Iterator[str]:
    examples = open_examples(str(place))
    assert sorted(examples.people) == ["s1", "s2"]
    for index in range(len(examples.labels)):
        assert examples.image(index).shape == (112, 92, 3)
        yield examples.name(index).removeprefix(f"{place}/")


READERS: dict[str, Callable[[Path], object]] = {
    "find_photos": lambda place: [photo.key for photo in find_photos([place])],
    "list_people": lambda place: [f"{who}/{Path(p.name).name}" for who, p in list_people([place])],
    "photo_tree": photo_tree,
    "locate": located,
    "training": trained_on,
}


@pytest.mark.parametrize("reader", READERS)
def test_pgm_files_are_seen_and_what_systems_leave_beside_them_is_not(
    place: Path, reader: str
) -> None:
    assert list(READERS[reader](place)) == ORL  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_excluded_sets_of_a_cleanup_see_them_too(
    tree: Path, kind: str, engine, tmp_path: Path
) -> None:
    from facerec import Profile

    place = tree if kind == "folder" else packed(tree, kind)
    (seen,), _ = look_at_excluded(
        [place], engine.card, tmp_path / "report", Profile.load(), aligned=True
    )
    assert sorted(seen.file) == ORL


def test_frames_of_a_video_see_them_too(tree: Path) -> None:
    assert len(list(ImageSource(str(tree / "s1"), 10**6).frames())) == 2


def test_photos_behind_a_url_are_seen_too(tree: Path) -> None:
    assert [photo.key for photo in find_photos([f"file://{tree}"])] == ORL


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_training_takes_every_suffix_that_enrolment_takes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "data" / "ann" / f"1{suffix.upper()}"
    path.parent.mkdir(parents=True)
    path.touch()
    (photo,) = find_photos([tmp_path / "data"])
    assert photo.path == path
    assert len(open_examples(str(tmp_path / "data")).labels) == 1


def test_a_tree_of_junk_alone_has_no_images(tmp_path: Path) -> None:
    (tmp_path / "data" / "@eaDir").mkdir(parents=True)
    (tmp_path / "data" / "@eaDir" / "1.jpg").touch()
    with pytest.raises(MissingError, match="holds no images"):
        open_examples(str(tmp_path / "data"))


def test_people_whose_folders_are_links_are_seen_by_all(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    for person in ("s1", "s2"):
        (tmp_path / "linked" / person).symlink_to(tree / person)
    assert [photo.key for photo in find_photos([tmp_path / "linked"])] == ORL
    assert list(trained_on(tmp_path / "linked")) == ORL
    assert located(tmp_path / "linked") == ORL


@pytest.mark.parametrize("reader", READERS)
def test_what_is_passed_over_is_counted_and_said_once(
    place: Path, reader: str, caplog: pytest.LogCaptureFixture
) -> None:
    list(READERS[reader](place))  # type: ignore[call-overload]
    said = [one.getMessage() for one in caplog.records if "passed over" in one.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"{place}: passed over {len(JUNK)} system files: ")


@pytest.mark.parametrize(
    "name", ["@Recycle", "System Volume Information", "#snapshot", ".@__thumb", ".Trash-1000"]
)
def test_what_other_systems_leave_is_passed_over_too(name: str, tmp_path: Path) -> None:
    for folder in ("ann", name):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    assert [person for person, _ in list_people([tmp_path])] == ["ann"]


def test_listed_and_globbed_system_files_are_passed_over(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = (path for path in sorted(tree.rglob("*.*")) if path.is_file())
    listed = "\n".join(map(str, files)).encode()
    found = [person for person, _ in list_people(["-"], stdin=io.BytesIO(listed))]
    # A list may mean what is hidden.
    assert set(found) == {"s1", "s2", ".cache"}
    assert f"-: passed over {len(JUNK) - 1} system files" in caplog.text
    globbed = [person for person, _ in list_people(sorted(tree.glob("[!.R]*")))]
    assert globbed == ["s1", "s1", "s2"]
    assert [photo.key for photo in find_photos([tree / "@eaDir"])]
