"""Exact search: the same as comparing everything, however it is done."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facerec.gallery.search import exact
from facerec.gallery.search.exact import Best, ExactSearch

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def bytes_unknown() -> None:
    """What is known of the processor's products of bytes is learnt anew."""
    exact.multiplies_bytes.cache_clear()


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def compare_everything(
    vectors: np.ndarray,
    queries: np.ndarray,
    top: int,
    groups: np.ndarray,
    least: float,
    allowed: np.ndarray,
) -> tuple[list[list[int]], list[list[float]]]:
    """Groups by their most similar row, then by number."""
    rows = vectors.astype(np.float64)
    products = [
        np.einsum("nd,nd->n", rows, np.broadcast_to(query, rows.shape)).astype(np.float32)
        for query in queries.astype(np.float64)
    ]
    found, similarities = [], []
    for row in products:
        best: dict[int, float] = {}
        for place in np.flatnonzero(allowed & (row >= least)).tolist():
            group = int(groups[place])
            best[group] = max(best.get(group, -2.0), float(row[place]))
        order = sorted(best, key=lambda group: (-best[group], group))[:top]
        found.append(order)
        similarities.append([best[group] for group in order])
    return found, similarities


def search(
    searcher: ExactSearch,
    queries: np.ndarray,
    top: int,
    groups: np.ndarray,
    least: float,
    allowed: np.ndarray | None,
) -> tuple[list[list[int]], list[list[float]]]:
    best = Best.of_none(len(queries), top, least)
    searcher.search(queries, best, groups, allowed)
    held = best.group >= 0
    return (
        [row[kept].tolist() for row, kept in zip(best.group, held, strict=True)],
        [row[kept].tolist() for row, kept in zip(best.similarity, held, strict=True)],
    )


SMALL = {"_BLOCK": 16, "_SEED": 32, "_SEED_OF_ONE": 8, "_PRODUCTS": 64, "_PAIRS": 50, "_APART": 16}


@pytest.mark.parametrize("low_precision", [False, True])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_blocks_and_bytes_find_what_comparing_everything_finds(
    low_precision: bool, data: st.DataObject
) -> None:
    dice = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, size = data.draw(st.integers(1, 300)), data.draw(st.sampled_from([1, 2, 7, 128]))
    spread = data.draw(st.sampled_from([1e-4, 0.1, 1.0]))
    # Near a common direction, as the vectors of some networks are, and with exact copies.
    vectors = unit(dice.normal(size=size) + spread * dice.normal(size=(rows, size)))
    vectors[dice.integers(0, rows, rows // 4)] = vectors[dice.integers(0, rows)]
    queries = np.concatenate((unit(dice.normal(size=(3, size))), vectors[:3]))
    # Few queries are multiplied otherwise than many.
    queries = queries[-data.draw(st.integers(1, len(queries))) :]
    groups = dice.integers(0, data.draw(st.integers(1, rows)), rows)
    allowed = dice.random(rows) < data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    top, least = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([-np.inf, 0.0, 0.5]))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(exact, name, value)
        # Also where they would be slower.
        patch.setattr(exact, "multiplies_bytes", exact.sums_bytes_exactly)
        patch.setattr(exact, "_QUANTISE_FROM", 0 if low_precision else 10**9)
        patch.setattr(exact, "_QUANTISE_AFTER", 0)
        found, similarities = search(ExactSearch(vectors), queries, top, groups, least, allowed)
    expected = compare_everything(vectors, queries, top, groups, least, allowed)
    assert (found, similarities) == expected


def test_of_equal_vectors_the_lowest_groups_come_in_order() -> None:
    vectors = np.repeat(unit(np.ones((1, 8))), 50, axis=0)
    groups = np.arange(50)[::-1].copy()
    found, _ = search(ExactSearch(vectors), vectors[:1], 5, groups, -np.inf, None)
    assert found == [[0, 1, 2, 3, 4]]


def test_a_search_in_bytes_agrees_with_one_in_float32_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "bytes_are_faster", lambda size: True)
    dice = np.random.default_rng(0)
    vectors = unit(0.8 + dice.normal(size=(30_000, 64)))
    groups = np.arange(30_000) // 3
    queries = unit(vectors[:70] + 0.3 * dice.normal(size=(70, 64)))
    plain = ExactSearch(vectors)
    plain.search(queries[:1], Best.of_none(1, 1, -1), groups)
    first = [
        search(ExactSearch(vectors), queries[i : i + 1], 9, groups, -1, None) for i in range(70)
    ]
    together = search(plain, queries, 9, groups, -1, None)
    assert (plain._quantised is not None) == exact.sums_bytes_exactly(64)
    assert together == ([one[0][0] for one in first], [one[1][0] for one in first])


def add_in_16_bits(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """`torch._int_mm` as oneDNN computes it without VNNI."""
    pairs = (rows.int() + 128)[:, :, None] * columns.int()
    pairs = torch.nn.functional.pad(pairs, (0, 0, 0, pairs.shape[1] % 2))
    sums = (pairs[:, ::2] + pairs[:, 1::2]).clamp(-(2**15), 2**15 - 1).sum(1)
    return (sums - 128 * columns.int().sum(0)).int()


def test_where_sums_of_bytes_overflow_floats_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(0)
    vectors = unit(0.8 + dice.normal(size=(300, 64)))
    queries = unit(vectors[:6] + 0.3 * dice.normal(size=(6, 64)))
    expected = search(ExactSearch(vectors), queries, 9, np.arange(300), -1, None)
    for name, value in {**SMALL, "_QUANTISE_FROM": 0, "_QUANTISE_AFTER": 0}.items():
        monkeypatch.setattr(exact, name, value)
    monkeypatch.setattr(torch, "_int_mm", add_in_16_bits)
    monkeypatch.setattr(exact, "bytes_are_faster", lambda size: True)
    searcher = ExactSearch(vectors)
    assert search(searcher, queries, 9, np.arange(300), -1, None) == expected
    assert searcher._quantised is None


def test_bytes_multiplied_slower_than_floats_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # As PyTorch does on processors without VNNI: rightly, twenty times slower than in float32.
    monkeypatch.setattr(
        torch, "_int_mm", lambda rows, columns: (rows.long() @ columns.long()).int()
    )
    assert exact.sums_bytes_exactly(512)
    assert not exact.multiplies_bytes(512)


@pytest.mark.slow
def test_a_search_with_a_copy_in_bytes_is_not_slower_than_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Timed, as an exception: without VNNI this search took twenty times as long."""
    dice = np.random.default_rng(0)
    vectors, queries = (unit(dice.normal(size=(rows, 512))) for rows in (100_000, 65))
    groups = np.arange(len(vectors))

    def asked_before() -> ExactSearch:
        searcher = ExactSearch(vectors)
        search(searcher, queries, 10, groups, -1, None)
        return searcher

    as_it_is = asked_before()
    monkeypatch.setattr(exact, "multiplies_bytes", lambda size: False)
    in_floats = asked_before()
    for count in (1, 64):
        took: dict[ExactSearch, list[float]] = {as_it_is: [], in_floats: []}
        for _ in range(9):
            for searcher, times in took.items():
                began = time.perf_counter()
                search(searcher, queries[:count], 10, groups, -1, None)
                times.append(time.perf_counter() - began)
        assert min(took[as_it_is]) < 1.5 * min(took[in_floats])
