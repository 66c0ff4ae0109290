"""What a gallery is given, checked before anything changes: faces, metadata, queries."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from facerec.errors import ArgumentError, UsageError, nearest_or_all
from facerec.faces import Face, Floats
from facerec.gallery.base import Batch, MatchBy, Where
from facerec.gallery.entries import known_quality

_OFF = 1e-3
"""By how much the length of a unit vector may differ from 1."""
_SHOWN = 80
"""Characters of a wrong value that a message shows."""


def batch_of_faces(
    person: str,
    faces: Sequence[Face],
    source: str | Path,
    sha256: str,
    meta: Where | None,
    size: int,
) -> Batch:
    """The entries that the faces of one photo give.

    Args:
        size: length of the gallery's embeddings.

    Raises:
        ArgumentError: there is no face; or one has no embedding, or one of another size, or not of
            unit length, as of NaN: a gallery that held it would be refused as damaged when it is
            opened.
        UsageError: source, hash or metadata are not the texts that can be stored.
    """
    if not faces:
        raise ArgumentError("no face to add; `remove_source` removes what a photo gave")
    count, vectors = len(faces), _face_embeddings(faces, size)
    return Batch(
        [person] * count,
        [source_text(source)] * count,
        [_checked_text(sha256, "sha256")] * count,
        [check_meta(meta)] * count,
        vectors,
        np.stack([face.box for face in faces]),
        np.stack([face.landmarks for face in faces]),
        np.array([face.score for face in faces], np.float32),
        np.array([known_quality(face) for face in faces], np.float32),
    )


def _face_embeddings(faces: Sequence[Face], size: int) -> Floats:
    found = [face.embedding for face in faces]
    if any(vector is None or vector.shape != (size,) for vector in found):
        raise ArgumentError(f"every face needs an embedding of {size} values")
    vectors = np.array(found, np.float32).reshape(-1, size)
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=_OFF):
        raise ArgumentError("every face needs an embedding of unit length")
    return vectors


def check_batch(batch: Batch, size: int) -> None:
    """Refuse entries that could not be saved, or not be read again.

    Args:
        size: length of the gallery's embeddings.

    Raises:
        UsageError: a column has another shape or length, or texts are none.
    """
    count = len(batch)
    shapes = {"embeddings": (count, size), "score": (count,), "quality": (count,)}
    shapes |= {"box": (count, 4), "landmarks": (count, 5, 2)}
    for name, shape in shapes.items():
        if (found := np.shape(getattr(batch, name))) != shape:
            raise UsageError(f"{name} of shape {found} cannot be added: {shape} is needed")
    if not len(batch.source) == len(batch.sha256) == len(batch.meta) == count:
        raise UsageError("each entry needs a source, a hash and metadata")
    for meta in batch.meta:
        check_meta(meta)
    for name in ("source", "sha256"):
        for text in dict.fromkeys(getattr(batch, name)):
            _checked_text(text, name)


def source_text(source: str | Path) -> str:
    """A photo as a gallery stores it.

    Raises:
        UsageError: it is neither a text nor a path.
    """
    return _checked_text(os.fspath(source) if isinstance(source, os.PathLike) else source, "source")


def _checked_text(text: object, name: str) -> str:
    if not isinstance(text, str) or not _can_be_stored(text):
        raise UsageError(f"{name}: a text is needed; given: {_shown(text)}")
    return text


def check_meta(meta: Where | None, name: str = "meta") -> dict[str, str]:
    """Metadata, or a filter of metadata; none for None.

    Args:
        name: the argument's.

    Raises:
        UsageError: they are not texts by texts.
    """
    if meta is None:
        return {}
    if not isinstance(meta, Mapping) or not all(
        isinstance(text, str) and _can_be_stored(text) for pair in meta.items() for text in pair
    ):
        raise UsageError(
            f'{name}: texts by texts are needed, such as {{"team": "navy"}}; given: {_shown(meta)}'
        )
    return dict(meta)


def _can_be_stored(text: str) -> bool:
    try:
        # Names of files that are not UTF-8 have surrogates.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def check_search(queries: Floats, size: int, top: int, match: str) -> Floats:
    """The queries of a search, `(Q, size) float32`.

    Args:
        size: length of the gallery's embeddings.

    Raises:
        UsageError: they are no vectors of that size, or longer than unit vectors, as of NaN; fewer
            than one person each is wanted; or there is no such `match`.
    """
    if match not in get_args(MatchBy):
        raise UsageError(f"match: {match!r} is unknown{nearest_or_all(match, get_args(MatchBy))}")
    if top < 1:
        raise UsageError(f"top: at least 1 person is needed; given: {top}")
    try:
        vectors = np.asarray(queries, np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(f"queries are no numbers ({error})") from error
    if not vectors.size and not len(vectors):
        return np.empty((0, size), np.float32)
    if vectors.shape[1:] != (size,):
        raise UsageError(
            f"queries of shape {vectors.shape}: give (Q, {size}), of one face its embedding[None]"
        )
    norms = np.linalg.norm(vectors, axis=1)
    # A mean of several unit vectors is shorter.
    if (long := np.flatnonzero(~(norms <= 1 + _OFF))).size:
        raise UsageError(
            f"query {long[0]} has length {norms[long[0]]:.4g}: give unit vectors, as Engine.embed "
            "makes them (a vector divided by its length)"
        )
    return vectors


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
