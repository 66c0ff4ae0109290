"""Changing a gallery in Milvus.

Milvus has no transactions. Readers ignore entries whose id is not below the `next` of the state
row, which is written last: enrolment is atomic. A writer that is killed while it moves or removes
entries leaves some of them done: the state row says `unfinished`, and the next writer recomputes
the mean vectors.

A server has no lock. The state row names the writer at work, so that a second one is refused; of
two that begin within one round trip of each other, one finds out, but perhaps after the harm.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Face, Floats
from facerec.gallery.base import Batch, Where
from facerec.gallery.checks import batch_of_faces, check_batch, source_text
from facerec.gallery.entries import mean_vectors
from facerec.gallery.milvus.client import explained, parse_address
from facerec.gallery.milvus.reading import IDS, NAMES, MilvusReader
from facerec.gallery.milvus.schema import (
    ENTRY_FIELDS,
    VERSION,
    Row,
    create_collections,
    escape_text,
    literal,
    pack_face,
    read_state,
)
from facerec.gallery.people import check_name, check_new_name, renamed, stored_name, unknown_person
from facerec.parallel.ahead import chunks


@dataclass
class _Person:
    """A person's entries: hash and source of each, by id."""

    entries: dict[int, tuple[str, str]] = field(default_factory=dict)

    def holds(self, sha256: str) -> bool:
        # Copied first: decoding threads call this while entries are added.
        return any(known == sha256 for known, _ in list(self.entries.values()))

    def of_source(self, source: str) -> list[int]:
        return [number for number, (_, known) in self.entries.items() if known == source]


