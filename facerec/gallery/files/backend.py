"""Galleries as files: an HDF5 file, and beside a large one a journal (write-ahead log).

A commit rewrites a small file. From `_WHOLE` on it appends its changes to the journal, at the cost
of the changes alone; once the journal exceeds a quarter of the file, both are compacted into a new
file. Each file has an identity. The journal names the file it continues; a compacted file names
the file whose journal it contains. So after a crash at any point, file and journal together tell
what was committed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats
from facerec.files import locking
from facerec.files.writing import behind_links
from facerec.gallery.base import MatchBy
from facerec.gallery.entries import Entries
from facerec.gallery.files.hdf5 import check_gallery, read_gallery, write_gallery
from facerec.gallery.files.journal import (
    START,
    append_changes,
    create_journal,
    journal_of,
    read_identity,
    read_journal,
)
from facerec.gallery.memory import MemoryGallery, Remove
from facerec.gallery.search.approximate import ApproximateSearch, build_index, open_index
from facerec.registry import GALLERIES

_WHOLE = 8 << 20
"""Bytes below which a commit rewrites the file: about 0.1 s."""
_SHARE = 4
"""The journal is compacted when it exceeds one part in so many of the file."""

_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds for which `save` waits for another writer, and between its tries."""

_FACTS = 3
_ROWS = 1 << 14
"""Entries hashed at once for a file's identity."""

Stamp = tuple[int, ...]
"""Modification time, size and inode of the file and of its journal."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The state on disk that a gallery in memory continues.

    Attributes:
        path: the file.
        identity: the file's.
        end: offset of the end of the journal's last whole record; 0 without a journal.
        stamp: when file and journal were read or written.
    """

    path: Path
    identity: str
    end: int
    stamp: Stamp


class Gallery(MemoryGallery):
    """Enrolled people, kept in an HDF5 file.

    Changes stay in memory until `save` or `commit`.

    >>> gallery = Gallery.open("gallery.h5")
    >>> gallery.people
    ['biden', 'obama']
    """

    origin: Origin | None = None
    """The state on disk that the gallery continues; None if it was never saved."""

    @classmethod
    def open(cls, path: str | Path, *, assume: ModelCard | None = None) -> Gallery:
        """Open a gallery file.

        Args:
            path: an HDF5 file, version 1 or one of the seed project's two older layouts.
            assume: the card for an older layout, which carries none.

        Raises:
            MissingError: the file is absent, damaged or no gallery.
            UsageError: the path is a URL of another backend, such as Milvus.
        """
        return read(_file(path), assume)

    def save(self, path: str | Path) -> None:
        """Write the gallery; to the path it was opened from, only the changes if that is cheaper.

        What others have saved there since it was opened stays: the changes are made anew on it.

        Raises:
            UsageError: the place cannot be written, or is a URL of another backend, such as Milvus;
                another process is writing it; or the changes do not fit what others have saved.
        """
        file = _file(path)
        # In this order, so that who waits for another writer holds up nobody here.
        with _writing(file), self.lock:
            save(self, file)

    def commit(self) -> None:
        """Save the gallery to the path it was opened from or saved to.

        Raises:
            UsageError: there is none, as for a new gallery; or as `save`.
        """
        if self.origin is None:
            raise UsageError("the gallery is new, and lies nowhere yet: use save(PATH)")
        self.save(self.origin.path)


def _file(path: str | Path) -> Path:
    """The file of a path or `file://` URL.

    Raises:
        UsageError: it is a URL of another backend.
    """
    # A `Path` leaves one slash of two.
    scheme, separator, rest = str(path).partition(":/")
    if scheme == "file" and separator:
        return Path(rest.removeprefix("/"))
    if separator and (scheme in GALLERIES or rest.startswith("/")):
        raise UsageError(
            f"{path}: Gallery keeps a file; save it to one, and copy that with: "
            f"facerec gallery copy FILE.h5 {path}"
        )
    return Path(path)


