"""`--save`: all frames at their own times, with sound, as browsers play it; nothing destroyed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.video.frames import TimedFrame
from facerec.video.sound import Sound
from facerec.video.sources import open_video
from facerec.video.writing import VideoWriter
from tests.conftest import noise
from tests.video.films import grey, scenes, write_film

SUFFIXES = [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"]


def save(
    path: Path, images: list[np.ndarray], times: list[float], **settings: object
) -> VideoWriter:
    writer = VideoWriter(path, rate=25, **settings)  # type: ignore[arg-type]
    for index, (image, seconds) in enumerate(zip(images, times, strict=True)):
        writer.write(TimedFrame(index, seconds, image))
    assert writer.close()
    return writer


def read(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [f.time for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_container_has_every_frame_at_its_time_in_its_colours(suffix, tmp_path):
    images = scenes(12, 90, 160)
    for image in images:
        image[50:, 80:] = (200, 30, 30)
    save(tmp_path / f"a{suffix}", images, [n / 25 for n in range(12)])
    times, seen = read(tmp_path / f"a{suffix}")
    assert times == pytest.approx([n / 25 for n in range(12)], abs=0.002)
    for image, back in zip(images, seen, strict=True):
        assert np.abs(image[60:80, 100:140].astype(int) - back[60:80, 100:140]).mean() < 12
        assert np.abs(image[30:40, 60:70].astype(int) - back[30:40, 60:70]).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_constant_rate_stays_what_it_is(suffix, tmp_path):
    save(tmp_path / f"a{suffix}", scenes(60), [n / 25 for n in range(60)])
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert container.streams.video[0].average_rate == 25
        assert container.duration / av.time_base == pytest.approx(60 / 25, abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_variable_rate_stays_variable(suffix, tmp_path):
    times = [0.0, 0.5, 1.0, 1.03, 1.06, 4.0]
    save(tmp_path / f"a{suffix}", scenes(6), times)
    assert read(tmp_path / f"a{suffix}")[0] == pytest.approx(times, abs=0.002)


def test_a_late_beginning_stays_late(tmp_path):
    save(tmp_path / "a.mp4", scenes(3), [1.5, 1.54, 1.58])
    assert read(tmp_path / "a.mp4")[0] == pytest.approx([1.5, 1.54, 1.58], abs=0.01)


def test_mp4_is_what_browsers_and_phones_play(tmp_path):
    save(tmp_path / "a.mp4", scenes(5, 91, 161), [n / 25 for n in range(5)])
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (162, 92)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path):
    images = [grey(60, 90, 160), grey(80, 180, 320), grey(100, 90, 90)]
    save(tmp_path / "a.mp4", images, [0, 0.04, 0.08])
    _, seen = read(tmp_path / "a.mp4")
    assert [image.shape for image in seen] == [(90, 160, 3)] * 3
    assert [round(float(image[45:, 60:100].mean()), -1) for image in seen] == [60, 80, 100]
    # The square one is not stretched: it has black bars.
    assert seen[2][45, 5].max() < 20


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_where_live_frames_were_dropped_the_last_one_stays_and_nothing_is_encoded_for_them(
    suffix, tmp_path, monkeypatch
):
    encoded = []
    encode = VideoWriter._encode
    monkeypatch.setattr(
        VideoWriter, "_encode", lambda self, *rest: encoded.append(rest[1]) or encode(self, *rest)
    )
    path = tmp_path / f"a{suffix}"
    writer = VideoWriter(path, rate=25)
    indices = [0, 1, 2, 3, 50, 51, 100]
    for index in indices:
        writer.write(TimedFrame(index, index / 25, grey(20 + index)))
    writer.close()
    assert encoded == [index / 25 for index in indices]
    times, images = read(path)
    assert times == pytest.approx(encoded, abs=0.002)
    assert [image[-8:, -8:].mean() for image in images] == pytest.approx(
        [20 + index for index in indices], abs=5
    )
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(101 / 25, abs=0.03)


def heard(path: Path) -> tuple[str, float, float]:
    """Codec of the sound, and from when to when there is a tone."""
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context.name
        frames = [
            (frame.time, frame.samples / frame.sample_rate)
            for frame in container.decode(audio=0)
            if np.abs(frame.to_ndarray().astype(float)).max() > 0.05
        ]
    return codec, frames[0][0], sum(frames[-1])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "aac"), (".mov", "aac"), (".mkv", "aac"), (".avi", "aac"), (".webm", "opus")],
)
def test_the_sound_is_kept_as_far_as_the_pictures_go(suffix, codec, tmp_path):
    times = [0.0, 0.5, 1.0, 1.96]
    film = write_film(tmp_path / "film.mp4", scenes(4), times, tone=3)
    writer = save(tmp_path / f"a{suffix}", scenes(4), times, sound=film)
    assert ["MPEG-4" in remark for remark in writer.remarks] == [True] * (suffix == ".avi")
    found, begin, end = heard(tmp_path / f"a{suffix}")
    assert found == codec
    assert begin == pytest.approx(0, abs=0.05)
    assert end == pytest.approx(2.0, abs=0.12)


def joined(tmp_path: Path) -> Path:
    """Two films of two seconds with a tone, one after the other: time begins anew in the middle."""
    parts = [
        write_film(tmp_path / f"{n}.ts", scenes(50), tone=2, options={"bf": "0"}).read_bytes()
        for n in range(2)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_where_films_were_joined_sound_goes_on_with_the_pictures(suffix, tmp_path):
    film = joined(tmp_path)
    source = open_video(str(film), stdin=None, max_pixels=10**7)
    writer = VideoWriter(tmp_path / f"a{suffix}", rate=25, sound=film)
    source_times = []
    for frame in source.frames():
        source_times.append(frame.seconds)
        writer.write(frame)
    assert writer.close()
    assert not any("sound" in remark for remark in writer.remarks)
    times, _ = read(tmp_path / f"a{suffix}")
    assert len(times) == 100
    assert times[-1] == pytest.approx(source_times[-1], abs=0.05)
    assert source_times[-1] - source_times[0] == pytest.approx(99 / 25, abs=0.001)
    _, begin, end = heard(tmp_path / f"a{suffix}")
    assert begin == pytest.approx(0, abs=0.1)
    assert end == pytest.approx(4, abs=0.15)


def test_sound_that_cannot_be_written_is_a_remark_and_the_pictures_are_saved(tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mp4", scenes(25), tone=1)

    def refuse(*_: object) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(Sound, "copy_until", refuse)
    writer = save(tmp_path / "a.mp4", scenes(25), [n / 25 for n in range(25)], sound=film)
    assert writer.remarks == ["saved without the rest of its sound: Invalid argument"]
    assert len(read(tmp_path / "a.mp4")[0]) == 25


def test_a_film_without_sound_is_no_remark(tmp_path):
    film = write_film(tmp_path / "film.mp4", scenes(3))
    writer = save(tmp_path / "a.mp4", scenes(3), [0, 0.04, 0.08], sound=film)
    assert writer.remarks == []


def test_without_an_encoder_for_h264_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("facerec.video.writing._H264", ())
    monkeypatch.setattr(av, "codecs_available", {"mpeg4", "aac"})
    writer = save(tmp_path / "a.mp4", scenes(3), [0, 0.04, 0.08])
    assert len(writer.remarks) == 1
    assert "browsers do not show" in writer.remarks[0]
    assert len(read(tmp_path / "a.mp4")[0]) == 3


def test_an_avi_says_that_no_browser_shows_it(tmp_path):
    (remark,) = save(tmp_path / "a.avi", scenes(3), [0, 0.04, 0.08]).remarks
    assert "MPEG-4 part 2, which browsers do not show" in remark
    assert ".mp4 gives H.264" in remark


@pytest.mark.parametrize("name", ["a", "a.gif", "a.mp3", "a.h5"])
def test_an_unknown_suffix_is_refused_before_the_work(name, run, tmp_path):
    film = write_film(tmp_path / "film.mp4", scenes(3))
    code, out, err = run("recognize", "video", film, "--save", tmp_path / name)
    assert (code, out) == (2, "")
    assert "videos are written as .mp4" in err


def test_on_a_full_disk_nothing_is_left_behind(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "a.mp4", rate=25)
    writer.write(TimedFrame(0, 0.0, grey(60)))

    def full(_: object) -> None:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_mux", full)
    with pytest.raises(UsageError, match=r"a.mp4: cannot be written: No space left on device"):
        writer.write(TimedFrame(1, 0.04, grey(60)))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def gallery(run, people: Path, tmp_path: Path) -> Path:
    assert run("embed", people, "-o", tmp_path / "g.h5")[0] == 0
    return tmp_path / "g.h5"


@pytest.mark.parametrize("link", ["same", "symlink", "hard link"])
def test_a_video_is_not_saved_onto_its_own_input(link, run, tmp_path):
    film = write_film(tmp_path / "film.mp4", scenes(3))
    before = film.read_bytes()
    target = film
    if link != "same":
        target = tmp_path / "other.mp4"
        (target.symlink_to if link == "symlink" else target.hardlink_to)(film)
    code, _, err = run("recognize", "video", film, "--save", target, "--force")
    assert code == 2
    assert "is read by this command" in err
    assert film.read_bytes() == before


def test_faces_of_an_earlier_run_are_not_replaced_unasked(run, portraits, gallery, tmp_path):
    from facerec.imaging.decode import read_image

    portrait = read_image(next(iter(portraits.values())), 10**8)[::2, ::2]
    height, width = (side - side % 2 for side in portrait.shape[:2])
    film = write_film(tmp_path / "film.mp4", [portrait[:height, :width]] * 3)
    faces = tmp_path / "faces"
    assert run("recognize", "video", film, "-g", gallery, "--snapshots", faces)[0] == 0
    (face,) = faces.iterdir()
    face.write_bytes(b"mine")
    code, out, err = run("recognize", "video", film, "-g", gallery, "--snapshots", faces)
    assert (code, out) == (2, "")
    assert f"{face} exists; --force replaces it" in err
    assert face.read_bytes() == b"mine"
    assert run("recognize", "video", film, "-g", gallery, "--snapshots", faces, "--force")[0] == 0
    assert face.read_bytes() != b"mine"


def test_faces_are_not_kept_among_the_frames_that_are_read(run, tmp_path):
    code, _, err = run("recognize", "video", tmp_path, "--snapshots", tmp_path)
    assert code == 2
    assert "is read by this command" in err


def test_damage_is_an_exit_code_and_the_rest_is_saved(run, gallery, tmp_path):
    from tests.video.films import damage

    noisy = [noise(96, 128, seed) for seed in range(60)]
    film = write_film(tmp_path / "film.mp4", noisy, options={"g": "10", "crf": "3"})
    damage(film, 0.45, 0.52)
    saved = tmp_path / "out.mp4"
    code, _, err = run("recognize", "video", film, "-g", gallery, "--save", saved)
    assert code == 3
    assert "of 60 frames could not be decoded" in err
    times, _ = read(saved)
    assert times[-1] == pytest.approx(59 / 25, abs=0.002)


def _listen() -> None:
    """Undo what is ignored where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_what_is_interrupted_is_finished_and_what_is_killed_has_another_name(
    end, gallery, tmp_path
):
    command = [sys.executable, "-m", "facerec", "recognize", "cam", "-", "-g", str(gallery),
               "--no-window", "--save", str(tmp_path / "out.mp4")]  # fmt: skip
    from tests.video.test_jpegs import jpeg

    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_listen,
    )  # fmt: skip
    assert process.stdin is not None
    picture = jpeg(0, 240, 320)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out.mp4.partial-*.mp4")):
        process.stdin.write(picture)
        process.stdin.flush()
        time.sleep(0.05)
        assert time.monotonic() < deadline
    for _ in range(10):
        process.stdin.write(picture)
    process.stdin.flush()
    time.sleep(1)
    os.kill(process.pid, getattr(signal, end))
    if end == "SIGHUP":
        # As of a terminal that closes: from the kernel, and from the shell.
        os.kill(process.pid, signal.SIGHUP)
    process.communicate(timeout=30)
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out"))
    if end != "SIGKILL":
        assert process.returncode == 130
        assert left == ["out.mp4"]
        assert len(read(tmp_path / "out.mp4")[0]) >= 5
    else:
        assert len(left) == 1
        assert left[0].startswith("out.mp4.partial-")


CHROMIUM = shutil.which("chromium")
_PLAY = """async () => {
  const video = document.querySelector('video');
  video.muted = true;
  await video.play();
  await new Promise(done => { video.ontimeupdate = () => video.currentTime > 0.2 && done(); });
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const mean = data.filter((_, i) => i % 4 === 0).reduce((a, b) => a + b, 0) / (data.length / 4);
  return [video.videoWidth, video.videoHeight, mean, video.duration];
}"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_browser_plays_it(suffix, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    images = [np.full((90, 160, 3), (200, 60, 60), np.uint8)] * 30
    film = write_film(tmp_path / "film.mp4", images, tone=2)
    save(tmp_path / f"a{suffix}", images, [n / 25 for n in range(30)], sound=film)
    page = tmp_path / "page.html"
    page.write_text(f"<video src='a{suffix}' width=320></video>")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--allow-file-access-from-files"]
        )
        tab = browser.new_page()
        tab.goto(page.as_uri())
        width, height, mean, duration = tab.evaluate(_PLAY)
        tab.screenshot(path=tmp_path / "shot.png")
        browser.close()
    assert (width, height) == (160, 90)
    assert mean == pytest.approx(200, abs=12)
    assert duration == pytest.approx(1.2, abs=0.15)
