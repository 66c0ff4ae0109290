"""`facerec recognize cam` and `video`: recognise people in live and recorded video."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from facerec.cli.completing import complete_camera
from facerec.cli.console import (
    exit_with_failures,
    has_display,
    print_json,
    print_line,
    printable,
    progress,
    say,
    waiting,
    wants_json,
)
from facerec.cli.help import OUTPUT, RUNTIME
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    FAR,
    FONT_SIZE,
    GALLERY,
    MAX_FALSE_NAMES,
    METRIC,
    SHOW_DISTANCE,
    THRESHOLD,
    UNKNOWN,
    Json,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
    standard_input,
)
from facerec.cli.thresholds import remark_on_matcher
from facerec.cli.video.outputs import Blur, Outputs, check_outputs
from facerec.files.text import counted

if TYPE_CHECKING:
    from types import FrameType

    from facerec.cli.video.window import Window
    from facerec.profile.loading import Profile
    from facerec.video.frames import VideoSource
    from facerec.video.recognizer import Event, VideoRecognizer
    from facerec.video.server import LivePage

Save = Annotated[
    Path | None,
    option(
        "--save",
        panel=OUTPUT,
        metavar="FILE.mp4",
        help="Write the video with boxes and names, at its own times, with a file's sound: mp4, "
        "mov, mkv, webm or avi.",
    ),
]
Snapshots = Annotated[
    Path | None,
    option(
        "--snapshots", panel=OUTPUT, metavar="DIR", help="Keep the best face of each track here."
    ),
]
BlurFaces = Annotated[
    Blur | None,
    option("--blur", panel=OUTPUT, help="Make these faces unrecognisable in what is shown."),
]
Stats = Annotated[
    bool,
    option(
        "--stats",
        panel=OUTPUT,
        help="Tell speed, dropped frames and milliseconds, in the image and at the end.",
    ),
]
EveryFrame = Annotated[
    bool,
    option(
        "--every-frame",
        panel=RUNTIME,
        help="Detect in each frame: slower, the same on every machine.",
    ),
]
Serve = Annotated[
    str | None,
    option(
        "--serve",
        panel=OUTPUT,
        metavar="HOST:PORT",
        help="Serve a page with the live image and the people seen; beyond this machine it asks "
        "for a token.",
    ),
]
NoWindow = Annotated[bool, option("--no-window", panel=OUTPUT, help="Show nothing; print events.")]
Force = Annotated[bool, force_option("Replace the video and the faces that were written before.")]


@profile_options(
    GALLERY, THRESHOLD, FAR, MAX_FALSE_NAMES, METRIC, UNKNOWN, FONT_SIZE, SHOW_DISTANCE
)
def cam(
    source: Annotated[
        str,
        argument(
            "[SOURCE]",
            autocompletion=complete_camera,
            help="A camera's number or name, a video, an rtsp:// or http:// stream, a folder of "
            "pictures, or - for MJPEG or a video on stdin.",
        ),
    ] = "0",
    no_window: NoWindow = False,
    as_json: Json = None,
    every_frame: EveryFrame = False,
    save: Save = None,
    snapshots: Snapshots = None,
    blur: BlurFaces = None,
    stats: Stats = False,
    serve: Serve = None,
    force: Force = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Recognise people live; print events, as JSON lines where stdout is no terminal.

    In the window q quits, s saves the frame, r reads the gallery again, e enrols the face that was
    clicked on, or the largest, under the name then typed in the terminal. A live source's newest
    frame wins: older ones are dropped. A stream that ends is reconnected. A photo of a face is
    taken for the face: there is no liveness check.
    """
    loaded = profile.load()
    window = not (no_window or serve) and has_display()
    if not (window or no_window or serve):
        say("no display to show a window on; printing events only")
    _run(
        loaded, source, window=window, every_frame=every_frame, save=save, snapshots=snapshots,
        blur=blur, stats=stats, serve=serve, force=force, as_json=as_json,
    )  # fmt: skip


