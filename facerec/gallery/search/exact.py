"""Exact nearest-neighbour search, at memory bandwidth.

Dot products of low precision, with an error bound, prune: where `|q·v - estimate| <= error` holds
for a block, a row whose estimate plus error is below the k-th best similarity so far is out. The
remaining rows are compared in float64 and rounded to float32, so the result depends neither on the
estimates nor on the blocks. Estimates are float32 dot products or, where the CPU has exact and
faster int8 dot products (VNNI) and enough queries have come to pay for the quantisation, those, of
a quarter of the memory traffic.
"""

from __future__ import annotations

import mmap
import timeit
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats
from facerec.parallel.cores import usable_cores
from facerec.parallel.forking import single_torch_thread_in_children

Numbers = NDArray[np.int64]

_QUERIES = 64
"""Queries compared at once."""
_PRODUCTS = 1 << 19
"""Products computed at once: they fit the CPU cache."""
_PAIRS = 1 << 14
"""Pairs reranked at once."""
_BLOCK = 4096
"""Rows that share an int8 scale."""
_SEED, _SEED_OF_ONE = 2 * _BLOCK, 1024
"""Rows compared first, to obtain a k-th best: at most, and for each query."""
_GROWTH, _GROWTH_OF_FEW = 2, 8
"""How many times more rows have been compared after each block. Of few queries little has to be
reranked, and at the end of each block the cores wait for each other."""
_DOTTED = 4
"""Queries up to which a dot product a row is faster than BLAS's product of matrices."""
_APART = 1 << 13
"""Rows that one thread reads at a time for them."""
_QUANTISE_AFTER, _QUANTISE_FROM = 64, 16_384
"""Queries after which quantising pays, and rows from which."""
_FORGET = 64
"""Blocks quantised before the file's pages are released."""
_INT32 = np.iinfo(np.int32)
_BYTE = 127
_TRIED, _TRIES = 1024, 3
"""Rows multiplied to learn whether bytes are faster, and how often."""
_WORTH = 1.5
"""How many times faster they must be, as they take a copy."""


class ExactSearch:
    """Searches `(N, D) float32` unit vectors, which may be memory-mapped."""

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors
        self._asked = 0
        self._quantised: _Quantised | None = None

    def __len__(self) -> int:
        return len(self._vectors)

    def search(
        self,
        queries: Floats,
        best: Best,
        groups: NDArray[np.integer],
        allowed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Update the best of each query with these vectors.

        Args:
            queries: `(Q, D) float32`.
            groups: `(N,)` int, each row's group (its person).
            allowed: `(N,) bool` mask of rows; None: all.
        """
        if not len(self):
            return
        self._asked += len(queries)
        pays = self._asked > _QUANTISE_AFTER and len(self) >= _QUANTISE_FROM
        if self._quantised is None and pays and multiplies_bytes(self._vectors.shape[1]):
            self._quantised = _Quantised(self._vectors)
        estimates = _Plain(self._vectors) if self._quantised is None else self._quantised
        for start in range(0, len(queries), _QUERIES):
            some = np.array(queries[start : start + _QUERIES], np.float32)
            part = best.part(start, start + len(some))
            seed = min(_SEED, _SEED_OF_ONE * len(some), len(self))
            likely = _first_rows(seed, groups, allowed)
            products = estimates.multiply(some, self._vectors[likely])
            query, row = _nearest(products, likely, best.top)
            rerank(self._vectors, some, query, row, groups, part)
            first, rows = 0, _SEED
            # Blocks grow: the floor rises fastest at the beginning.
            growth = _GROWTH_OF_FEW if len(some) <= _DOTTED else _GROWTH
            while first < len(self):
                query, row = estimates.survivors(some, part.floor, first, first + rows)
                if allowed is not None:
                    query, row = query[allowed[row]], row[allowed[row]]
                rerank(self._vectors, some, query, row, groups, part)
                if self._quantised is not None:
                    forget_pages(self._vectors)
                first += rows
                rows = (growth - 1) * first


def rerank(
    vectors: Floats,
    queries: Floats,
    query: Numbers,
    row: Numbers,
    groups: NDArray[np.integer],
    best: Best,
) -> None:
    """Update `best` with the exact similarities of `(M,)` pairs of query and row."""
    for first in range(0, len(row), _PAIRS):
        if first:
            forget_pages(vectors)
        pairs = slice(first, first + _PAIRS)
        exact = np.einsum(
            "nd,nd->n",
            vectors[row[pairs]].astype(np.float64),
            queries[query[pairs]].astype(np.float64),
        )
        best.offer(query[pairs], groups[row[pairs]].astype(np.int64), exact.astype(np.float32))


def forget_pages(array: NDArray[np.generic]) -> None:
    """Release a memory-mapped array's pages (`MADV_DONTNEED`); they are read again on access."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _first_rows(
    count: int, groups: NDArray[np.integer], allowed: NDArray[np.bool_] | None
) -> Numbers:
    """Of the first rows those of distinct groups."""
    first = np.arange(count) if allowed is None else np.flatnonzero(allowed)[:count]
    return first[np.unique(groups[first], return_index=True)[1]]


