"""Reading and searching a gallery in Milvus: its committed entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.faces import Floats
from facerec.gallery.base import Batch, Hit, MatchBy, Where
from facerec.gallery.checks import check_meta, check_search
from facerec.gallery.entries import format_meta
from facerec.gallery.memory import MemoryGallery
from facerec.gallery.milvus.client import explained, parse_address
from facerec.gallery.milvus.schema import (
    ENTRY_FIELDS,
    Row,
    batch_of,
    conditions_of,
    literal,
)
from facerec.gallery.people import spellings, stored_name, unknown_person
from facerec.parallel.ahead import chunks

_MOST_ROWS = 16_384
"""Milvus returns no more rows at once."""
IDS, NAMES = 1000, 200
"""Most ids and names in one filter expression."""
_QUERIES = 64


class MilvusReader:
    """The committed entries of a gallery.

    Args:
        address: for messages.
        client: a `MilvusClient`.
        card: the model that made the vectors.
        next_id: the number of the next entry; those below it are committed.
    """

    def __init__(self, address: str, client: Any, card: ModelCard, next_id: int) -> None:
        self._address = address
        self._client = client
        self._name = parse_address(address).collection
        self._card = card
        self._next = next_id
        self._means_of: dict[str, MemoryGallery] = {}

    def __len__(self) -> int:
        """Number of entries."""
        return sum(self.counts().values())

    def counts(self, where: Where | None = None) -> dict[str, int]:
        """See `GalleryStore.counts`."""
        if where:
            counted: dict[str, int] = {}
            for row in self._rows(["person"], conditions_of(where)):
                counted[row["person"]] = counted.get(row["person"], 0) + 1
            return counted
        rows = self._all_rows(f"{self._name}_people", ["id", "person", "faces"])
        return {row["person"]: row["faces"] for row in sorted(rows, key=lambda row: row["id"])}

    def sizes(self, where: Where | None = None) -> dict[int, int]:
        """See `GalleryStore.sizes`."""
        return dict(Counter(self.counts(where).values()))

    def batches(self, size: int = 4096, where: Where | None = None) -> Iterator[Batch]:
        """See `GalleryStore.batches`."""
        rows = self._rows(ENTRY_FIELDS, conditions_of(where or {}))
        return (batch_of(chunk, self._card.embedding_size) for chunk in chunks(rows, size))

    def means(self) -> Floats:
        """`(P, D) float32`: each person's stored mean vector, in the order of `counts`."""
        with explained(self._address):
            rows = self._all_rows(f"{self._name}_people", ["id", "embedding"])
        vectors = [row["embedding"] for row in sorted(rows, key=lambda row: row["id"])]
        return np.array(vectors, np.float32).reshape(-1, self._card.embedding_size)

    def called(self, name: str) -> str | None:
        """See `GalleryStore.called`."""
        with explained(self._address):
            return next(iter(self._faces_of(name)), None)

    def person(self, name: str, where: Where | None = None) -> Batch:
        """See `GalleryStore.person`."""
        with explained(self._address):
            found = self._faces_of(name)
            if not found:
                raise unknown_person(name, self.counts())
            stored, faces = next(iter(found.items()))
            conditions = f" and person == {literal(stored)}{conditions_of(where or {})}"
            if faces > _MOST_ROWS:
                rows = list(self._rows(ENTRY_FIELDS, conditions))
            else:
                rows = self._client.query(
                    self._name, filter=f"id < {self._next}{conditions}", output_fields=ENTRY_FIELDS
                )
        rows = sorted(rows, key=lambda row: row["id"])
        return batch_of(rows, self._card.embedding_size)

    def search(
        self,
        queries: Floats,
        top: int,
        *,
        match: MatchBy = "template",
        least: float = -1.0,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """See `GalleryStore.search`: Milvus's candidates, reranked by the vectors themselves."""
        queries = check_search(queries, self._card.embedding_size, top, match)
        where = check_meta(where, "where")
        if where and match == "template":
            return self._matching_means(where).search(queries, top, least=least)
        conditions = conditions_of(where)
        found: list[list[Hit]] = []
        for chunk in chunks(queries, _QUERIES):
            asked = np.array(chunk, np.float32)
            nearest = self._nearest(asked, top, match, conditions)
            for query, rows in zip(asked, nearest, strict=True):
                found.append(_rank(query, rows, top, least))
        return found

    def _matching_means(self, where: Where) -> MemoryGallery:
        """People's means over the entries that match, an entry each; read once.

        Milvus stores the means of all of a person's entries only.
        """
        key = format_meta(where)
        if key not in self._means_of:
            sums: dict[str, NDArray[np.float64]] = {}
            for row in self._rows(["person", "embedding"], conditions_of(where)):
                vector = np.array(row["embedding"], np.float64)
                sums[row["person"]] = sums.get(row["person"], 0) + vector
            self._means_of[key] = _gallery_of_means(self._card, sums)
        return self._means_of[key]

    def _nearest(
        self, queries: Floats, top: int, match: MatchBy, conditions: str
    ) -> list[list[Row]]:
        """Candidate rows of each query: `person`, `embedding`, and as `first` the id of the
        person's first entry."""
        template = match == "template"
        collection = f"{self._name}_people" if template else self._name
        wanted = min(top + 8 if template else max(4 * top, 64), _MOST_ROWS)
        while True:
            with explained(self._address):
                found = self._client.search(
                    collection,
                    data=queries,
                    anns_field="embedding",
                    limit=wanted,
                    filter="" if template else f"id < {self._next}{conditions}",
                    output_fields=["id", "person", "embedding"],
                )
            hits = [[hit["entity"] for hit in one] for one in found]
            enough = all(
                len(one) < wanted or len({row["person"] for row in one}) > top for one in hits
            )
            if template or enough or wanted == _MOST_ROWS:
                break
            wanted = min(4 * wanted, _MOST_ROWS)
        first: dict[str, int] = {}
        if not template:
            names = sorted({row["person"] for one in hits for row in one})
            for some in chunks(names, NAMES):
                with explained(self._address):
                    people = self._client.query(
                        f"{self._name}_people",
                        filter=f"person in {literal(some)}",
                        output_fields=["id", "person"],
                    )
                first |= {row["person"]: row["id"] for row in people}
        return [
            [{**row, "first": row["id"] if template else first[row["person"]]} for row in one]
            for one in hits
        ]

    def _faces_of(self, name: str) -> dict[str, int]:
        """Of whoever a name calls, the name as it is stored and the number of entries."""
        people = self._client.query(
            f"{self._name}_people",
            filter=f"person in {literal(list(spellings(name)))}",
            output_fields=["person", "faces"],
        )
        faces = {row["person"]: row["faces"] for row in people}
        stored = stored_name(name, faces)
        return {stored: faces[stored]} if stored in faces else {}

    def _rows(self, fields: Sequence[str], conditions: str = "") -> Iterator[Row]:
        """The committed entries that pass a filter, in order."""
        for start in range(0, self._next, _MOST_ROWS // 4):
            end = min(start + _MOST_ROWS // 4, self._next)
            with explained(self._address):
                rows = self._client.query(
                    self._name,
                    filter=f"id >= {start} and id < {end}{conditions}",
                    output_fields=list(dict.fromkeys(["id", *fields])),
                )
            yield from sorted(rows, key=lambda row: row["id"])

    def _all_rows(self, collection: str, fields: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, self._next, _MOST_ROWS):
            rows += self._client.query(
                collection,
                filter=f"id >= {start} and id < {start + _MOST_ROWS}",
                output_fields=list(fields),
            )
        return rows


def _gallery_of_means(card: ModelCard, sums: Mapping[str, NDArray[np.float64]]) -> MemoryGallery:
    """A gallery with one entry a person: the sum of the person's vectors, at unit length."""
    gallery, count = MemoryGallery(card), len(sums)
    if count:
        joined = np.array(list(sums.values()))
        means = (joined / np.linalg.norm(joined, axis=1, keepdims=True)).astype(np.float32)
        box = np.zeros((count, 4), np.float32)
        landmarks, zeros = np.zeros((count, 5, 2), np.float32), np.zeros(count, np.float32)
        texts, places = [""] * count, (box, landmarks, zeros, zeros)
        gallery.append(Batch(list(sums), texts, texts, [{}] * count, means, *places))
    return gallery


def _rank(query: Floats, rows: Sequence[Row], top: int, least: float) -> list[Hit]:
    """Rerank candidate rows by their vectors."""
    if not rows:
        return []
    vectors = np.array([row["embedding"] for row in rows], np.float32)
    best: dict[str, tuple[float, int]] = {}
    for row, cosine in zip(rows, np.clip(vectors @ query, -1, 1).tolist(), strict=True):
        known = best.get(row["person"])
        if known is None or cosine > known[0]:
            best[row["person"]] = cosine, row["first"]
    order = sorted(best.items(), key=lambda item: (-item[1][0], item[1][1]))
    return [Hit(name, cosine) for name, (cosine, _) in order[:top] if cosine >= least]