@profile_options(
    GALLERY, THRESHOLD, FAR, MAX_FALSE_NAMES, METRIC, UNKNOWN, FONT_SIZE, SHOW_DISTANCE
)
def video(
    source: Annotated[str, argument("FILE", help="A video.")],
    as_json: Json = None,
    every_frame: EveryFrame = False,
    save: Save = None,
    snapshots: Snapshots = None,
    blur: BlurFaces = None,
    stats: Stats = False,
    force: Force = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Recognise people in a video; print events, as JSON lines where stdout is no terminal."""
    loaded = profile.load()
    _run(
        loaded, source, window=False, every_frame=every_frame, save=save, snapshots=snapshots,
        blur=blur, stats=stats, serve=None, force=force, as_json=as_json,
    )  # fmt: skip


def _run(
    profile: Profile, source: str,
    *, window: bool, every_frame: bool, save: Path | None, snapshots: Path | None,
    blur: Blur | None, stats: bool, serve: str | None, force: bool,
    as_json: bool | None,
) -> None:  # fmt: skip
    check_outputs(source, save, snapshots, force=force)
    from facerec.video.sources import open_video

    opened = open_video(
        source, stdin=standard_input(), max_pixels=profile.runtime.max_pixels, warn=say
    )
    with waiting("loading models"):
        from facerec.video.people import People
        from facerec.video.recognizer import VideoRecognizer, with_weak_faces

    lenient, strong = with_weak_faces(profile.looking_again("none"))
    engine = load_engine(lenient)
    people = People(profile, engine, say)
    remark_on_matcher(people.matcher, profile.recognize, profile.gallery.path)
    recognizer = VideoRecognizer(
        engine, people.matcher, rate=opened.rate, every_frame=every_frame, strong=strong
    )
    as_json = wants_json(as_json)
    page = _serve(serve) if serve is not None else None
    outputs = Outputs(
        opened, save, snapshots, blur,
        unknown=profile.recognize.unknown, window=_window() if window else None, page=page,
        font_size=profile.video.font_size, show_distance=profile.video.show_distance,
    )  # fmt: skip
    started = time.monotonic()
    seconds = 0.0

    def tell(events: list[Event]) -> None:
        for event in events:
            if as_json:
                print_json(event.to_record())
            else:
                print_line(printable(_sentence(event)))
        if page is not None:
            page.tell(events)

    # A bar would be drawn over the name that is typed in the terminal.
    watching = nullcontext() if window else progress(f"watching {opened.name}", opened.total)
    with watching as advance, _ended_as_by_ctrl_c():
        try:
            for frame in opened.frames():
                recognizer.matcher = people.newest()
                tell(recognizer.feed(frame))
                seconds = frame.seconds
                if advance is not None:
                    advance()
                told = _figures(recognizer, opened, time.monotonic() - started) if stats else ""
                if not outputs.take(frame, recognizer, people, told):
                    break
        finally:
            # The saved video is finished even where stdout is closed.
            try:
                tell(recognizer.finish(seconds))
            finally:
                outputs.close()
            if stats:
                elapsed = time.monotonic() - started
                say(f"{counted(recognizer.timings.frames, 'frame')} in {elapsed:.1f} s")
                say(_figures(recognizer, opened, elapsed))
    exit_with_failures(opened.lost + outputs.unwritten.count)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise KeyboardInterrupt, so that what was recorded is finished."""
    # Python allows signal handlers to be set in the main thread only. Windows has no SIGHUP.
    allowed = threading.current_thread() is threading.main_thread()
    names = ("SIGTERM", "SIGHUP") if allowed else ()
    # Ignored, as SIGHUP under nohup, it stays.
    numbers = [
        number
        for name in names
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
    ]

    def end(number: int, frame: FrameType | None) -> None:
        # A closing terminal sends SIGHUP twice: the second one would interrupt the finishing.
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        signal.default_int_handler(number, frame)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _serve(place: str) -> LivePage:
    from facerec.video.server import LivePage

    page = LivePage(place)
    say(f"live at {page.address}")
    return page


def _window() -> Window:
    from facerec.cli.video.window import Window

    return Window()


def _sentence(event: Event) -> str:
    from facerec.faces import face_label

    minutes, seconds = divmod(event.seconds, 60)
    similarity = "" if event.similarity is None else f", similarity {event.similarity:.2f}"
    name = face_label(event.name, "unknown")
    return f"{minutes:02.0f}:{seconds:06.3f}  {name} {event.kind} (track {event.track}{similarity})"


def _figures(recognizer: VideoRecognizer, source: VideoSource, seconds: float) -> str:
    timings = recognizer.timings
    detection = 1000 * timings.detecting / max(timings.detections, 1)
    embedding = 1000 * timings.embedding / max(timings.embeddings, 1)
    return (
        f"{timings.frames / max(seconds, 1e-9):.1f} frames a second, {source.dropped} dropped, "
        f"{counted(timings.detections, 'detection')} of {detection:.1f} ms, "
        f"{counted(timings.embeddings, 'embedding')} of {embedding:.1f} ms"
    )