class MilvusGallery(MilvusReader):
    """A `GalleryStore`. `search` and `batches` do not see changes before they are committed.

    Args:
        address: for messages.
        client: a `MilvusClient`.
        card: the model that made the vectors.
        state: the state row; None for a gallery that does not exist yet.
        replaced: the state row of the gallery that a new one replaces.
    """

    def __init__(
        self, address: str, client: Any, card: ModelCard, state: Row | None,
        replaced: Row | None = None,
    ) -> None:  # fmt: skip
        super().__init__(address, client, card, 0 if state is None else state["next"])
        # Milvus Lite scans rows one by one until they are flushed as a segment; a server flushes
        # by itself.
        self._embedded = parse_address(address).path is not None
        self._unflushed = 0
        self._new = state is None
        self._following = self._next
        self._commits: int = 0 if state is None else state["commits"]
        self._unfinished: bool = False if state is None else state["unfinished"]
        self._writer = os.urandom(8).hex()
        self._known = _writing(state or replaced)
        self._added: dict[int, Row] = {}
        self._moved: dict[int, str] = {}
        self._gone: set[int] = set()
        self._touched: set[str] = set()
        self._new_card = False
        self._revision = object()
        self._loaded: dict[str, _Person] | None = {} if self._new else None
        self._loading = threading.Lock()

    @property
    def card(self) -> ModelCard:
        """The model that made the vectors."""
        return self._card

    @card.setter
    def card(self, card: ModelCard) -> None:
        self._card, self._new_card, self._revision = card, True, object()

    def counts(self, where: Where | None = None) -> dict[str, int]:
        """See `GalleryStore.counts`."""
        if where or self._loaded is None:
            return super().counts(where)
        people = [(name, list(one.entries)) for name, one in self._loaded.items()]
        return {name: len(ids) for name, ids in sorted(people, key=lambda item: min(item[1]))}

    @property
    def revision(self) -> object:
        """See `GalleryStore.revision`."""
        return self._revision

    def called(self, name: str) -> str | None:
        """See `GalleryStore.called`."""
        if self._loaded is None:
            return super().called(name)
        stored = stored_name(name, self._loaded)
        return stored if stored in self._loaded else None

    def holds(self, person: str, sha256: str) -> bool:
        """See `GalleryStore.holds`."""
        person = stored_name(person, self._people)
        return person in self._people and self._people[person].holds(sha256)

    def photos(self) -> Iterator[tuple[str, str, str]]:
        """See `GalleryStore.photos`."""
        for person, one in list(self._people.items()):
            for sha256, source in list(one.entries.values()):
                yield person, source, sha256

    def has_source(self, person: str, source: str | Path) -> bool:
        """See `GalleryStore.has_source`."""
        person = stored_name(person, self._people)
        return person in self._people and bool(
            self._people[person].of_source(_stored_source(source))
        )

    def add(
        self,
        person: str,
        faces: Sequence[Face],
        source: str | Path,
        sha256: str = "",
        meta: Where | None = None,
    ) -> None:
        """See `GalleryStore.add`."""
        person = stored_name(person, self._people)
        if person not in self._people:
            check_new_name(person)
        size = self._card.embedding_size
        batch = batch_of_faces(person, faces, source, sha256, meta, size)
        if self.has_source(person, source):
            self._drop(person, self._people[person].of_source(_stored_source(source)))
        self._append_all(batch)

    def append(self, batch: Batch) -> None:
        """See `GalleryStore.append`."""
        for name in set(batch.person):
            check_name(name)
        check_batch(batch, self._card.embedding_size)
        self._append_all(batch)

    def _append_all(self, batch: Batch) -> None:
        for row in range(len(batch)):
            texts = (batch.person[row], batch.source[row], batch.sha256[row], batch.meta[row])
            numbers = (batch.box[row], batch.landmarks[row], batch.score[row], batch.quality[row])
            self._append(*texts, *numbers, batch.embeddings[row])

    def rename(self, old: str, new: str) -> None:
        """See `GalleryStore.rename`."""
        new = renamed(old, new, self._people)
        check_new_name(new)
        old = self._require(old)
        if new in self._people:
            raise UsageError(f"{new} is in the gallery already; to join them, merge {old} into it")
        self._move(old, new)

    def merge(self, source: str, target: str) -> None:
        """See `GalleryStore.merge`."""
        source, target = self._require(source), self._require(target)
        if source == target:
            raise UsageError(f"{source} cannot be merged into itself")
        self._move(source, target)

    def remove(self, person: str) -> int:
        """See `GalleryStore.remove`."""
        person = self._require(person)
        return self._drop(person, list(self._people[person].entries))

    def remove_source(self, person: str, source: str | Path) -> int:
        """See `GalleryStore.remove_source`."""
        person = self._require(person)
        return self._drop(person, self._people[person].of_source(_stored_source(source)))

    def commit(self) -> None:
        """See `GalleryStore.commit`."""
        if not (self._new or self._touched or self._new_card):
            return
        with explained(self._address):
            self._refuse_another_writer()
            if self._new:
                create_collections(self._client, self._name, self._card.embedding_size)
            elif self._touched:
                # Removes uncommitted entries of a killed writer as well.
                self._write_state(unfinished=True)
                self._require_alone()
                self._client.delete(self._name, filter=f"id >= {self._next}")
            for rows in chunks(self._added.values(), IDS):
                self._client.insert(self._name, rows)
            self._unflushed += len(self._added)
            flush = self._embedded and self._unflushed >= IDS
            if flush:
                self._client.flush(self._name)
            for ids in chunks(sorted(self._moved), IDS):
                rows = self._client.query(
                    self._name, filter=f"id in {ids}", output_fields=ENTRY_FIELDS
                )
                moved = [{**row, "person": self._moved[row["id"]]} for row in rows]
                self._client.upsert(self._name, moved)
            for ids in chunks(sorted(self._gone), IDS):
                self._client.delete(self._name, filter=f"id in {ids}")
            self._next = self._following
            if self._unfinished:
                self._touched = {
                    row["person"] for row in self._all_rows(f"{self._name}_people", ["person"])
                }
                self._touched |= set(self._people)
            self._write_people()
            if flush:
                self._client.flush(f"{self._name}_people")
                self._unflushed = 0
            if self._known[2]:
                self._require_alone()
            self._commits += 1
            self._write_state(unfinished=False)
        self._means_of.clear()
        self._revision = object()
        self._new = self._unfinished = self._new_card = False
        self._added, self._moved, self._gone, self._touched = {}, {}, set(), set()

    def _refuse_another_writer(self) -> None:
        """Refuse to write over what another has committed since this was opened, or writes now."""
        now = _writing(read_state(self._client, self._name))
        if now == self._known:
            return
        if now[:2] == self._known[:2]:
            raise UsageError(f"{self._address}: another facerec is writing it; try again later")
        raise UsageError(
            f"{self._address}: was changed by another since it was opened; open it again"
        )

    def _require_alone(self) -> None:
        """Check that nobody else began to write when this did."""
        if _writing(read_state(self._client, self._name)) != self._known:
            raise UsageError(
                f"{self._address}: another facerec writes it at the same time; let one end, then "
                "run facerec gallery verify"
            )

    @property
    def _people(self) -> dict[str, _Person]:
        """All entries by person, including changes; read on the first change."""
        with self._loading:
            if self._loaded is None:
                people: dict[str, _Person] = {}
                for row in self._rows(["id", "person", "source", "sha256"]):
                    entries = people.setdefault(row["person"], _Person()).entries
                    entries[row["id"]] = row["sha256"], row["source"]
                self._loaded = people
            return self._loaded

    def _require(self, name: str) -> str:
        """The name as it is stored of whoever it calls."""
        person = stored_name(name, self._people)
        if person not in self._people:
            raise unknown_person(name, self._people)
        return person

    def _append(
        self,
        person: str,
        source: str,
        sha256: str,
        meta: Where,
        box: Floats,
        landmarks: Floats,
        score: float,
        quality: float,
        embedding: Floats | None,
    ) -> None:
        number = self._following
        self._following += 1
        self._added[number] = {
            "id": number,
            "person": person,
            "source": escape_text(source),
            "sha256": sha256,
            "meta": dict(meta),
            "face": pack_face(box, landmarks, score, quality),
            "embedding": embedding,
        }
        self._people.setdefault(person, _Person()).entries[number] = sha256, escape_text(source)
        self._touch(person)

    def _drop(self, person: str, ids: Iterable[int]) -> int:
        count = 0
        for number in ids:
            del self._people[person].entries[number]
            self._moved.pop(number, None)
            if self._added.pop(number, None) is None:
                self._gone.add(number)
            count += 1
        if not self._people[person].entries:
            del self._people[person]
        self._touch(person)
        return count

    def _move(self, old: str, new: str) -> None:
        entries = self._people.pop(old).entries
        for number in entries:
            if number in self._added:
                self._added[number]["person"] = new
            else:
                self._moved[number] = new
        joined = self._people.setdefault(new, _Person())
        joined.entries = dict(sorted({**joined.entries, **entries}.items()))
        self._touch(old, new)

    def _touch(self, *people: str) -> None:
        self._touched.update(people)
        self._revision = object()

    def _write_state(self, *, unfinished: bool) -> None:
        state = {
            "facerec_gallery": VERSION,
            "card": self._card.to_json(),
            "next": self._next,
            "commits": self._commits,
            "unfinished": unfinished,
            "writer": self._writer if unfinished else "",
        }
        row = {"id": 0, "state": json.dumps(state), "embedding": [1.0, 0.0]}
        self._client.upsert(f"{self._name}_state", [row])
        self._known = _writing(state)

    def _write_people(self) -> None:
        """Recompute the mean vectors of changed people."""
        for names in chunks(sorted(self._touched), NAMES):
            self._client.delete(f"{self._name}_people", filter=f"person in {literal(names)}")
            here = [name for name in names if name in self._people]
            number_of = {name: number for number, name in enumerate(here)}
            ids = sorted(number for name in here for number in self._people[name].entries)
            vectors, people = [], []
            for some in chunks(ids, IDS):
                rows = self._client.query(
                    self._name, filter=f"id in {some}", output_fields=["id", "person", "embedding"]
                )
                for row in sorted(rows, key=lambda row: row["id"]):
                    vectors.append(row["embedding"])
                    people.append(number_of[row["person"]])
            if not here:
                continue
            means = mean_vectors(np.array(vectors, np.float32), np.array(people), len(here))
            self._client.insert(
                f"{self._name}_people",
                [
                    {
                        "id": min(self._people[name].entries),
                        "person": name,
                        "faces": len(self._people[name].entries),
                        "embedding": means[number],
                    }
                    for name, number in number_of.items()
                ],
            )


def _stored_source(source: str | Path) -> str:
    return escape_text(source_text(source))


def _writing(state: Row | None) -> tuple[bool, int, str]:
    """Of a state row: whether there is a gallery, its commits, and who is writing the next."""
    return (False, 0, "") if state is None else (True, state["commits"], state.get("writer", ""))