def stamp(path: Path) -> Stamp:
    """A value that every change of a gallery changes."""
    facts: list[int] = []
    for place in (path, journal_of(path)):
        try:
            found = place.stat()
            facts += (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            facts += (0,) * _FACTS
    return tuple(facts)


def read(path: Path, assume: ModelCard | None = None) -> Gallery:
    """See `Gallery.open`."""
    journal = journal_of(path)
    while True:
        before = stamp(path)
        try:
            opened = read_gallery(path, assume)
            found = read_journal(journal, opened.card.embedding_size)
        except MissingError:
            if stamp(path) == before:
                raise
            continue
        # If the file was replaced meanwhile, the journal may belong to the new file, or be gone.
        if stamp(path)[:_FACTS] == before[:_FACTS]:
            break
    gallery, end = Gallery.of_base(opened.card, opened.base), 0
    if found is not None and found.identity != opened.folds:
        if found.identity != opened.identity:
            raise MissingError(
                f"{journal}: continues another file than {path}; put back the file that it was "
                "beside, or move it away"
            )
        try:
            for change in found.changes:
                gallery.apply(change)
        except UsageError as error:
            raise MissingError(f"{journal}: damaged: it does not fit {path}: {error}") from error
        end = found.end
    gallery.changes = []
    gallery.origin = Origin(path, opened.identity, end, before)
    gallery.find_index = partial(_find_index, path, before[:_FACTS])
    return gallery


def _find_index(
    path: Path, file: Stamp, match: MatchBy, vectors: Floats
) -> ApproximateSearch | None:
    return open_index(path, match, vectors, file)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Hold the writer's lock, which this thread may hold already; another's is waited for a while.

    Raises:
        UsageError: another process keeps writing it, or its folder cannot be written.
    """
    end = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while not locking.holds_lock(path):
            try:
                stack.enter_context(locking.locked(path))
            except UsageError as error:
                busy = isinstance(error.__cause__, BlockingIOError)
                if not busy or time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE)
        yield


def _rebase(gallery: Gallery, path: Path) -> None:
    """Make a gallery's changes anew on what others have saved since it was opened.

    Raises:
        UsageError: they do not fit.
        IncompatibleError: it is another model's gallery now.
    """
    current = read(path, gallery.card)
    current.card.require_same_model(gallery.card, str(path))
    for change in gallery.changes:
        try:
            current.apply(change)
        except UsageError as error:
            if isinstance(change, Remove):
                continue  # another has removed that person too
            raise UsageError(
                f"{path}: was changed by another since it was opened: {error}; open it again"
            ) from error
    vars(gallery).update({**vars(current), "lock": gallery.lock})


def _continues(gallery: Gallery, path: Path) -> bool:
    """Whether a gallery was read from or written to a path's file, however the path is spelled,
    and the file still is there."""
    origin = gallery.origin
    if origin is None or not origin.identity or not path.exists():
        return False
    return behind_links(origin.path) == behind_links(path)


def save(gallery: Gallery, path: Path) -> None:
    """Write a gallery's changes to a path; they are on disk when it returns.

    Raises:
        UsageError: the place cannot be written, or they do not fit what others have saved.
    """
    origin = gallery.origin if _continues(gallery, path) else None
    if origin is not None and origin.stamp != stamp(path):
        _rebase(gallery, path)
        origin = gallery.origin
    if origin is None:
        compact(gallery, path)
    elif gallery.changes:
        size = path.stat().st_size
        if size < _WHOLE or origin.end > size // _SHARE:
            compact(gallery, path)
        else:
            _append(gallery, origin)


def compact(gallery: Gallery, path: Path, advance: Callable[[int], None] = lambda _: None) -> None:
    """Write a whole gallery to its file, and remove the journal.

    Args:
        advance: progress callback, with the number of entries written.

    Raises:
        UsageError: the place cannot be written.
    """
    journal = journal_of(path)
    folds = read_identity(journal)
    identity = _identify(gallery, folds)
    write_gallery(path, gallery, identity, folds, advance)
    # After a crash before this line, readers ignore the journal: the file names it in `folds`.
    journal.unlink(missing_ok=True)
    gallery.changes = []
    gallery.origin = Origin(path, identity, 0, stamp(path))


def _identify(gallery: Gallery, folds: str) -> str:
    """A hash of the content and of the identity of the file that it replaces."""
    digest = hashlib.blake2b(folds.encode(), digest_size=16)
    digest.update(json.dumps([gallery.card.to_json(), gallery.people]).encode())
    for rows in gallery.blocks(_ROWS):
        digest.update(json.dumps([*map(list, (rows.source, rows.sha256, rows.meta))]).encode())
        places = (rows.box, rows.landmarks, rows.score, rows.quality)
        for numbers in (rows.embeddings, rows.person, *places):
            digest.update(np.ascontiguousarray(numbers).data)
    return digest.hexdigest()


def index(path: Path, match: MatchBy, advance: Callable[[int], None] = lambda _: None) -> Path:
    """Compact a gallery and make its approximate index; returns the index's path.

    Args:
        advance: progress callback, with the number of vectors added.

    Raises:
        MissingError: FAISS is not installed, or the gallery is absent or damaged.
        UsageError: a place cannot be written.
    """
    gallery = read(path)
    if gallery.origin is not None and gallery.origin.end:
        compact(gallery, path)
        gallery = read(path)
    return build_index(path, match, gallery.base_vectors(match), stamp(path)[:_FACTS], advance)


def _append(gallery: Gallery, origin: Origin) -> None:
    journal, end = journal_of(origin.path), origin.end
    if not end:
        create_journal(journal, origin.identity, origin.path)
        end = START
    end = append_changes(journal, end, gallery.changes)
    gallery.changes = []
    gallery.origin = Origin(origin.path, origin.identity, end, stamp(origin.path))


@GALLERIES.register("file", help="PATH.h5, one HDF5 file with a journal beside a large one.")
class FileBackend:
    """`Backend` of HDF5 files; an address is a path."""

    def local_path(self, address: str) -> Path:
        """See `Backend.local_path`."""
        return Path(address.removeprefix("file://"))

    def open(self, address: str, assume: ModelCard | None) -> Gallery:
        """See `Gallery.open`."""
        return read(self.local_path(address), assume)

    def create(self, address: str, card: ModelCard) -> Gallery:
        """An empty gallery that `commit` writes to the path."""
        gallery = Gallery(card, entries=Entries.empty(card.embedding_size))
        gallery.origin = Origin(self.local_path(address), "", 0, ())
        return gallery

    def exists(self, address: str) -> bool:
        """See `Backend.exists`."""
        return self.local_path(address).exists()

    def locked(self, address: str) -> AbstractContextManager[None]:
        """See `facerec.files.locking.locked`."""
        return locking.locked(self.local_path(address))

    def version(self, address: str) -> object:
        """See `stamp`; None where there is no gallery."""
        return stamp(self.local_path(address)) if self.exists(address) else None

    def tidy(self, store: Gallery) -> None:
        """Write a gallery so that its bytes depend on its entries alone, not on its commits.

        Raises:
            UsageError: the place cannot be written.
        """
        if (origin := store.origin) is not None and origin.path.stat().st_size >= _WHOLE:
            compact(store, origin.path)
            # Without a journal, the file must not name one either.
            compact(store, origin.path)

    def verify(self, address: str, advance: Callable[[int], None] = lambda _: None) -> Gallery:
        """See `Backend.verify`: the stored templates must be the means of the entries."""
        opened = self.open(address, None)
        check_gallery(self.local_path(address), opened, advance)
        return opened
