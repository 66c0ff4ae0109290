"""A stream of JPEG images is cut where each ends; what is damaged costs itself alone."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.errors import MissingError
from facerec.video.images import MjpegSource
from facerec.video.jpegs import JpegSplitter
from facerec.video.sources import open_video
from tests.conftest import noise


def jpeg(seed: int, height: int = 48, width: int = 64, **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(noise(height, width, seed)).save(out, "JPEG", **options)
    return out.getvalue()


def with_thumbnail(seed: int) -> bytes:
    """As cameras write it: a whole small JPEG in the EXIF segment."""
    data = jpeg(seed)
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + jpeg(seed + 100, 16, 16)
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def split(data: bytes, size: int = 1 << 16, **settings: int) -> list[bytes]:
    splitter = JpegSplitter(**settings)
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return [image for piece in pieces for image in splitter.feed(piece)] + list(splitter.finish())


@pytest.mark.parametrize("size", [1, 7, 700, 1 << 16])
@pytest.mark.parametrize("kind", ["plain", "thumbnail", "progressive", "restart", "sizes"])
def test_images_are_whole_whatever_the_pieces_they_come_in(kind, size):
    make = {
        "plain": jpeg,
        "thumbnail": with_thumbnail,
        "progressive": lambda seed: jpeg(seed, progressive=True),
        "restart": lambda seed: jpeg(seed, restart_marker_blocks=1),
        "sizes": lambda seed: jpeg(seed, 40 + 8 * seed, 64),
    }[kind]
    images = [make(seed) for seed in range(3)]
    assert split(b"".join(images), size) == images


@pytest.mark.parametrize("size", [1, 700, 1 << 16])
def test_the_headers_of_a_multipart_stream_are_skipped(size):
    images = [with_thumbnail(seed) for seed in range(3)]
    parts = (
        b"--myboundary\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        % (len(x), x)
        for x in images
    )
    assert split(b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(parts), size) == images


def test_garbage_between_images_is_skipped():
    images = [jpeg(seed) for seed in range(3)]
    junk = random.Random(0).randbytes(5000) + b"\xff\xd8\xff\x00\xff\xd9"
    assert split(junk + junk.join(images) + junk) == images


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_image_takes_no_other_with_it(seed):
    chance = random.Random(seed)
    images = [with_thumbnail(number) for number in range(5)]
    broken = bytearray(images[2])
    kind = seed % 4
    start = chance.randrange(2, len(broken) - 200)
    if kind == 0:
        broken[start : start + 100] = bytes(100)
    elif kind == 1:
        broken[start : start + 100] = chance.randbytes(100)
    elif kind == 2:
        del broken[start:]
    else:
        del broken[start : start + 150]
    found = split(
        b"".join([*images[:2], bytes(broken), *images[3:]]), chance.choice((500, 1 << 16))
    )
    assert [image for image in found if image in images] == [*images[:2], *images[3:]]


def test_the_last_image_is_given_though_it_is_cut_off():
    images = [jpeg(seed) for seed in range(2)]
    assert split(images[0] + images[1][:-40]) == [images[0], images[1][:-40]]


def test_what_never_ends_is_not_held():
    splitter = JpegSplitter(max_bytes=10_000)
    begun = jpeg(0)[:-2]
    given = [len(image) for _ in range(50) for image in splitter.feed(begun[-1000:] * 4)]
    assert given == []
    assert len(splitter._held) < 10
    for piece in (begun, *[bytes(4000)] * 10):
        given += [len(image) for image in splitter.feed(piece)]
    assert len(given) == 1
    assert len(splitter._held) < 10_000


def test_a_damaged_image_is_named_and_passed_over_and_the_time_goes_on():
    images = [jpeg(seed) for seed in range(4)]
    images[1] = images[1][: len(images[1]) // 2]
    told: list[str] = []
    source = MjpegSource(io.BytesIO(b"".join(images)), 10**6, told.append)
    assert [(f.index, f.seconds) for f in source.frames()] == [(0, 0), (2, 0.08), (3, 0.12)]
    assert source.lost == 1
    assert [line.partition(":")[0] for line in told] == ["stdin, image 1"]


def test_a_camera_of_nothing_but_damage_does_not_flood_the_terminal():
    told: list[str] = []
    broken = b"".join(jpeg(seed)[:300] for seed in range(40))
    source = MjpegSource(io.BytesIO(broken), 10**6, told.append)
    assert list(source.frames()) == []
    assert source.lost == 40
    assert len(told) == 11
    assert told[-1] == "stdin: 40 damaged images in all"


def test_a_damaged_image_in_a_folder_is_named_and_passed_over(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    (tmp_path / "2.jpg").write_bytes(jpeg(2)[:500])
    told: list[str] = []
    source = open_video(str(tmp_path), stdin=None, max_pixels=10**6, warn=told.append)
    assert [frame.index for frame in source.frames()] == [0, 2]
    assert source.lost == 1
    assert len(told) == 1
    assert "2.jpg: " in told[0]


def test_numbered_frames_come_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10):
        Pillow.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(
            tmp_path / f"f{number}.png"
        )
    for name in (tmp_path, tmp_path / "f*.png", tmp_path / "f%d.png", tmp_path / "f%02d.png"):
        frames = open_video(str(name), stdin=None, max_pixels=10**6).frames()
        assert [int(frame.image[0, 0, 0]) for frame in frames] == [20, 40, 200]


def test_a_file_of_jpegs_is_a_video(tmp_path):
    images = [with_thumbnail(seed) for seed in range(3)]
    (tmp_path / "a.mjpeg").write_bytes(b"".join(images))
    (tmp_path / "b.bin").write_bytes(
        b"".join(b"--x\r\nContent-type: image/jpeg\r\n\r\n" + image + b"\r\n" for image in images)
    )
    for name in ("a.mjpeg", "b.bin"):
        source = open_video(str(tmp_path / name), stdin=None, max_pixels=10**6)
        assert len(list(source.frames())) == 3


def test_a_video_on_stdin_is_read(tmp_path):
    from tests.video.films import scenes, write_film

    for name in ("a.ts", "a.mkv"):
        film = write_film(tmp_path / name, scenes(6)).read_bytes()
        source = open_video("-", stdin=io.BytesIO(film), max_pixels=10**6)
        assert len(list(source.frames())) == 6


def test_an_image_on_stdin_is_seen_before_the_next_one_comes():
    import os

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb") as camera:
        camera.write(jpeg(0, 120, 160))
        camera.flush()
        frames = open_video("-", stdin=stdin, max_pixels=10**6).frames()
        assert next(frames).index == 0


def test_no_jpegs_is_told():
    with pytest.raises(MissingError, match="no JPEG pictures"):
        list(MjpegSource(io.BytesIO(b"hello"), 10**6).frames())
