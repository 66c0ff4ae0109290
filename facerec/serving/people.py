"""The gallery of a running server: the newest one for reading, and changes that wait their turn.

Searches run in one thread and changes in another: a change never delays a search. Another process
may change the gallery too: its version is looked at before a search, at most every `_CHECK`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Face, Match
from facerec.gallery import Gallery
from facerec.gallery.addresses import backend_of, changing, open_gallery
from facerec.gallery.base import GalleryStore
from facerec.gallery.match import Matcher
from facerec.profile.schema import RecognizeSection
from facerec.serving.failures import RequestError

Result = TypeVar("Result")
_CHECK = 0.2
"""Seconds between looks at the gallery's version."""
_PATIENCE, _PAUSE = 10.0, 0.05
"""Seconds for which a change waits for another process, and between its tries."""


class People:
    """Enrolled people, as they are now.

    Args:
        address: of the gallery, which need not exist yet; None: the server has none.
        card: of the engine's vectors.
        section: threshold, candidates and policy.
    """

    def __init__(self, address: str | None, card: ModelCard, section: RecognizeSection) -> None:
        self._address = address
        self._card = card
        self._section = section
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="enrolment")
        self._looked = -_CHECK
        self._changed = threading.Event()
        self._version: object = None
        self._matcher: Matcher | None = None
        self._store: GalleryStore = Gallery(card)

    @property
    def address(self) -> str:
        """The gallery's.

        Raises:
            RequestError: there is none.
        """
        if self._address is None:
            raise RequestError(
                404, "no_gallery", "this server has no gallery: start it with -g GALLERY"
            )
        return self._address

    async def read(self, function: Callable[[GalleryStore], Result]) -> Result:
        """What a function reads from the newest gallery."""
        _ = self.address
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: function(self._newest()))

    async def match(self, faces: Sequence[Face]) -> list[Match]:
        """One decision per embedded face of an image."""
        return await self.read(lambda _: self._decider().match_faces(faces))

    async def deciding(self) -> tuple[GalleryStore, Matcher]:
        """The newest gallery and its matcher, for their card and threshold."""
        return await self.read(lambda store: (store, self._decider()))

    async def change(
        self,
        function: Callable[[GalleryStore], Result],
        done: Callable[[Result], None],
        *,
        rewrite: bool = False,
    ) -> Result:
        """Change the gallery by a function; the change is on disk when this returns. It is made
        also if nobody waits for it any more.

        Args:
            done: told of the change once it is on disk, in the same thread.
            rewrite: leave nothing of what was removed in the gallery's file.

        Raises:
            UsageError: it cannot be written, or another process keeps writing it.
        """
        address = self.address

        def run() -> Result:
            with _changing(address, self._card) as store:
                result = function(store)
                if rewrite:
                    store.commit()
                    backend_of(address).tidy(store)
            self._changed.set()
            done(result)
            return result

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._writers, context.run, run)

    def close(self) -> None:
        """Wait for what is being read and written."""
        self._writers.shutdown()
        self._readers.shutdown()

    def _decider(self) -> Matcher:
        """The matcher of the gallery read last."""
        if self._matcher is None:
            self._matcher = Matcher(self._store, self._section, self._card, self.address)
        return self._matcher

    def _newest(self) -> GalleryStore:
        """The gallery, read again if it was changed."""
        now = time.monotonic()
        if self._changed.is_set() or now - self._looked >= _CHECK:
            # Before the look, so that a change that is made meanwhile is looked for again.
            self._changed.clear()
            version = backend_of(self.address).version(self.address)
            if version != self._version:
                store: GalleryStore = Gallery(self._card)
                if version is not None:
                    store = open_gallery(self.address)
                    self._card.require_same_model(store.card, self.address)
                self._store, self._version, self._matcher = store, version, None
            self._looked = now
        return self._store


@contextmanager
def _changing(address: str, card: ModelCard) -> Iterator[GalleryStore]:
    """As `changing`, but another process that is writing the gallery is waited for a while."""
    end = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                store = stack.enter_context(changing(address, create=card))
                break
            except UsageError as error:
                busy = isinstance(error.__cause__, BlockingIOError)
                if not busy or time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE)
        yield store
