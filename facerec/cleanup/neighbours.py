"""k-nearest-neighbour graphs, in blocks: by FAISS's IVF where it is installed, else exact."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.groups import Rows
from facerec.faces import Floats
from facerec.parallel.products import products
from facerec.parallel.ranks import map_sharded

_CELLS = 1 << 24
"""Similarities computed at once: 64 MiB."""
_FAISS_BLOCK = 65_536
# FAISS recommends 4 to 16 sqrt(N) lists; below `_IVF_FROM` vectors exact search is faster.
_LISTS_PER_ROOT = 4
_IVF_FROM = 50_000
_LISTS_SEARCHED = 24
_SAMPLES_PER_LIST = 64


def neighbour_pairs(vectors: Floats, count: int) -> NDArray[np.intp]:
    """Edges of the nearest-neighbour graph by inner product: `(E, 2)` pairs i < j, sorted.

    Args:
        vectors: `(N, D) float32`.
        count: neighbours of each row; of fewer than `count + 1` rows all pairs are given.
    """
    rows = len(vectors)
    if rows <= count + 1:
        return np.stack(np.triu_indices(rows, 1), 1)
    if rows >= _IVF_FROM and find_spec("faiss") is not None:
        blocks = _search_lists(vectors, count)
    else:
        blocks = _search_all(vectors, count)
    pairs = [_keys(start, near, rows) for start, near in blocks]
    keys = np.unique(np.concatenate(pairs))
    return np.stack(np.divmod(keys, rows), 1)


def similar_pairs(vectors: Floats, least: float) -> NDArray[np.intp]:
    """`(E, 2)` pairs i < j of rows whose inner product is `least` or more."""
    size = max(1, _CELLS // len(vectors))
    found = []
    for start in range(0, len(vectors), size):
        cosines = products(vectors[start : start + size], vectors[start:])
        near = np.argwhere(cosines >= least)
        found.append(near[near[:, 0] < near[:, 1]] + start)
    return np.concatenate(found)


def _keys(start: int, near: Rows, rows: int) -> Rows:
    """A key per edge of a block; FAISS pads with -1."""
    own = np.broadcast_to(np.arange(start, start + len(near))[:, None], near.shape)
    there = (near >= 0) & (near != own)
    one, two = own[there], near[there]
    return np.unique(np.minimum(one, two) * rows + np.maximum(one, two))


def _search_all(vectors: Floats, count: int) -> list[tuple[int, Rows]]:
    size = max(1, _CELLS // len(vectors))

    def search(start: int) -> tuple[int, Rows]:
        similarity = products(vectors[start : start + size], vectors)
        lines = np.arange(len(similarity))
        similarity[lines, start + lines] = -np.inf
        return start, np.argpartition(similarity, -count, axis=1)[:, -count:]

    return map_sharded(range(0, len(vectors), size), search)


def _search_lists(vectors: Floats, count: int) -> list[tuple[int, Rows]]:
    import faiss

    rows, size = vectors.shape
    lists = round(_LISTS_PER_ROOT * rows**0.5)
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(size), size, lists, faiss.METRIC_INNER_PRODUCT
    )
    step = max(1, rows // (lists * _SAMPLES_PER_LIST))
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(vectors[::step]))
    index.add(np.ascontiguousarray(vectors))
    index.nprobe = _LISTS_SEARCHED

    def search(start: int) -> tuple[int, Rows]:
        block = np.ascontiguousarray(vectors[start : start + _FAISS_BLOCK])
        return start, index.search(block, count + 1)[1]

    return map_sharded(range(0, rows, _FAISS_BLOCK), search)
