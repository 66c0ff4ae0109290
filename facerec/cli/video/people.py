"""The gallery of a running recognition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from facerec.cli.console import say
from facerec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from facerec.engine.engine import Engine
    from facerec.faces import Face
    from facerec.gallery.match import Matcher
    from facerec.profile.loading import Profile

WATCH = 1.0
"""Seconds between looks at whether the gallery has changed."""


class People:
    """The gallery, read again when it changes."""

    def __init__(self, profile: Profile, engine: Engine) -> None:
        self._profile, self._engine = profile, engine
        self._address = profile.gallery.path
        self._looked = time.monotonic()
        self._stamp: object = None
        self._stamp = self._state()
        self.matcher = self._read()

    def newest(self) -> Matcher:
        """The matcher of the gallery as it is now, looked at once a second."""
        if time.monotonic() - self._looked >= WATCH:
            self._looked = time.monotonic()
            if (stamp := self._state()) != self._stamp:
                self._stamp = stamp
                self.reload()
        return self.matcher

    def reload(self) -> None:
        try:
            self.matcher = self._read()
            say(f"{self._address}: read again")
        except (MissingError, UsageError) as error:
            say(f"{error}; going on with what was there")

    def enrol(self, name: str, face: Face, source: str) -> None:
        """Add a face with its embedding to the file, and go on with what is then in it.

        Raises:
            UsageError: the name is unusable, the file cannot be written, or another process is
                writing it.
            IncompatibleError: it was replaced by a gallery of another model.
            MissingError: it is damaged.
        """
        from facerec.gallery.addresses import changing

        with changing(self._address, create=self._engine.card) as gallery:
            gallery.add(name, [face], source)
        say(f"{self._address}: {name} enrolled")
        self._stamp = self._state()
        self.reload()

    def _state(self) -> object:
        from facerec.gallery.addresses import backend_of

        try:
            return backend_of(self._address).version(self._address)
        except (MissingError, UsageError):
            # A server that does not answer: what is known is gone on with.
            return self._stamp

    def _read(self) -> Matcher:
        from facerec.gallery.addresses import open_gallery
        from facerec.gallery.match import Matcher

        gallery = open_gallery(self._address)
        return Matcher(gallery, self._profile.recognize, self._engine.card, self._address)
