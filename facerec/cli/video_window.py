"""The window of `facerec recognize cam`, its keys and its mouse."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from facerec.cli.console import say
from facerec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from facerec.cli.video_people import People
    from facerec.faces import Image
    from facerec.video.sources import TimedFrame
    from facerec.video.tracks import Track

_TITLE = "facerec"
_ENTER, _ESCAPE, _BACKSPACE = (10, 13), 27, (8, 127)


class Window:
    """q quits, s saves the frame, r reads the gallery again, e enrols a face under a typed name.

    The face is the one that was clicked on, or else the largest; Enter enrols it, Escape does not.
    """

    def __init__(self) -> None:
        # OpenCV's wheels carry Qt without its fonts, of which it would complain in each window.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        import cv2

        cv2.namedWindow(_TITLE)
        cv2.setMouseCallback(_TITLE, self._mouse)
        self._shown: list[Track] = []
        self._clicked: Track | None = None
        self._chosen: Track | None = None
        self._typed = ""

    def typing(self, track: Track) -> str:
        """The name being typed for a track, to be written at its face; empty if none is."""
        return f"{self._typed}_" if track is self._chosen else ""

    def show(self, drawn: Image, frame: TimedFrame, tracks: list[Track], people: People) -> bool:
        """Show a picture and do what the key says; whether to go on."""
        import cv2

        self._shown = list(tracks)
        cv2.imshow(_TITLE, drawn[:, :, ::-1])
        key = cv2.waitKey(1) & 0xFF
        if self._chosen is not None:
            self._type(key, self._chosen, people)
        elif key == ord("s"):
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
        elif self._clicked in known:
            self._chosen = self._clicked
        else:
            self._chosen = max(known, key=lambda track: track.face.size)
        self._typed = ""

    def _type(self, key: int, chosen: Track, people: People) -> None:
        if key in _ENTER:
            self._chosen = self._clicked = None
            _enrol(self._typed.strip(), chosen, people)
        elif key == _ESCAPE:
            self._chosen = None
        elif key in _BACKSPACE:
            self._typed = self._typed[:-1]
        elif 32 <= key < 127:
            self._typed += chr(key)

    def _save(self, drawn: Image, frame: TimedFrame) -> None:
        from facerec.imaging.draw import write_image

        path = Path(f"facerec-{frame.index:06}.png")
        write_image(path, drawn)
        say(f"{path}: saved")


def _enrol(name: str, track: Track, people: People) -> None:
    face = dataclasses.replace(track.face, embedding=track.vector())
    try:
        people.enrol(name, face, f"camera {time.strftime('%Y-%m-%d %H:%M:%S')}")
    except (MissingError, UsageError) as error:
        say(str(error))
