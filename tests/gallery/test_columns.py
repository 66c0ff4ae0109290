"""Texts as padded bytes, and finding one among millions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerec.gallery import entries
from facerec.gallery.entries import Growing, Lookup, as_bytes, as_texts

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(TEXTS))
def test_texts_come_back_from_padded_bytes(texts: list[str]) -> None:
    assert as_texts(as_bytes(texts)).tolist() == texts


@given(st.lists(TEXTS, unique=True, max_size=50), TEXTS)
def test_a_text_is_found_where_it_is_and_others_are_not(texts: list[str], other: str) -> None:
    lookup = Lookup(as_bytes(texts))
    assert [lookup.find(text) for text in texts] == list(range(len(texts)))
    if other not in texts:
        assert lookup.find(other) is None


def test_texts_of_one_hash_are_told_apart(monkeypatch) -> None:
    monkeypatch.setattr(entries, "_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    lookup = Lookup(as_bytes(["a", "b", "c"]))
    assert [lookup.find(text) for text in "abcd"] == [0, 1, 2, None]


def test_columns_that_grow_leave_earlier_views_as_they_were() -> None:
    column = Growing(np.arange(3))
    before = column.values
    for number in range(3, 100):
        column.extend(np.array([number]))
    assert column.values.tolist() == list(range(100))
    assert before.tolist() == [0, 1, 2]


def test_single_adds_copy_each_row_a_few_times_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = 0
    empty = np.empty

    def count(shape: object, *arguments: object, **options: object) -> np.ndarray:
        nonlocal copied
        room = empty(shape, *arguments, **options)
        copied += len(room) if room.ndim else 0
        return room

    column = Growing(np.arange(0))
    monkeypatch.setattr(np, "empty", count)
    for number in range(10_000):
        column.extend(np.array([number]))
    assert copied < 4 * 10_000
