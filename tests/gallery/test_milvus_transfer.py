"""What a search and a person's look-up transfer from Milvus, and how filters are escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.memory import MemoryGallery
from facerec.gallery.milvus import reading
from tests.conftest import make_batch, make_card

pytest.importorskip("milvus_lite")

PEOPLE, EACH, SIZE = 200, 4, 8
AWKWARD = ("plain", 'a"b', "back\\slash", "it's", "Zoë 名", "{x}", "%", "a' or id > 0 or '", "$in")


class Counted:
    """A client that counts the rows that it returns."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.rows = self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, *arguments: Any, **options: Any) -> Any:
        found = self._client.query(*arguments, **options)
        self.rows, self.calls = self.rows + len(found), self.calls + 1
        return found

    def search(self, *arguments: Any, **options: Any) -> Any:
        found = self._client.search(*arguments, **options)
        self.rows, self.calls = self.rows + sum(map(len, found)), self.calls + 1
        return found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    address = f"milvus+lite://{tmp_path_factory.mktemp('milvus')}/g.db"
    with changing(address, create=make_card(SIZE)) as gallery:
        gallery.append(entries())
    return address


def entries() -> Any:
    vectors = np.random.default_rng(0).normal(size=(PEOPLE * EACH, SIZE)).astype(np.float32)
    people = [f"p{row // EACH}" for row in range(PEOPLE * EACH)]
    meta = [{"team": AWKWARD[row % len(AWKWARD)]} for row in range(PEOPLE * EACH)]
    return make_batch(vectors, people, meta)


def counted(address: str) -> tuple[Any, Counted]:
    store = open_gallery(address)
    client = Counted(store._client)
    store._client = client
    return store, client


def queries(count: int = 3) -> np.ndarray:
    return entries().embeddings[:count]


@pytest.mark.parametrize("match", ["template", "exemplar"])
@pytest.mark.parametrize("team", AWKWARD)
def test_a_filter_of_any_text_finds_what_memory_finds(address: str, team: str, match: Any) -> None:
    memory = MemoryGallery(make_card(SIZE))
    memory.append(entries())
    options = {"match": match, "where": {"team": team}}
    found = open_gallery(address).search(queries(), 3, **options)
    wanted = memory.search(queries(), 3, **options)
    assert [[hit.name for hit in hits] for hits in found] == [
        [hit.name for hit in hits] for hits in wanted
    ]
    for hits, others in zip(found, wanted, strict=True):
        expected = [hit.similarity for hit in others]
        assert [hit.similarity for hit in hits] == pytest.approx(expected, abs=1e-6)


def test_a_filtered_search_by_entries_transfers_candidates_alone(address: str) -> None:
    store, client = counted(address)
    store.search(queries(1), 1, match="exemplar", where={"team": "plain"})
    assert client.rows < PEOPLE * EACH / len(AWKWARD) + 64


def test_filtered_means_are_read_once(address: str) -> None:
    store, client = counted(address)
    for _ in range(5):
        store.search(queries(1), 1, where={"team": "plain"})
    assert client.rows == pytest.approx(PEOPLE * EACH / len(AWKWARD), abs=1)


def test_a_person_is_one_look_up_of_their_rows(address: str, monkeypatch) -> None:
    monkeypatch.setattr(reading, "_MOST_ROWS", 64)
    store, client = counted(address)
    assert len(store.person("p7")) == EACH
    assert (client.calls, client.rows) == (2, EACH + 1)


def test_people_with_awkward_names_are_found(tmp_path: Path) -> None:
    address = f"milvus+lite://{tmp_path}/g.db"
    names = [name for name in AWKWARD if "\\" not in name]
    with changing(address, create=make_card(SIZE)) as gallery:
        gallery.append(make_batch(np.eye(SIZE, dtype=np.float32)[: len(names)], names))
    store = open_gallery(address)
    assert [len(store.person(name)) for name in names] == [1] * len(names)
    found = store.search(np.eye(SIZE, dtype=np.float32)[: len(names)], 1, match="exemplar")
    assert [hits[0].name for hits in found] == names
