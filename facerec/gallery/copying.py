"""Copying galleries between backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.gallery.addresses import Saver, backend_of
from facerec.gallery.base import Batch, GalleryStore
from facerec.gallery.entries import Entries
from facerec.gallery.files.backend import Gallery

_ROWS = 4096
_TEXTS = ("person", "source", "sha256", "meta")
_NUMBERS = ("embeddings", "box", "landmarks", "score", "quality")


def in_memory(store: GalleryStore, advance: Callable[[int], None] = lambda _: None) -> Gallery:
    """A gallery's entries as one `Gallery`; `advance` as in `append_all`."""
    gallery = Gallery(store.card, entries=Entries.empty(store.card.embedding_size))
    append_all(gallery, store, advance)
    return gallery


def append_all(
    target: GalleryStore, source: GalleryStore, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Append every entry of another gallery.

    Args:
        advance: progress callback, with the number of entries appended.
    """
    for batch in source.batches():
        target.append(batch)
        advance(len(batch))


@contextmanager
def replacing(address: str, card: ModelCard) -> Iterator[GalleryStore]:
    """A new gallery, locked, that replaces the one at an address at its first commit; committed at
    the end unless the block raises.

    Raises:
        UsageError: another process is writing it, or it cannot be written.
    """
    backend = backend_of(address)
    with backend.locked(address):
        store = backend.create(address, card)
        yield store
        store.commit()


def continue_copy(
    source: GalleryStore, target: GalleryStore, advance: Callable[[int], None] = lambda _: None
) -> int:
    """Append the entries that a copy still lacks, with periodic commits, and give it the card.

    Args:
        target: a prefix of `source`, or empty.
        advance: progress callback, with the number of entries that are in the target.

    Returns:
        the number of entries appended.

    Raises:
        UsageError: the target is no prefix of the source.
    """
    done = _common(source, target)
    if done < len(target):
        raise UsageError("holds other entries than a part of that gallery; --force replaces them")
    advance(done)
    changed = target.card != source.card
    if changed:
        # Thresholds may have been calibrated since; a new target's are taken for the model's.
        target.card = source.card
    saver = Saver(target, changed=changed)
    for batch in _from(source, done):
        target.append(batch)
        saver.note_change()
        advance(len(batch))
    saver.save()
    return len(target) - done


def _common(source: GalleryStore, target: GalleryStore) -> int:
    """The length of the common prefix."""
    same = 0
    for ours, theirs in zip(source.batches(_ROWS), target.batches(_ROWS), strict=False):
        count = min(len(ours), len(theirs))
        for row in range(count):
            if not _equal(ours, theirs, row):
                return same + row
        same += count
    return same


def _equal(one: Batch, other: Batch, row: int) -> bool:
    texts = all(getattr(one, name)[row] == getattr(other, name)[row] for name in _TEXTS)
    return texts and all(
        np.array_equal(getattr(one, name)[row], getattr(other, name)[row], equal_nan=True)
        for name in _NUMBERS
    )


def _from(store: GalleryStore, start: int) -> Iterator[Batch]:
    """The entries from `start` on."""
    first = 0
    for batch in store.batches(_ROWS):
        rows = range(max(start - first, 0), len(batch))
        if rows:
            yield batch.take(list(rows))
        first += len(batch)
