"""The gallery of a running video, reloaded when another process changes it."""

from __future__ import annotations

import time

from facerec.engine.engine import Engine
from facerec.errors import MissingError, UsageError
from facerec.faces import Face
from facerec.gallery.addresses import backend_of, changing, open_gallery
from facerec.gallery.match import Matcher
from facerec.gallery.points import record_points
from facerec.profile.loading import Profile
from facerec.video.frames import Warn

CHECK_SECONDS = 1.0
"""Seconds between checks of the gallery's version."""


class People:
    """The gallery's matcher, rebuilt when the gallery changes.

    Args:
        profile: names the gallery, and says how people are matched.
        engine: embeds the faces.
        say: told in a line when it was read again, or could not be.

    Raises:
        MissingError: there is no gallery, or it is damaged.
        IncompatibleError: it was built with another model.
    """

    def __init__(self, profile: Profile, engine: Engine, say: Warn) -> None:
        self._profile, self._engine, self._say = profile, engine, say
        self._address = profile.gallery.path
        self._checked = time.monotonic()
        self._version: object = None
        self._version = self._read_version()
        self.matcher = self._read()

    def newest(self) -> Matcher:
        """The matcher of the newest gallery, checked once a second."""
        if time.monotonic() - self._checked >= CHECK_SECONDS:
            self._checked = time.monotonic()
            if (version := self._read_version()) != self._version:
                self._version = version
                self.reload()
        return self.matcher

    def reload(self) -> None:
        try:
            self.matcher = self._read()
            self._say(f"{self._address}: reloaded")
        except (MissingError, UsageError) as error:
            self._say(f"{error}; keeping the gallery that was read before")

    def enrol(self, name: str, face: Face, source: str) -> None:
        """Add a face with its embedding to the gallery, and reload it.

        Raises:
            UsageError: the name is unusable, the file cannot be written, or another process is
                writing it.
            IncompatibleError: it was replaced by a gallery of another model.
            MissingError: it is damaged.
        """
        with changing(self._address, create=self._engine.card) as gallery:
            record_points(gallery, [self._engine.points()])
            gallery.add(name, [face], source)
        self._say(f"{self._address}: {name} enrolled")
        self._version = self._read_version()
        self.reload()

    def _read_version(self) -> object:
        try:
            return backend_of(self._address).version(self._address)
        except (MissingError, UsageError):
            # The server does not answer: keep the gallery that was read.
            return self._version

    def _read(self) -> Matcher:
        gallery = open_gallery(self._address)
        return Matcher(gallery, self._profile.recognize, self._engine.card, self._address)
