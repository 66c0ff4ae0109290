"""Films as the field sends them: every frame, at its own time, upright; damage is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import features

from facerec.errors import InputError, MissingError, UsageError
from facerec.faces import Image
from facerec.files.text import counted
from facerec.video.film import FileSource, open_container
from facerec.video.live import LiveSource, Stream
from facerec.video.pixels import ONE_THREAD, PixelReader
from facerec.video.sources import open_video
from tests.conftest import noise
from tests.video.films import cut, damage, grey, scenes, write_film
from tests.video.test_jpegs import jpeg


def seen(path: Path, max_pixels: int = 10**7) -> tuple[list[float], list[Image], int, list[str]]:
    """Times and images of a film, how many were lost, and what was told."""
    told: list[str] = []
    source = open_video(str(path), stdin=None, max_pixels=max_pixels, warn=told.append)
    frames = list(source.frames())
    return [f.seconds for f in frames], [f.image for f in frames], source.lost, told


def levels(images: list[Image]) -> list[int]:
    return [round(float(image[-8:, -8:].mean()) / 10) * 10 for image in images]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.avi", "a.mov", "a.flv"])
def test_every_frame_of_every_container_comes_at_its_time(name, tmp_path):
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(name[2:], "libx264")
    path = write_film(tmp_path / name, scenes(12), codec=codec)
    times, images, lost, told = seen(path)
    assert levels(images) == [20 + 10 * number for number in range(12)]
    assert times == pytest.approx([number / 25 for number in range(12)], abs=0.002)
    assert (lost, told) == (0, [])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of threads")
def test_pixels_are_converted_without_a_thread_per_core():
    reader = PixelReader()
    before = set(Path("/proc/self/task").iterdir())
    image = reader.read(av.VideoFrame.from_ndarray(noise(480, 640), format="rgb24").reformat(
        format="yuv420p", **ONE_THREAD
    ))  # fmt: skip
    assert image.shape == (480, 640, 3)
    assert set(Path("/proc/self/task").iterdir()) <= before


def test_times_of_a_variable_rate_are_the_containers(tmp_path):
    times = [0.0, 0.5, 1.0, 5.0, 5.02, 5.05, 9.9]
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx")):
        path = write_film(tmp_path / name, scenes(7), times, codec=codec)
        assert seen(path)[0] == pytest.approx(times, abs=0.002)


def test_a_raw_stream_without_time_stamps_has_the_rate_of_its_header(tmp_path):
    path = write_film(tmp_path / "a.h264", scenes(10), rate=10)
    times, images, _, told = seen(path)
    assert times == pytest.approx([number / 10 for number in range(10)], abs=0.001)
    assert (len(images), told) == (10, [])


def test_sound_before_the_pictures_is_no_trouble_and_a_late_beginning_counts(tmp_path):
    path = write_film(tmp_path / "a.mp4", scenes(5), [1.5 + n / 25 for n in range(5)], tone=2,
                      tone_first=True)  # fmt: skip
    with av.open(str(path)) as container:
        assert container.streams[0].type == "audio"
    assert seen(path)[0] == pytest.approx([1.5 + n / 25 for n in range(5)], abs=0.07)


@pytest.mark.parametrize(
    ("pixels", "codec"),
    [("yuv420p10le", "libx264"), ("yuv444p", "libx264"), ("rgb24", "ffv1"),
     ("gray", "ffv1")],
)  # fmt: skip
def test_every_pixel_format_gives_rgb(pixels, codec, tmp_path):
    if pixels == "rgb24":
        pixels = "bgr0"
    _, images, _, _ = seen(write_film(tmp_path / "a.mkv", scenes(3), codec=codec, pixels=pixels))
    assert images[0].shape == (48, 64, 3)
    assert levels(images) == [20, 30, 40]


def test_transparency_is_white(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        clear = np.dstack((grey(0), np.zeros((48, 64), np.uint8)))
        clear[:24, :, 3] = 255
        frame = av.VideoFrame.from_ndarray(clear, format="rgba")
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    _, (image,), _, _ = seen(path)
    assert (image[-1] == 255).all()
    assert (image[20, -1] == 0).all()


def test_odd_sizes_are_read_whole(tmp_path):
    path = write_film(tmp_path / "a.mkv", scenes(2, 49, 65), codec="ffv1", pixels="yuv444p")
    assert seen(path)[1][0].shape == (49, 65, 3)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_phones_rotation_is_undone(degrees, tmp_path):
    path = write_film(tmp_path / "a.mp4", [np.ascontiguousarray(grey(40))] * 3)
    turn(path, degrees)
    _, images, _, _ = seen(path)
    image = np.rot90(grey(40), -degrees // 90)
    assert images[0].shape == image.shape
    assert np.abs(images[0].astype(int) - image).mean() < 8


def turn(path: Path, degrees: int) -> None:
    """Set the matrix of the only track: clockwise by so much when shown."""
    data = bytearray(path.read_bytes())
    one = 1 << 16
    a, b, c, d = {0: (one, 0, 0, one), 90: (0, one, -one, 0), 180: (-one, 0, 0, -one),
                  270: (0, -one, one, 0)}[degrees]  # fmt: skip
    place = data.find(b"tkhd") + 4 + 40
    for offset, value in ((0, a), (4, b), (12, c), (16, d)):
        data[place + offset : place + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)


def test_samples_that_are_not_square_are_stretched_to_what_a_player_shows(tmp_path):
    path = write_film(tmp_path / "a.mp4", scenes(3, 48, 72), aspect=Fraction(4, 3))
    assert seen(path)[1][0].shape == (48, 96, 3)


def test_interlaced_frames_are_merged(tmp_path):
    path = write_film(tmp_path / "a.mp4", scenes(12), options={"x264-params": "tff=1"})
    times, images, lost, _ = seen(path)
    assert levels(images)[:10] == [20 + 10 * number for number in range(10)]
    assert times == pytest.approx([number / 25 for number in range(12)], abs=0.001)
    assert lost == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.flv", "a.h264"])
def test_a_damaged_middle_is_passed_over_and_what_it_cost_is_told(name, tmp_path):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    options = {"g": "10", "cpu-used": "8"} if codec == "libvpx" else {"g": "10", "crf": "3"}
    noisy = [noise(96, 128, seed) for seed in range(60)]
    path = write_film(tmp_path / name, noisy, codec=codec, options=options)
    whole = seen(path)
    damage(path, 0.45, 0.52)
    times, images, lost, told = seen(path)
    assert len(whole[0]) == 60
    assert whole[2:] == (0, [])
    assert 30 < len(images) < 60
    if name != "a.h264":
        # Some packets that would have a frame each vanish whole from a stream without times.
        assert lost == 60 - len(images)
        assert times[-1] == pytest.approx(whole[0][-1], abs=0.001)
    assert lost > 0
    assert len(told) == 1
    assert f"{lost} of {len(images) + lost} frames could not be decoded" in told[0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.flv"])
def test_a_film_that_is_cut_off_is_told(name, tmp_path):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    noisy = [noise(96, 128, seed) for seed in range(75)]
    front = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    path = write_film(tmp_path / name, noisy, codec=codec, container_options=front)
    cut(path, 0.5)
    _, images, lost, (told,) = seen(path)
    assert 10 < len(images) < 60
    assert lost == pytest.approx(75 - len(images), abs=2)
    assert "cut off at " in told
    assert told.endswith((" of 3.0 s", " of 3.1 s"))


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.nut", "a.flv", "a.ts", "a.mp4"])
def test_a_film_that_begins_late_as_a_segment_does_is_whole(name, tmp_path):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    noisy = [noise(96, 128, seed) for seed in range(50)]
    path = write_film(tmp_path / name, noisy, [6 + n / 25 for n in range(50)], codec=codec)
    source = open_video(str(path), stdin=None, max_pixels=10**7)
    assert source.total == pytest.approx(50, abs=2)
    times, _, lost, told = seen(path)
    assert times == pytest.approx([n / 25 for n in range(50)], abs=0.002)
    assert (lost, told) == (0, [])


def test_of_a_film_that_begins_late_and_is_cut_off_the_lost_part_is_told(tmp_path):
    noisy = [noise(96, 128, seed) for seed in range(75)]
    path = write_film(tmp_path / "a.mkv", noisy, [6 + n / 25 for n in range(75)])
    cut(path, 0.5)
    _, images, lost, (told,) = seen(path)
    assert lost == pytest.approx(75 - len(images), abs=2)
    assert told.endswith((" of 3.0 s", " of 3.1 s"))


def test_without_its_index_an_mp4_is_said_to_be_cut_off(tmp_path):
    path = write_film(tmp_path / "a.mp4", scenes(30))
    cut(path, 0.5)
    with pytest.raises(MissingError, match="is cut off: the index at its end is missing"):
        seen(path)


def test_an_avi_without_its_index_is_read(tmp_path):
    path = write_film(tmp_path / "a.avi", scenes(12), codec="mpeg4")
    data = path.read_bytes()
    assert b"idx1" in data
    path.write_bytes(data[: data.rfind(b"idx1")])
    _, images, lost, _ = seen(path)
    assert levels(images) == [20 + 10 * number for number in range(12)]
    assert lost == 0


@pytest.mark.parametrize("name", ["12:30:00.mp4", "100%d.mp4", "a[1].mp4", "-.mp4", "7"])
def test_a_name_is_a_files_whatever_is_in_it(name, tmp_path, monkeypatch):
    write_film(tmp_path / "plain.mp4", scenes(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(seen(Path(name))[1]) == 3


def test_a_playlist_in_a_file_opens_no_url(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MissingError):
        seen(path)


def test_frames_of_too_many_pixels_are_refused(tmp_path):
    path = write_film(tmp_path / "a.mp4", scenes(2))
    with pytest.raises(InputError, match="64x48 is 3,072 pixels a frame; at most 3,000 are read"):
        seen(path, max_pixels=3000)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """The address of the folder behind a server that answers no range requests."""

    class Host(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"movflags": "+faststart"}),
        ("a.ts", {}),
        # As a browser records it: without its duration.
        ("a.webm", {"live": "1"}),
    ],
)
def test_a_film_behind_a_url_is_read_in_full_and_ends(name, options, host, tmp_path):
    codec = "libvpx" if name.endswith("webm") else "libx264"
    write_film(tmp_path / name, scenes(60), codec=codec, container_options=options)
    source = open_video(f"{host}/{name}", stdin=None, max_pixels=10**6)
    assert isinstance(source, FileSource)
    times = [frame.seconds for frame in source.frames()]
    assert times == pytest.approx([number / 25 for number in range(60)], abs=0.001)
    assert (source.dropped, source.lost) == (0, 0)


@pytest.mark.parametrize("way", ["stdin", "url"])
def test_an_mp4_that_needs_seeking_and_cannot_be_sought_in_is_told_as_that(way, host, tmp_path):
    # Longer than what FFmpeg holds of a pipe.
    path = write_film(tmp_path / "a.mp4", [noise(96, 128, seed) for seed in range(60)])
    assert path.stat().st_size > 1 << 17
    told: list[str] = []
    with path.open("rb") as file:
        source = open_video(
            "-" if way == "stdin" else f"{host}/a.mp4",
            stdin=file, max_pixels=10**6, warn=told.append,
        )  # fmt: skip
        with pytest.raises(MissingError, match=r"its index is at its end.*-movflags \+faststart"):
            list(source.frames())
    assert told == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_as_stdin_is(tmp_path):
    path = write_film(tmp_path / "a.ts", scenes(12))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for data, count in (
        (path.read_bytes(), 12),
        (b"".join(jpeg(number) for number in range(3)), 3),
    ):
        writing = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
        writing.start()
        times, _, lost, told = seen(pipe)
        writing.join()
        assert (len(times), lost, told) == (count, 0, [])
    threading.Thread(target=pipe.write_bytes, args=(b"hello",), daemon=True).start()
    with pytest.raises(MissingError, match=f"{pipe}: no JPEG pictures"):
        seen(pipe)


def test_a_live_playlist_and_a_cameras_newest_picture_are_live_sources(host, tmp_path):
    write_film(tmp_path / "0.ts", scenes(60))
    (tmp_path / "live.m3u8").write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n0.ts\n"
    )
    Pillow.fromarray(grey(90)).save(tmp_path / "snapshot", "JPEG")
    for name in ("live.m3u8", "snapshot"):
        source = open_video(f"{host}/{name}", stdin=None, max_pixels=10**6)
        assert isinstance(source, LiveSource)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        piece.sample_rate = 16_000
        out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
    with pytest.raises(MissingError, match="no moving images"):
        seen(path)


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "avif"])
def test_an_animation_is_a_video_with_its_own_times(kind, tmp_path):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("Pillow reads no AVIF here")
    path = tmp_path / f"a.{kind}"
    first, *rest = [Pillow.fromarray(image) for image in scenes(4)]
    first.save(path, save_all=True, append_images=rest, duration=[100, 100, 500, 100])
    times, images, _, told = seen(path)
    assert times == pytest.approx([0, 0.1, 0.2, 0.7])
    assert levels(images) == [20, 30, 40, 50]
    assert told == []


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"", "empty"), (b"<!DOCTYPE html><html>404", "a web page"), (b"PK\3\4" + bytes(60), "a zip")],
)
def test_what_is_no_video_is_called_by_its_kind(data, told, run, tmp_path):
    (tmp_path / "a.mp4").write_bytes(data)
    code, out, err = run("recognize", "video", tmp_path / "a.mp4")
    assert (code, out) == (4, "")
    assert err == f"facerec: {tmp_path}/a.mp4: is {told}, not a video\n"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "bmp", "tif", "ppm", "avif"])
def test_a_photo_is_pointed_to_the_other_command(kind, run, tmp_path):
    path = tmp_path / f"a.{kind}"
    try:
        Pillow.fromarray(grey(90)).save(path)
    except (KeyError, ValueError, OSError):
        pytest.skip(f"Pillow writes no {kind} here")
    path = path.rename(tmp_path / "a.mp4")
    code, out, err = run("recognize", "video", path)
    assert (code, out) == (2, "")
    assert err == f"facerec: {path}: is a photo; facerec recognize image reads it\n"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.h264", "a.flv", "a.mpg"])
def test_a_video_is_pointed_to_the_other_command(name, run, people, tmp_path):
    codec = {"avi": "mpeg4", "mpg": "mpeg2video"}.get(name[2:], "libx264")
    path = write_film(tmp_path / name, scenes(12), codec=codec)
    assert run("embed", people, "-o", tmp_path / "g.h5")[0] == 0
    code, _, err = run("recognize", "image", path, "-g", tmp_path / "g.h5")
    assert code == 3
    assert f"{path}: is a video; facerec recognize video reads it" in err


def test_a_photo_that_a_phone_appended_something_to_is_a_photo(tmp_path):
    path = tmp_path / "IMG_1.jpg"
    Pillow.fromarray(grey(90)).save(path)
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe2\x00\x06MPF\0" + jpeg[2:] + jpeg)
    with pytest.raises(UsageError, match="is a photo"):
        seen(path)
    path.write_bytes(jpeg + jpeg)
    assert len(seen(path)[1]) == 2


def test_what_a_live_stream_loses_is_counted_over_its_connections(tmp_path):
    noisy = [noise(96, 128, seed) for seed in range(60)]
    path = write_film(tmp_path / "a.ts", noisy, options={"g": "10", "crf": "3"})
    damage(path, 0.45, 0.52)
    connections, told = [], []

    def connect() -> Stream:
        connections.append(Stream("front", open_container(str(path), "front"), 10**8))
        return connections[-1]

    source = LiveSource("front", connect, reconnect=True, warn=told.append)
    frames = source.frames()
    while source.reconnects == 0 or connections[1].undecodable == 0:
        next(frames)
    frames.close()
    each = connections[0].undecodable
    assert each > 0
    assert source.undecodable >= 2 * each
    assert source.lost == 0
    assert told == [f"front: {counted(source.undecodable, 'packet')} could not be decoded"]


class Failing:
    """A device of one picture, after which reading fails."""

    rate, undecodable, closed = 25.0, 0, False

    def __init__(self, error: Exception | None) -> None:
        self._left, self._error = [grey(60)], error

    def read(self) -> Image | None:
        if self._left:
            return self._left.pop()
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("reading", "connecting", "told"),
    [
        (ValueError("no such format"), None, "front: cannot be read on: no such format"),
        (av.error.InvalidDataError(1, "Invalid data"), None, "front: cannot be read on: [Errno 1]"),
        (KeyError("a fault of ours"), None, "'a fault of ours'"),
        (None, InputError("front: 4000x4000 is too much"), "front: 4000x4000 is too much"),
    ],
    ids=["pixels", "deinterlacing", "another", "opening again"],
)
def test_what_fails_while_a_live_source_is_read_is_raised_and_it_is_closed(
    reading, connecting, told
):
    first = Failing(reading)
    grabbers = iter([first])

    def connect() -> Failing:
        try:
            return next(grabbers)
        except StopIteration:
            raise connecting from None

    source = LiveSource("front", connect, reconnect=True)
    seen, raised = [], []

    def watch() -> None:
        try:
            seen.extend(source.frames())
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    waiting = threading.Thread(target=watch, daemon=True)
    waiting.start()
    waiting.join(timeout=20)
    (error,) = raised
    assert (len(seen), error.__cause__ or error) == (1, reading or connecting)
    assert str(error).startswith(told)
    assert first.closed
