"""`facerec recognize cam` and `video`: who is in moving pictures."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerec.cli.console import has_display, print_json, progress, refuse_to_replace, say
from facerec.cli.options import (
    Far,
    Force,
    GalleryPath,
    ProfileName,
    Settings,
    Threshold,
    load_profile,
    standard_input,
)
from facerec.errors import MissingError, UsageError

if TYPE_CHECKING:
    import cv2

    from facerec.engine import Engine
    from facerec.faces import Image
    from facerec.gallery.match import Matcher
    from facerec.profile import Profile
    from facerec.video.recognizer import Event, VideoRecognizer
    from facerec.video.sources import TimedFrame, VideoSource

_WATCH = 1.0
"""Seconds between looks at whether the gallery has changed."""


class Blur(str, Enum):
    UNKNOWN = "unknown"
    ALL = "all"


Save = Annotated[
    Path | None,
    typer.Option(metavar="FILE.mp4", help="Write the video with boxes and names; without sound."),
]
Snapshots = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep the best face of each track here.")
]
BlurFaces = Annotated[
    Blur | None, typer.Option("--blur", help="Make these faces unrecognisable in what is shown.")
]
Stats = Annotated[
    bool, typer.Option("--stats", help="Say speed, dropped frames and milliseconds at the end.")
]
EveryFrame = Annotated[
    bool,
    typer.Option("--every-frame", help="Detect in each frame: slower, the same on every machine."),
]
NoWindow = Annotated[bool, typer.Option("--no-window", help="Show nothing; print events.")]


def cam(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="A camera's number, a video, an rtsp:// or http:// stream, a folder of pictures, "
            "or - for MJPEG on stdin.",
        ),
    ] = "0",
    gallery: GalleryPath = None,
    threshold: Threshold = None,
    far: Far = None,
    no_window: NoWindow = False,
    every_frame: EveryFrame = False,
    save: Save = None,
    snapshots: Snapshots = None,
    blur: BlurFaces = None,
    stats: Stats = False,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Recognise people live; prints what happens as JSON lines.

    In the window q quits, s saves the frame, r reads the gallery again. A live source's newest
    frame wins: older ones are dropped. A stream that drops is opened again. A photo of a face is
    taken for the face: there is no check that somebody is alive.
    """
    loaded = load_profile(
        profile, settings, gallery__path=gallery, recognize__threshold=threshold, recognize__far=far
    )
    window = not no_window and has_display()
    if not (window or no_window):
        say("no display to show a window on; printing events only")
    _run(
        loaded, source, window=window, every_frame=every_frame, save=save, snapshots=snapshots,
        blur=blur, stats=stats, force=force,
    )  # fmt: skip


