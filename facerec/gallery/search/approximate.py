"""Approximate index (IVF-PQ, 4 bits) beside a gallery file, with exact reranking.

IVF: each vector is in the inverted list of its nearest centroid, and a query probes the nearest
lists only (Jégou et al. 2011, Product Quantization for Nearest Neighbor Search, section 4). PQ:
after a random rotation, each pair of values is a 4-bit code, scored by register lookups (André et
al. 2017, Accelerated Nearest Neighbor Search with Quick ADC; FAISS's "fast scan"). Candidates are
reranked by the vectors, so similarities are those of exact search; a person may be missed. The
index measures L2 distance, not inner product: embeddings lie around a mean far from zero, and
inner products would favour the longest centroid.

A vector of D values takes D/4 bytes and 8 for its id, all read into memory when the index is
opened: 41 MB for a million of 128, made in 10 s. The guide *performance* has recall and times.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.hashing import sha256_of
from facerec.files.parsing import MALFORMED, parse_json
from facerec.files.writing import replacing
from facerec.gallery.base import MatchBy
from facerec.gallery.search.exact import Best, ExactSearch, Numbers, rerank

_PROBED, _PROBED_LEAST = 4, 64
"""Lists probed: one in so many, and at least so many, of sqrt(N)."""
_TRAINED = 64
"""Training vectors per list."""
_ROUNDS = 8
"""k-means iterations."""
_SMALL = 1024
"""Vectors below which the index is flat: too few to train codes."""
_LEAST, _WIDER = 128, 32
"""Candidates reranked: at least so many, and so many per person wanted (several may be one's)."""
_ROWS = 1 << 16

_KIND = "ivf-pq4"
"""The kind of index that this code reads; others are ignored."""

Stamp = tuple[int, ...]


class ApproximateSearch:
    """Searches vectors by their index, and exactly where it returns too few people.

    Args:
        vectors: `(N, D) float32` unit vectors.
        index: a FAISS index of them.
    """

    def __init__(self, vectors: Floats, index: Any) -> None:
        self._vectors = vectors
        self._index = index
        self._exact = ExactSearch(vectors)

    def search(
        self,
        queries: Floats,
        best: Best,
        groups: NDArray[np.integer],
        allowed: NDArray[np.bool_] | None = None,
    ) -> None:
        """As `ExactSearch.search`, but a group may be missed."""
        wanted = min(max(_LEAST, _WIDER * best.top), len(self._vectors))
        if not wanted:
            return
        _, rows = self._index.search(np.ascontiguousarray(queries, np.float32), wanted)
        query = np.repeat(np.arange(len(queries)), rows.shape[1])
        row: Numbers = rows.reshape(-1)
        good = (row >= 0) & (row < len(self._vectors))
        if allowed is not None:
            good &= allowed[row]
        query, row = query[good], row[good]
        rerank(self._vectors, queries, query, row, groups, best)
        pairs = np.unique(np.stack((query, groups[row].astype(np.int64))), axis=1)
        counts = np.bincount(pairs[0], minlength=len(queries))
        for short in np.flatnonzero(counts < best.top).tolist():
            some = slice(short, short + 1)
            self._exact.search(queries[some], best.part(short, short + 1), groups, allowed)


def index_of(path: Path, match: MatchBy) -> Path:
    """The index's path, for a gallery file's or that of a link to it."""
    place = Path(os.path.realpath(path))
    return place.with_name(f"{place.name}.{match}.index")


def build_index(
    path: Path,
    match: MatchBy,
    vectors: Floats,
    stamp: Stamp,
    advance: Callable[[int], None] = lambda _: None,
) -> Path:
    """Make the index of a gallery file's vectors; returns its path.

    Args:
        path: the gallery file.
        match: which of its vectors: templates or entries.
        vectors: `(N, D) float32`.
        stamp: the file's.
        advance: progress callback, with the number of vectors added.

    Raises:
        MissingError: FAISS is not installed.
        UsageError: the place cannot be written.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            f"{path}: faiss is not installed; pip install 'facerec[faiss]'"
        ) from error
    index = _train(faiss, vectors)
    for first in range(0, len(vectors), _ROWS):
        block = np.ascontiguousarray(vectors[first : first + _ROWS])
        index.add(block)
        advance(len(block))
    target = index_of(path, match)
    _facts(target).unlink(missing_ok=True)
    with replacing(target, like=path) as temporary:
        faiss.write_index(index, str(temporary))
    facts = {
        "kind": _KIND,
        "digest": _digest(vectors),
        "stamp": list(stamp),
        "file": sha256_of(target),
    }
    with replacing(_facts(target), like=path) as temporary:
        temporary.write_text(json.dumps(facts))
    return target


def open_index(
    path: Path, match: MatchBy, vectors: Floats, stamp: Stamp
) -> ApproximateSearch | None:
    """Search by a gallery file's index; None without an index of exactly these vectors, or FAISS.

    Args:
        path: the gallery file.
        match: which of its vectors.
        vectors: `(N, D) float32`.
        stamp: the file's; if it is unchanged since the index was made, the vectors' digest is not
            computed.

    Raises:
        MissingError: the index is damaged.
    """
    target = index_of(path, match)
    try:
        facts = parse_json(_facts(target).read_text())
        current = facts["kind"] == _KIND and (
            facts["stamp"] == list(stamp) or facts["digest"] == _digest(vectors)
        )
    except MALFORMED:
        return None
    if not current:
        return None
    try:
        import faiss
    except ImportError:
        return None
    try:
        # FAISS trusts what it reads: damage may end the process.
        if facts.get("file") not in (None, sha256_of(target)):
            raise ValueError("other bytes than were written")
        index: Any = faiss.read_index(str(target))
    except MALFORMED as error:
        raise MissingError(f"{target}: damaged; make it again: facerec gallery index") from error
    if (index.ntotal, index.d) != vectors.shape:
        return None
    return ApproximateSearch(vectors, index)


def _train(faiss: Any, vectors: Floats) -> Any:
    """An empty index, trained on a sample of the vectors."""
    count, size = vectors.shape
    if count < _SMALL:
        return faiss.IndexFlatL2(size)
    even = size + size % 2
    lists = max(1, min(round(math.sqrt(count)), count // _TRAINED))
    codes = faiss.IndexIVFPQFastScan(faiss.IndexFlatL2(even), even, lists, even // 2, 4)
    codes.nprobe = min(lists, max(_PROBED_LEAST, lists // _PROBED))
    codes.cp.niter = _ROUNDS
    codes.cp.min_points_per_centroid = codes.pq.cp.min_points_per_centroid = 1
    index = faiss.IndexPreTransform(faiss.RandomRotationMatrix(size, even), codes)
    step = max(1, count // max(_SMALL, lists * _TRAINED))
    index.train(np.ascontiguousarray(vectors[::step]))
    return index


def _facts(index: Path) -> Path:
    return index.with_name(f"{index.name}.json")


def _digest(vectors: Floats) -> str:
    digest = hashlib.sha256(str(vectors.shape).encode())
    for first in range(0, len(vectors), _ROWS):
        digest.update(np.ascontiguousarray(vectors[first : first + _ROWS]).data)
    return digest.hexdigest()
