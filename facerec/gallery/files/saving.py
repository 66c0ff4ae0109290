"""Committing a gallery's changes while it grows."""

from __future__ import annotations

import time

from facerec.gallery.base import GalleryStore

_SHARE = 0.05


class Saver:
    """Commits a gallery's changes, as often as the cost allows.

    Args:
        gallery: what grows.
        changed: whether it has changes already, such as being new; they are committed at once, so
            that a place that cannot be written is known before the work is done.
        share: of the time that committing may take; 0: nothing is committed before `save`.
    """

    def __init__(self, gallery: GalleryStore, *, changed: bool, share: float | None = None) -> None:
        self._gallery = gallery
        self._share = _SHARE if share is None else share
        self._changed = changed
        self._seconds = 0.0
        self.save()

    def note_change(self) -> None:
        """Commit, if the last time was long enough ago."""
        self._changed = True
        if (time.monotonic() - self._ended) * self._share > self._seconds:
            self.save()

    def save(self) -> None:
        """Commit, if anything has changed."""
        if self._changed:
            start = time.monotonic()
            self._gallery.commit()
            self._seconds = time.monotonic() - start
            self._changed = False
        self._ended = time.monotonic()