def video(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A video.")],
    gallery: GalleryPath = None,
    threshold: Threshold = None,
    far: Far = None,
    every_frame: EveryFrame = False,
    save: Save = None,
    snapshots: Snapshots = None,
    blur: BlurFaces = None,
    stats: Stats = False,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Recognise people in a video; prints what happens as JSON lines."""
    loaded = load_profile(
        profile, settings, gallery__path=gallery, recognize__threshold=threshold, recognize__far=far
    )
    _run(
        loaded, source, window=False, every_frame=every_frame, save=save, snapshots=snapshots,
        blur=blur, stats=stats, force=force,
    )  # fmt: skip


def _run(
    profile: Profile, source: str,
    *, window: bool, every_frame: bool, save: Path | None, snapshots: Path | None,
    blur: Blur | None, stats: bool, force: bool,
) -> None:  # fmt: skip
    if save is not None:
        refuse_to_replace(save, force=force)
    from facerec.video.sources import open_video

    opened = open_video(source, stdin=standard_input(), max_pixels=profile.runtime.max_pixels)
    from facerec.engine import Engine
    from facerec.video.recognizer import VideoRecognizer

    engine = Engine.from_profile(profile)
    people = _People(profile, engine)
    recognizer = VideoRecognizer(engine, people.matcher, rate=opened.rate, every_frame=every_frame)
    shown = _Shown(opened, save, snapshots, blur, unknown=profile.recognize.unknown, window=window)
    started = time.monotonic()
    seconds = 0.0
    with progress(f"watching {opened.name}", opened.total) as advance:
        try:
            for frame in opened.frames():
                recognizer.matcher = people.newest()
                for event in recognizer.feed(frame):
                    print_json(_record(event))
                seconds = frame.seconds
                advance()
                if shown.show(frame, recognizer, people) == "q":
                    break
        finally:
            for event in recognizer.finish(seconds):
                print_json(_record(event))
            shown.close()
    if stats:
        _tell_stats(recognizer, opened, time.monotonic() - started)


def _record(event: Event) -> dict[str, Any]:
    return {
        "event": event.kind,
        "time": event.seconds,
        "track": event.track,
        "name": event.name,
        "similarity": event.similarity,
        "box": list(event.box),
    }


def _tell_stats(recognizer: VideoRecognizer, source: VideoSource, seconds: float) -> None:
    spent = recognizer.spent
    detection = 1000 * spent.detecting / max(spent.detections, 1)
    embedding = 1000 * spent.embedding / max(spent.embeddings, 1)
    say(
        f"{spent.frames} frames in {seconds:.1f} s, {spent.frames / max(seconds, 1e-9):.1f} a "
        f"second; {source.dropped} dropped; {spent.detections} detections of {detection:.1f} ms, "
        f"{spent.embeddings} embeddings of {embedding:.1f} ms"
    )


class _People:
    """The gallery, read again as a whole when its file changes."""

    def __init__(self, profile: Profile, engine: Engine) -> None:
        self._profile, self._engine = profile, engine
        self._path = Path(profile.gallery.path)
        self._looked = time.monotonic()
        self._stamp = self._state()
        self.matcher = self._read()

    def newest(self) -> Matcher:
        """The matcher of the gallery as it is now, looked at once a second."""
        if time.monotonic() - self._looked >= _WATCH:
            self._looked = time.monotonic()
            if (stamp := self._state()) != self._stamp:
                self._stamp = stamp
                self.reload()
        return self.matcher

    def reload(self) -> None:
        try:
            self.matcher = self._read()
            say(f"{self._path}: read again")
        except (MissingError, UsageError) as error:
            say(f"{error}; going on with what was there")

    def _state(self) -> tuple[int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size

    def _read(self) -> Matcher:
        from facerec.gallery import Gallery
        from facerec.gallery.match import Matcher

        gallery = Gallery.open(self._path)
        return Matcher(gallery, self._profile.recognize, self._engine.card, str(self._path))


class _Shown:
    """What is made of each frame: the window, the video, the best face of each track."""

    def __init__(
        self, source: VideoSource, save: Path | None, snapshots: Path | None, blur: Blur | None,
        *, unknown: str, window: bool,
    ) -> None:  # fmt: skip
        self._source, self._save, self._snapshots = source, save, snapshots
        self._blur, self._unknown, self._window = blur, unknown, window
        self._writer: cv2.VideoWriter | None = None
        self._best: dict[int, float] = {}

    def show(self, frame: TimedFrame, recognizer: VideoRecognizer, people: _People) -> str:
        """The key that was pressed in the window, or an empty string."""
        self._keep_best(frame, recognizer)
        if self._save is None and not self._window:
            return ""
        drawn = self._drawn(frame, recognizer)
        if self._save is not None:
            self._write(drawn)
        return self._in_window(drawn, frame, people) if self._window else ""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
        if self._window:
            import cv2

            cv2.destroyAllWindows()

    def _drawn(self, frame: TimedFrame, recognizer: VideoRecognizer) -> Image:
        from facerec.imaging.draw import Label, annotate, blur_boxes

        tracks = recognizer.tracks
        picture = frame.image
        if self._blur is not None:
            hidden = [t.face.box for t in tracks if self._blur is Blur.ALL or t.name is None]
            picture = blur_boxes(picture, hidden)
        labels = [
            Label(track.face.box, track.name or self._unknown, known=track.name is not None)
            for track in tracks
        ]
        return annotate(picture, labels)

    def _write(self, drawn: Image) -> None:
        import cv2

        assert self._save is not None
        if self._writer is None:
            self._save.parent.mkdir(parents=True, exist_ok=True)
            size = (drawn.shape[1], drawn.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._save), code, self._source.rate, size)
            if not self._writer.isOpened():
                raise UsageError(f"{self._save}: cannot be written as a video; name it .mp4")
        self._writer.write(drawn[:, :, ::-1])

    def _keep_best(self, frame: TimedFrame, recognizer: VideoRecognizer) -> None:
        """Replace a track's snapshot when it was just embedded from a better picture."""
        if self._snapshots is None:
            return
        from facerec.alignment import crop_box
        from facerec.imaging.draw import write_image

        for track in recognizer.tracks:
            if track.embedded == frame.seconds and track.quality > self._best.get(track.number, 0):
                self._best[track.number] = track.quality
                chip = crop_box(frame.image, track.face, 224, 0.3)
                write_image(self._snapshots / f"track-{track.number:04}.jpg", chip)

    def _in_window(self, drawn: Image, frame: TimedFrame, people: _People) -> str:
        import cv2

        from facerec.imaging.draw import write_image

        cv2.imshow("facerec", drawn[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        if key == ord("s"):
            path = Path(f"facerec-{frame.index:06}.png")
            write_image(path, drawn)
            say(f"{path}: saved")
        elif key == ord("r"):
            people.reload()
        return "q" if key == ord("q") else ""
