"""`--save` and `--crops`: every photo gets an image of its own, and no file is lost for it."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.cli.saved_images import SavedImages
from facerec.errors import UsageError
from facerec.files.writing import replacing
from facerec.imaging.photos import FilePhoto
from tests.conftest import Run, noise


def saver(folder: Path, *places: object, force: bool = False, **options) -> SavedImages:
    return SavedImages(
        folder, [str(place) for place in places], what="image", force=force, **options
    )


@pytest.fixture(autouse=True)
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in", "a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_tree_is_kept(tmp_path: Path) -> None:
    saved = saver(tmp_path / "out", "a", "b")
    for name in ("a/img1.jpg", "b/img1.jpg", "b/deep/img1.jpg"):
        saved.save(name, noise(8, 8))
    assert files(tmp_path / "out") == ["a/img1.jpg", "b/deep/img1.jpg", "b/img1.jpg"]


@pytest.mark.parametrize(
    "suffix",
    ["gif", "bmp", "tif", "tiff", "heic", "avif", "jxl", "pgm", "ppm", "dng", "mpo", "GIF", "cr2"],
)
def test_a_format_that_is_not_written_becomes_png_and_is_told_once(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, image = saver(tmp_path / "out", "in"), noise(8, 8)
    for name in ("x", "y"):
        saved.save(f"in/{name}.{suffix}", image)
    saved.save("in/x.png", image)
    assert files(tmp_path / "out") == sorted([f"x.{suffix}.png", "x.png", f"y.{suffix}.png"])
    with Pillow.open(tmp_path / "out" / f"x.{suffix}.png") as written:
        assert np.array_equal(np.array(written), image)
    assert capsys.readouterr().err.count(f".{suffix.lower()} cannot be written") == 1


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "jpe", "jfif", "png", "webp"])
def test_a_format_that_is_written_stays(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saver(tmp_path / "out", "in").save(f"in/x.{suffix}", noise(8, 8))
    assert files(tmp_path / "out") == [f"x.{suffix}"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "width"), [("webp", 16_384), ("jpg", 65_501)])
def test_an_image_too_long_for_its_format_becomes_png(
    tmp_path: Path, suffix: str, width: int
) -> None:
    saver(tmp_path / "out", "in").save(f"in/x.{suffix}", np.zeros((1, width, 3), np.uint8))
    assert files(tmp_path / "out") == [f"x.{suffix}.png"]


def test_crops_of_photos_of_one_name_are_all_there(tmp_path: Path) -> None:
    drawn = saver(tmp_path / "out", "in")
    cut = saver(tmp_path / "out", "in", beside=drawn)
    for name in ("x.jpg", "x.png", "x-1.png", "X.jpg"):
        drawn.save(f"in/{name}", noise(8, 8))
        for number in (1, 2):
            cut.save(f"in/{name}", noise(8, 8), number)
    assert len(files(tmp_path / "out")) == 12
    assert len({name.casefold() for name in files(tmp_path / "out")}) == 12


@pytest.mark.parametrize("letter", ["x", "é", "日"])
def test_a_name_too_long_for_a_crop_is_shortened(tmp_path: Path, letter: str) -> None:
    stem = letter * (251 // len(letter.encode()))
    (tmp_path / "out").mkdir()
    cut = saver(tmp_path / "out", "in")
    cut.refuse_existing([FilePhoto(Path(f"in/{stem}.jpg"), Path("in"))], 10_000)
    for name in (f"{stem}.jpg", f"{stem[:-1]}.jpeg", f"{stem[:-1]}.gif"):
        cut.save(f"in/{name}", noise(8, 8))
        cut.save(f"in/{name}", noise(8, 8), 1)
    written = files(tmp_path / "out")
    assert len(written) == 6
    assert {name[-4:] for name in written} == {".jpg", "jpeg", ".png"}


def test_an_image_that_is_there_is_named_before_the_work(tmp_path: Path) -> None:
    photos = [FilePhoto(tmp_path / "in" / name, tmp_path / "in") for name in ("a.jpg", "b.gif")]
    for there in ("a.jpg", "b.gif.png"):
        (out := tmp_path / there.replace(".", "")).mkdir()
        (out / there).touch()
        with pytest.raises(UsageError, match=f"{there} exists; --force"):
            saver(out, tmp_path / "in").refuse_existing(photos)
        saver(out, tmp_path / "in", force=True).refuse_existing(photos)
        saver(out, tmp_path / "in").refuse_existing(photos, 1)
    (tmp_path / "ajpg" / "a-1.png").touch()
    with pytest.raises(UsageError, match=r"a-1\.png exists; --force"):
        saver(tmp_path / "ajpg", tmp_path / "in").refuse_existing(photos, 1)


@pytest.mark.parametrize("linked", [False, True])
def test_a_photo_is_never_replaced_by_its_own_image(
    run: Run, tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        Pillow.fromarray(noise(40, 40)).save(photos / name)
    out = photos
    if linked:
        (out := tmp_path / "link").symlink_to(photos)
    before = {path: path.read_bytes() for path in photos.iterdir()}
    for given in ([photos], [photos / "b.png"], [photos / "a.png", photos / "b.png"]):
        code, _, err = run("detect", *given, "--save", out, "--force")
        assert (code, "is one of the photos" in err) == (2, True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{photos}/a.png\n".encode())))
    monkeypatch.chdir(photos)
    code, _, err = run("detect", "-", "--save", out, "--force")
    assert (code, "is read by this command" in err) == (2, True)
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    run: Run, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr("facerec.engine.engine.Engine.from_profile", refuse)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", "/proc/none"):
        for option in ("--save", "--crops"):
            code, out, err = run("detect", picture, option, place)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert f"{place}: cannot be written" in err


def test_two_photos_of_one_name_from_folders_and_archives(
    run: Run, portraits: dict[str, Path], tmp_path: Path
) -> None:
    photo = next(iter(portraits.values()))
    data = photo.read_bytes()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "img1.jpg").write_bytes(data)
    with tarfile.open(tmp_path / "album.tar", "w") as archive:
        for name in ("ann/img1.jpg", "Ann/IMG1.jpg", "12:30:00.jpg"):
            (member := tarfile.TarInfo(name)).size = len(data)
            archive.addfile(member, io.BytesIO(data))
    given = [tmp_path / "one" / "img1.jpg", tmp_path / "two", tmp_path / "album.tar"]
    code, _, err = run("detect", *given, "--save", tmp_path / "drawn", "--crops", tmp_path / "cut")
    assert (code, len(files(tmp_path / "drawn")), len(files(tmp_path / "cut"))) == (0, 5, 5), err
    assert {"one/img1.jpg", "two/img1.jpg", "album.tar/12:30:00.jpg"} < set(
        files(tmp_path / "drawn")
    )


def test_an_image_that_cannot_be_written_is_told_and_the_others_are_saved(
    run: Run, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture.read_bytes()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / "in" / name).write_bytes(data)
    whole = replacing

    def full(target: Path, **options: object) -> AbstractContextManager[Path]:
        if Path(target).name.startswith("2"):
            raise UsageError(f"{target}: cannot be written: No space left on device")
        return whole(target, **options)

    monkeypatch.setattr("facerec.imaging.draw.replacing", full)
    out = tmp_path / "out"
    code, told, err = run("detect", "in", "--save", out, "--crops", out, "--json")
    found = len(json.loads(told.splitlines()[0])["faces"])
    assert code == 3
    assert len(told.splitlines()) == 3
    assert [path for path in files(out) if path.endswith(".jpg")] == ["1.jpg", "3.jpg"]
    assert err.count("No space left on device") == 1 + found
    assert "1 image could not be saved" in err
    assert f"{found} faces could not be saved" in err


def test_chips_that_cannot_be_written_leave_the_people_enrolled(
    run: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, image: object) -> None:
        raise UsageError(f"{target}: cannot be written: No space left on device")

    monkeypatch.setattr("facerec.imaging.draw.write_image", full)
    gallery = tmp_path / "g.h5"
    code, told, err = run("embed", people, "-o", gallery, "--chips", tmp_path / "chips", "--json")
    assert code == 3
    record = json.loads(told)
    assert record["enrolled"] == record["faces"] > 0
    assert f"{record['enrolled']} images could not be saved" in err
