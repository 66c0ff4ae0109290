"""When photos were taken, by their EXIF data."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image as Pillow

from facerec.imaging.taken import parse_time, taken_at

ORIGINAL = "2019:07:14 15:04:05"


def encoded(kind: str, times: dict[int, str], **options: object) -> bytes:
    """A small image of a kind, with times in their IFDs."""
    exif = Pillow.Exif()
    for tag, text in times.items():
        (exif if tag == 0x132 else exif.get_ifd(0x8769))[tag] = text
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(buffer, kind, exif=exif.tobytes(), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_every_format_that_holds_it_gives_it(kind: str) -> None:
    assert taken_at(encoded(kind, {0x9003: ORIGINAL})) == "2019-07-14T15:04:05"


def test_heic_and_jpeg_xl_give_it() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    assert taken_at(encoded("HEIF", {0x9003: ORIGINAL})) == "2019-07-14T15:04:05"
    pytest.importorskip("pillow_jxl")
    assert taken_at(encoded("JXL", {0x9003: ORIGINAL})) == "2019-07-14T15:04:05"


def test_when_it_was_recorded_counts_before_when_it_was_changed() -> None:
    times = {0x132: "2021:01:01 00:00:00", 0x9004: "2020:01:01 00:00:00", 0x9003: ORIGINAL}
    assert taken_at(encoded("JPEG", times)) == "2019-07-14T15:04:05"
    del times[0x9003]
    assert taken_at(encoded("JPEG", times)) == "2020-01-01T00:00:00"
    times[0x9004] = "0000:00:00 00:00:00"
    assert taken_at(encoded("JPEG", times)) == "2021-01-01T00:00:00"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2019:07:14 15:04:05", "2019-07-14T15:04:05"),
        ("2019-07-14T15:04:05+02:00", "2019-07-14T15:04:05"),
        ("2019/7/4 5:04", "2019-07-04T05:04:00"),
        ("2019:07:14", "2019-07-14T00:00:00"),
        ("2019:07:14 15:04:05\0", "2019-07-14T15:04:05"),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2019:13:14 15:04:05", None),
        ("0001:01:01 00:00:00", None),
        ("", None),
    ],
)
def test_what_programs_write_is_read(text: str, time: str | None) -> None:
    assert parse_time(text) == time


def test_files_without_it_and_damaged_ones_give_none() -> None:
    whole = encoded("JPEG", {0x9003: ORIGINAL})
    for bytes_ in (b"", b"no", encoded("JPEG", {}), encoded("BMP", {}), whole[:30], whole[:60]):
        assert taken_at(bytes_) is None


def test_a_cameras_raw_file_gives_it() -> None:
    tiff = encoded("TIFF", {0x9003: ORIGINAL}).replace(b"II*\0\x08\0\0\0", b"IIRO\x08\0\0\0", 1)
    assert tiff.startswith(b"IIRO")
    assert taken_at(tiff) == "2019-07-14T15:04:05"
    jpeg = encoded("JPEG", {0x9003: ORIGINAL})
    assert taken_at(b"FUJIFILMCCD-RAW " + bytes(100) + jpeg) == "2019-07-14T15:04:05"


def test_a_photo_of_many_pixels_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses twice as many as its bound; ours is `runtime.max_pixels`."""
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    assert taken_at(encoded("JPEG", {0x9003: ORIGINAL})) == "2019-07-14T15:04:05"
    assert Pillow.MAX_IMAGE_PIXELS == 10


def test_threads_leave_the_programs_warnings_as_they_are() -> None:
    photo = encoded("JPEG", {0x9003: ORIGINAL})
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(taken_at, [photo] * 2000))) == 1
    assert warnings.filters == before
