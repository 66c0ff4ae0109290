"""An approximate index beside a gallery file: inverted lists (FAISS), reranked exactly.

Jégou et al. 2011, Product Quantization for Nearest Neighbor Search, section 4: vectors are put in
the lists of their nearest centroid, and a query is compared with the nearest lists only. What the
lists give is compared exactly, so similarities are those of exact search; a person may be missed.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files import replacing
from facerec.gallery.exact import Best, ExactSearch, Numbers, rerank
from facerec.gallery.store import MatchBy

_LISTS = 4
"""Lists per square root of the vectors."""
_PROBED = 64
"""Lists compared with a query."""
_TRAINED = 40
"""Vectors per list from which the centroids are found."""
_WIDER = 32
"""Vectors taken per person asked for: several may be one person's."""
_ROWS = 1 << 16

Stamp = tuple[int, ...]


class ApproximateSearch:
    """Searches vectors by an index of them, and exactly where the index cannot answer.

    Args:
        vectors: `(N, D) float32` unit vectors.
        index: FAISS's index of them.
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
        wanted = min(_WIDER * best.top, len(self._vectors))
        _, rows = self._index.search(np.ascontiguousarray(queries, np.float32), wanted)
        query = np.repeat(np.arange(len(queries)), rows.shape[1])
        row: Numbers = rows.reshape(-1)
        good = row >= 0
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
    """The index's place, for a gallery file's."""
    return path.with_name(f"{path.name}.{match}.index")


def build_index(path: Path, match: MatchBy, vectors: Floats, stamp: Stamp) -> Path:
    """Make the index of a gallery file's vectors; returns where it lies.

    Args:
        path: the gallery file.
        match: which of its vectors: means or photos.
        vectors: `(N, D) float32`.
        stamp: the file's.

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
    count, size = vectors.shape
    lists = max(1, min(int(_LISTS * math.sqrt(count)), count // _TRAINED))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(size), size, lists, faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    index.cp.niter = 8
    step = max(1, count // (lists * _TRAINED))
    index.train(np.ascontiguousarray(vectors[::step]))
    for first in range(0, count, _ROWS):
        index.add(np.ascontiguousarray(vectors[first : first + _ROWS]))
    target = index_of(path, match)
    _facts(target).unlink(missing_ok=True)
    with replacing(target) as temporary:
        faiss.write_index(index, str(temporary))
    facts = {"digest": _digest(vectors), "stamp": list(stamp)}
    with replacing(_facts(target)) as temporary:
        temporary.write_text(json.dumps(facts))
    return target


def open_index(
    path: Path, match: MatchBy, vectors: Floats, stamp: Stamp
) -> ApproximateSearch | None:
    """The search by a gallery file's index.

    None where there is no index of these very vectors, or no FAISS to read it.

    Args:
        path: the gallery file.
        match: which of its vectors.
        vectors: `(N, D) float32`.
        stamp: the file's; where it is the one at the making of the index, the vectors are not
            read to compare them.

    Raises:
        MissingError: the index is damaged.
    """
    target = index_of(path, match)
    try:
        facts = json.loads(_facts(target).read_text())
        current = facts["stamp"] == list(stamp) or facts["digest"] == _digest(vectors)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not current:
        return None
    try:
        import faiss
    except ImportError:
        return None
    try:
        index: Any = faiss.read_index(str(target), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise MissingError(f"{target}: damaged; make it again: facerec gallery index") from error
    if (index.ntotal, index.d) != vectors.shape:
        return None
    index.nprobe = _PROBED
    return ApproximateSearch(vectors, index)


def _facts(index: Path) -> Path:
    return index.with_name(f"{index.name}.json")


def _digest(vectors: Floats) -> str:
    digest = hashlib.sha256(str(vectors.shape).encode())
    for first in range(0, len(vectors), _ROWS):
        digest.update(np.ascontiguousarray(vectors[first : first + _ROWS]).data)
    return digest.hexdigest()
