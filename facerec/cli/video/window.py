"""The window of `facerec recognize cam`, its keys and its mouse."""

from __future__ import annotations

import dataclasses
import itertools
import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from facerec.cli.console import say
from facerec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from facerec.faces import Image
    from facerec.video.frames import TimedFrame
    from facerec.video.people import People
    from facerec.video.tracks import Track

_TITLE = "facerec"


class Window:
    """q quits, s saves the frame, r reloads the gallery, e enrols a face under a typed name.

    The face is the one that was clicked on, or else the largest. The name is typed in the terminal,
    in any script, while the video goes on: OpenCV's key codes have neither capital letters nor
    input methods, and keys pressed while a frame is processed are lost.
    """

    def __init__(self) -> None:
        # OpenCV's wheels bundle Qt without fonts, which Qt warns of at every window.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        import cv2

        cv2.namedWindow(_TITLE)
        cv2.setMouseCallback(_TITLE, self._mouse)
        self._shown: list[Track] = []
        self._clicked: Track | None = None
        self._chosen: Track | None = None

    def asks(self, track: Track) -> bool:
        """Whether the user is being asked for this track's name."""
        return track is self._chosen

    def show(self, drawn: Image, frame: TimedFrame, tracks: list[Track], people: People) -> bool:
        """Show a frame and handle a key; whether to go on."""
        import cv2

        self._shown = list(tracks)
        cv2.imshow(_TITLE, drawn[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        if self._chosen is not None and (typed := _typed_line()) is not None:
            _enrol(typed.strip(), self._chosen, people)
            self._chosen = self._clicked = None
        if key == ord("s"):
            self._save(drawn, frame)
        elif key == ord("r"):
            people.reload()
        elif key == ord("e"):
            self._choose()
        elif key == ord("q"):
            return False
        return True

    def close(self) -> None:
        import cv2

        cv2.destroyAllWindows()

    def _mouse(self, event: int, x: int, y: int, _flags: int, _data: object) -> None:
        import cv2

        if event != cv2.EVENT_LBUTTONDOWN:
            return
        for track in self._shown:
            left, top, right, bottom = track.face.box
            if left <= x <= right and top <= y <= bottom:
                self._clicked = track

    def _choose(self) -> None:
        known = [track for track in self._shown if track.vector() is not None]
        if not known:
            say("no face to enrol")
            return
        if not _has_terminal():
            say("no terminal to type a name in; facerec embed enrols photos, s saves the frame")
            return
        largest = max(known, key=lambda track: track.face.size)
        self._chosen = self._clicked if self._clicked in known else largest
        say("type the name of the face marked 'name?', then Enter; an empty line enrols nobody")

    def _save(self, drawn: Image, frame: TimedFrame) -> None:
        from facerec.imaging.draw import write_image

        path = _unused(f"facerec-{frame.index:06}")
        try:
            write_image(path, drawn)
        except UsageError as error:
            say(str(error))
            return
        say(f"{path}: saved")


def _unused(stem: str) -> Path:
    """A name for an image that no file has, as an earlier run's frame may have that number."""
    names = (
        f"{stem}{mark}.png"
        for mark in itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
    )
    return next(path for path in map(Path, names) if not path.exists())


def _has_terminal() -> bool:
    return os.name == "posix" and sys.stdin is not None and sys.stdin.isatty()


def _typed_line() -> str | None:
    """The line typed in the terminal; None until Enter."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return sys.stdin.readline() if ready else None


def _enrol(name: str, track: Track, people: People) -> None:
    if not name:
        say("nobody enrolled")
        return
    face = dataclasses.replace(track.face, embedding=track.vector())
    try:
        people.enrol(name, face, f"camera {time.strftime('%Y-%m-%d %H:%M:%S')}")
    except (MissingError, UsageError) as error:
        say(str(error))