def _nearest(products: Floats, rows: Numbers, top: int) -> tuple[Numbers, Numbers]:
    """Query and row of each query's largest products `(Q, R)`."""
    count = min(top, len(rows))
    if count < len(rows):
        chosen = rows[np.argpartition(-products, count - 1, axis=1)[:, :count]]
    else:
        chosen = np.broadcast_to(rows, (len(products), count))
    return np.repeat(np.arange(len(products)), count), chosen.reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best groups so far of each query.

    Each group counts once, by its highest similarity; ties go to the lower number.

    Attributes:
        group: `(Q, K) int64`, best first; -1 where there are fewer.
        similarity: `(Q, K) float32`; -inf where there are fewer.
        floor: `(Q,) float32`, the k-th best similarity; what is below is pruned.
    """

    group: Numbers
    similarity: Floats
    floor: Floats

    @classmethod
    def of_none(cls, queries: int, top: int, least: float) -> Best:
        """Empty: room for `top` groups each, of similarity `least` or more."""
        return cls(
            np.full((queries, top), -1),
            np.full((queries, top), -np.inf, np.float32),
            np.full(queries, least, np.float32),
        )

    @property
    def top(self) -> int:
        """Groups per query, at most."""
        return len(self.group.T)

    def part(self, start: int, stop: int) -> Best:
        """A view of some of the queries, changed in place."""
        some = slice(start, stop)
        return Best(self.group[some], self.similarity[some], self.floor[some])

    def offer(self, query: Numbers, group: Numbers, similarity: Floats) -> None:
        """Merge `(M,)` candidates in."""
        good = similarity >= self.floor[query]
        if not good.any():
            return
        query, group, similarity = query[good], group[good], similarity[good]
        changed = np.unique(query)
        had = changed[:, None].repeat(self.top, 1)[self.group[changed] >= 0]
        held = self.group[changed] >= 0
        query = np.concatenate((had, query))
        group = np.concatenate((self.group[changed][held], group))
        similarity = np.concatenate((self.similarity[changed][held], similarity))
        order = np.lexsort((-similarity, group, query))
        repeated = (np.diff(query[order], prepend=-1) == 0) & (
            np.diff(group[order], prepend=-1) == 0
        )
        order = order[~repeated]
        order = order[np.lexsort((group[order], -similarity[order], query[order]))]
        place = np.arange(len(order)) - np.searchsorted(query[order], query[order])
        order, place = order[place < self.top], place[place < self.top]
        cells = (query[order], place)
        self.group[cells], self.similarity[cells] = group[order], similarity[order]
        full = place == self.top - 1
        self.floor[query[order][full]] = similarity[order][full]


class _Plain:
    """Estimates by float32 dot products."""

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors

    def multiply(self, queries: Floats, vectors: Floats) -> Floats:
        return _products(vectors, queries).T

    def survivors(
        self, queries: Floats, floor: Floats, start: int, stop: int
    ) -> tuple[Numbers, Numbers]:
        """Query and row of each pair that can reach the floor, of rows `start` to `stop`."""
        count, size = queries.shape
        # Higham 2002, Accuracy and Stability of Numerical Algorithms, eq. 3.5, for unit vectors.
        error = 1.01 * (size + 2) * 2.0**-24 * np.linalg.norm(queries, axis=1)
        least = (floor - error).astype(np.float32)
        step = max(_BLOCK, _PRODUCTS // count)
        cells = []
        for first in range(start, min(stop, len(self._vectors)), step):
            block = self._vectors[first : min(first + step, stop)]
            products = _products(block, queries)
            cells.append(np.flatnonzero(products >= least) + first * count)
        return _query_and_row(cells, count)


def _products(rows: Floats, queries: Floats) -> Floats:
    """Dot products `(R, Q) float32`, for few queries at memory bandwidth: BLAS's products of matrix
    and vector, or narrow matrix, take up to twice as long there, longer where its threads find no
    core, and its idle threads spin for milliseconds on cores that the next ones need."""
    if len(queries) > _DOTTED:
        products: Floats = rows @ queries.T
        return products
    products = np.empty((len(rows), len(queries)), np.float32)

    def multiply(start: int) -> None:
        # Of several queries, all but the first find a block in the cache.
        step = _BLOCK if len(queries) > 1 else _APART
        for first in range(start, min(start + _APART, len(rows)), step):
            some = slice(first, first + step)
            for number, query in enumerate(queries):
                products[some, number] = np.matmul(rows[some, None], query[:, None])[:, 0, 0]

    # One core reads half of what memory gives. The threads live for this product alone, as a forked
    # child would wait for its parent's.
    starts = range(0, len(rows), _APART)
    threads = min(len(starts), usable_cores())
    if threads < 2:
        for start in starts:
            multiply(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(multiply, starts))
    return products


@cache
def multiplies_bytes(size: int) -> bool:
    """Whether int8 dot products of `size` values are exact here, and well faster than float32's.

    With VNNI they are both. Without it oneDNN's kernels add two products in 16 bits, which large
    ones overflow, and PyTorch's own, which it uses where oneDNN's do not serve, are twenty times
    slower than float32.
    """
    return sums_bytes_exactly(size) and bytes_are_faster(size)


def sums_bytes_exactly(size: int) -> bool:
    """Whether int8 dot products of `size` values are right."""
    import torch

    rows = torch.full((_TRIED, size), _BYTE, dtype=torch.int8)
    rows[1::2] = -_BYTE
    sums = rows.sum(1, dtype=torch.int32)[:, None]

    def is_exact(byte: int, count: int) -> bool:
        column = torch.full((size, count), byte, dtype=torch.int8)
        return torch.equal(torch._int_mm(rows, column), (byte * sums).expand(-1, count))

    return all(is_exact(byte, count) for byte in (_BYTE, -_BYTE) for count in (1, _QUERIES))


def bytes_are_faster(size: int) -> bool:
    """Whether int8 dot products of `size` values, measured now, pay for a copy of the vectors."""
    import torch

    rows, columns = (
        torch.ones(shape, dtype=torch.int8) for shape in ((_TRIED, size), (size, _QUERIES))
    )
    floats, float_columns = (one.numpy().astype(np.float32) for one in (rows, columns))
    in_bytes, in_floats = (
        min(timeit.repeat(product, number=1, repeat=_TRIES))
        for product in (lambda: torch._int_mm(rows, columns), lambda: floats @ float_columns)
    )
    return _WORTH * in_bytes < in_floats


class _Quantised:
    """Estimates by int8 dot products of rows quantised around their mean."""

    def __init__(self, vectors: Floats) -> None:
        import torch

        rows, size = vectors.shape
        blocks = -(-rows // _BLOCK)
        self._rows = rows
        self._mean = np.mean(vectors[:: max(1, rows // 65_536)], axis=0)
        mean = torch.from_numpy(self._mean)
        forget_pages(vectors)
        self._codes = torch.zeros((blocks * _BLOCK, size), dtype=torch.int8)
        self._scale, self._loss, self._size = np.empty((3, blocks), np.float32)
        for block in range(blocks):
            if block % _FORGET == 0:
                forget_pages(vectors)
            part = slice(block * _BLOCK, min((block + 1) * _BLOCK, rows))
            rest = torch.from_numpy(np.array(vectors[part], np.float32)) - mean
            scale = max(float(rest.abs().max()) / _BYTE, 1e-30)
            codes = (rest / scale).round_()
            self._codes[part] = codes.to(torch.int8)
            self._scale[block] = scale
            codes *= scale
            self._size[block] = float(codes.norm(dim=1).max())
            self._loss[block] = float((rest - codes).norm(dim=1).max())
        single_torch_thread_in_children(self)

    def multiply(self, queries: Floats, vectors: Floats) -> Floats:
        """As `_Plain.multiply`, on PyTorch's threads: NumPy's would contend with them."""
        import torch

        products: Floats = (torch.from_numpy(queries) @ torch.from_numpy(vectors).T).numpy()
        return products

    def survivors(
        self, queries: Floats, floor: Floats, start: int, stop: int
    ) -> tuple[Numbers, Numbers]:
        """As `_Plain.survivors`, for whole blocks.

        With `v = mean + r`: `q·v = q·mean + q'·r' + q·(r - r') + (q - q')·r'`, where `q'`
        and `r'` are quantised; the last two are at most `|q| loss` and `|q - q'| size`.
        """
        import torch

        count = len(queries)
        scale = np.maximum(np.abs(queries).max(axis=1), 1e-30) / _BYTE
        codes = np.rint(queries / scale[:, None])
        lost = np.linalg.norm(queries - codes * scale[:, None], axis=1)
        blocks = slice(start // _BLOCK, min(stop // _BLOCK, len(self._scale)))
        # 1e-6 and 1.0001 cover the float32 rounding of the bounds.
        error = 1e-6 + 1.0001 * (
            np.outer(self._loss[blocks], np.linalg.norm(queries, axis=1))
            + np.outer(self._size[blocks], lost)
        )
        unit = np.outer(self._scale[blocks], scale).astype(np.float64)
        least = np.floor((floor - queries.astype(np.float64) @ self._mean - error) / unit)
        least = np.clip(least, _INT32.min, _INT32.max).astype(np.int32)[:, None, :]
        bounds = torch.from_numpy(least)
        columns = torch.from_numpy(codes.astype(np.int8).T.copy())
        step = max(1, _PRODUCTS // (count * _BLOCK))
        cells = []
        for first in range(0, len(least), step):
            rows = slice(
                (blocks.start + first) * _BLOCK,
                (blocks.start + min(first + step, len(least))) * _BLOCK,
            )
            products = torch._int_mm(self._codes[rows], columns).view(-1, _BLOCK, count)
            kept = products >= bounds[first : first + step]
            cells.append(np.flatnonzero(kept.numpy()) + rows.start * count)
        query, row = _query_and_row(cells, count)
        inside = row < self._rows
        return query[inside], row[inside]


def _query_and_row(cells: list[Numbers], queries: int) -> tuple[Numbers, Numbers]:
    row, query = np.divmod(np.concatenate(cells), queries)
    return query, row
