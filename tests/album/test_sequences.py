"""Random sequences of scan, group, decide, move, edit, delete, migrate, forget and undo: nothing
corrected comes undone, no id changes or comes again, no face is there twice."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from facerec.album.decisions import (
    confirm_faces,
    merge_people,
    name_person,
    read_decisions,
    reject_faces,
    split_faces,
    tell_apart,
)
from facerec.album.faces import assign_faces
from facerec.album.forget import forget_person
from facerec.album.journal import step, undo_step
from facerec.album.migrate import migrate
from facerec.album.people import add_person, find_person
from facerec.album.photos import find_photo
from facerec.album.records import lasting_id
from facerec.album.regroup import regroup
from facerec.album.store import open_album
from facerec.errors import UsageError
from facerec.faces import Face, Floats, Frame, Image
from tests.album.faking import SIZE, FakeEngine, scan, vector_of, write_photo
from tests.conftest import make_card

ANY = st.integers(0, 40)
NAMES = st.sampled_from(["Ann", "Ben", "Zoë", "李", "Ann B."])
People = dict[int, tuple[str | None, int | None]]
Faces = dict[int, tuple[int | None, str]]


class Model(FakeEngine):
    """An engine of one of two models."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.card = make_card(SIZE, sha256=f"{number}" * 64)
        self._number = number

    def faces(
        self, frames: Iterable[Frame], *, expected: int | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        for frame, faces in super().faces(frames):
            yield frame, [replace(face, embedding=self._embed(frame.image, face)) for face in faces]

    def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
        return np.stack([self._embed(image, face) for image, face in found])

    def _embed(self, image: Image | None, face: Face) -> Floats:
        assert image is not None
        return vector_of(int(image[0, int(face.landmarks[0, 0]), 0]) + 1000 * self._number)


class Library(RuleBasedStateMachine):
    """A library of photos, and what its user does.

    A photo's file begins with its number, which is drawn into its pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "photos"
        self.album = open_album(self.home / "album.db", create=True)
        self.drawn: list[list[int]] = []
        self.face_ids: dict[tuple[str, float], int] = {}
        self.people_ids: set[int] = set()
        self.engine = Model(0)
        self.steps: list[tuple[People, Any, Faces]] = []

    def teardown(self) -> None:
        self.album.close()
        shutil.rmtree(self.home)

    # Photos

    @rule(people=st.lists(st.integers(1, 6), max_size=4))
    def add_photo(self, people: list[int]) -> None:
        number = len(self.drawn)
        self.drawn.append(people)
        write_photo(self.folder / f"{number}.png", people, number)

    @precondition(lambda self: self.drawn)
    @rule(which=ANY, where=st.sampled_from(["", "a", "ä b", "c/d"]), copy=st.booleans())
    def move(self, which: int, where: str, copy: bool) -> None:
        file = self._file(which)
        target = self.folder / where / f"{file.stem.partition('_')[0]}_{which}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        if file != target:
            (shutil.copy if copy else shutil.move)(file, target)

    @precondition(lambda self: self.drawn)
    @rule(which=ANY, comment=st.sampled_from("xyz"))
    def write_metadata(self, which: int, comment: str) -> None:
        told = PngInfo()
        told.add_text("Comment", comment)
        with Pillow.open(self._file(which)) as opened:
            opened.load()
        opened.save(self._file(which), pnginfo=told)

    @precondition(lambda self: len(self._files()) > 1)
    @rule(which=ANY)
    def delete(self, which: int) -> None:
        self._file(which).unlink()

    @precondition(lambda self: self.drawn)
    @rule()
    def scan(self) -> None:
        people, decisions, faces = self._state()
        assert scan(self.album, self.folder, engine=self.engine).failed == {}
        assert self._state(faces) == (people, decisions, faces)
        for file in self._files():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            photo = find_photo(self.album, content)
            found = self.album.row(
                "SELECT (SELECT count(*) FROM faces WHERE photo = photos.id)"
                " + (SELECT count(*) FROM erased WHERE erased.content = photos.content)"
                " FROM photos JOIN places ON photo = photos.id WHERE photos.id = ? AND path = ?",
                (photo, str(file)),
            )
            assert found == (len(self.drawn[int(file.stem.partition("_")[0])]),)

    @precondition(lambda self: self._faces())
    @rule(number=st.integers(0, 1))
    def migrate(self, number: int) -> None:
        """To the other model; faces whose photos are not there keep the album at its own."""
        before, engine = self._state(), Model(number)
        assert migrate(self.album, engine, 10**6).failed == {}  # type: ignore[arg-type]
        assert self._state() == before
        if self.album.meta("model") == engine.card.fingerprint():
            self.engine = engine

    # Groupings and decisions

    @precondition(lambda self: self._faces())
    @rule(answer=st.lists(st.integers(0, 3), min_size=1, max_size=8))
    def group(self, answer: list[int]) -> None:
        """Whatever a grouping may answer."""
        people, decisions, faces = self._state()
        with self._step(), step(self.album, "group"):
            made = [*self._living(), add_person(self.album)]
            chosen = [made[answer[n % len(answer)] % len(made)] for n in range(len(faces))]
            assign_faces(self.album, zip(faces, chosen, strict=True))
        assert self._state()[1] == decisions
        assert people.items() <= self._state()[0].items()

    @precondition(lambda self: self._faces())
    @rule(distance=st.sampled_from([0.1, 0.5, 0.9]))
    def regroup(self, distance: float) -> None:
        people, decisions, _ = self._state()
        with self._step():
            regroup(self.album, distance=distance)
        assert self._state()[1] == decisions
        assert people.items() <= self._state()[0].items()

    @precondition(lambda self: self._faces() and self._living())
    @rule(face=ANY, person=ANY)
    def confirm(self, face: int, person: int) -> None:
        face, person = self._face(face), self._person(person)
        with self._step():
            confirm_faces(self.album, [face], person)
        assert read_decisions(self.album).fixed[face] == person

    @precondition(lambda self: self._faces() and self._living())
    @rule(face=ANY, person=ANY)
    def reject(self, face: int, person: int) -> None:
        face, person = self._face(face), self._person(person)
        with self._step():
            reject_faces(self.album, [face], person)
        assert (face, person) in read_decisions(self.album).forbidden

    @precondition(lambda self: self._faces())
    @rule(faces=st.lists(ANY, min_size=1, max_size=3))
    def split(self, faces: list[int]) -> None:
        chosen = list(dict.fromkeys(map(self._face, faces)))
        with self._step():
            new = split_faces(self.album, chosen)
        assert all(read_decisions(self.album).fixed[face] == new for face in chosen)

    @precondition(lambda self: len(self._living()) > 1)
    @rule(one=ANY, into=ANY)
    def merge(self, one: int, into: int) -> None:
        one, into = self._person(one), self._person(into)
        if one != into:
            faces = {face for face, (person, _) in self._faces().items() if person == one}
            with self._step():
                merge_people(self.album, [one], into)
            assert find_person(self.album, lasting_id(one)) == into
            assert all(read_decisions(self.album).fixed[face] == into for face in faces)

    @precondition(lambda self: len(self._living()) > 1)
    @rule(one=ANY, other=ANY)
    def tell_apart(self, one: int, other: int) -> None:
        one, other = sorted((self._person(one), self._person(other)))
        if one != other:
            with self._step():
                tell_apart(self.album, one, other)
            assert (one, other) in read_decisions(self.album).different

    @precondition(lambda self: self._living())
    @rule(person=ANY, name=NAMES)
    def name(self, person: int, name: str) -> None:
        person = self._person(person)
        try:
            with self._step():
                name_person(self.album, person, name)
        except UsageError:
            assert find_person(self.album, name) != person
        else:
            assert find_person(self.album, name.upper()) == person

    @precondition(lambda self: self._living())
    @rule(person=ANY)
    def forget(self, person: int) -> None:
        person = self._person(person)
        gone = {face for face, (whose, _) in self._faces().items() if whose == person}
        assert forget_person(self.album, person) == (len(gone), True)
        assert gone.isdisjoint(self._faces())
        self.steps.clear()

    @precondition(lambda self: self.steps)
    @rule()
    def undo(self) -> None:
        before = self.steps.pop()
        assert undo_step(self.album) is not None
        # Photos that were scanned since have brought faces.
        assert self._state(before[2]) == before

    # What holds

    @invariant()
    def a_face_is_there_once_and_keeps_its_id(self) -> None:
        rows = self.album.rows(
            "SELECT faces.id, content, x1 FROM faces JOIN photos ON photos.id = photo"
        )
        for face, content, left in rows:
            assert self.face_ids.setdefault((content, left), face) == face

    @invariant()
    def an_id_of_a_person_is_never_used_again(self) -> None:
        new = set(self._people()) - self.people_ids
        assert min(new, default=1 << 62) > max(self.people_ids, default=0)
        self.people_ids |= new

    @invariant()
    def faces_are_as_decided(self) -> None:
        decisions, faces = read_decisions(self.album), self._faces()
        confirmed = {face: who for face, (who, state) in faces.items() if state == "confirmed"}
        assert confirmed == decisions.fixed
        assert all(faces[face][0] != person for face, person in decisions.forbidden)
        assert list(self.album.rows("PRAGMA foreign_key_check")) == []

    def _people(self) -> People:
        rows = self.album.rows("SELECT id, name, merged FROM people")
        return {person: (name, merged) for person, name, merged in rows}

    def _faces(self) -> Faces:
        rows = self.album.rows("SELECT id, person, state FROM faces ORDER BY id")
        return {face: (person, state) for face, person, state in rows}

    def _state(self, among: Faces | None = None) -> tuple[People, Any, Faces]:
        """People, decisions and faces; of faces only these."""
        rows = self.album.rows("SELECT kind, face, person, other FROM decisions")
        faces = self._faces()
        known = faces if among is None else among
        decisions = {row for row in rows if row[1] is None or row[1] in known}
        return self._people(), decisions, {face: faces[face] for face in known}

    def _step(self) -> Any:
        return _Remembered(self)

    def _living(self) -> list[int]:
        return [person for person, (_, merged) in self._people().items() if merged is None]

    def _person(self, which: int) -> int:
        living = self._living()
        return living[which % len(living)]

    def _face(self, which: int) -> int:
        faces = list(self._faces())
        return faces[which % len(faces)]

    def _files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.png"))

    def _file(self, which: int) -> Path:
        files = self._files()
        return files[which % len(files)]


class _Remembered:
    """Remembers the state before a step that changes something, for `undo`."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def __enter__(self) -> None:
        self._before = self._library._state()

    def __exit__(self, kind: object, *_: object) -> None:
        if self._library._state() != self._before:
            self._library.steps.append(self._before)


def _run(examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Library, settings=chosen)


def test_nothing_corrected_comes_undone() -> None:
    _run(10, 25)


@pytest.mark.slow
def test_nothing_corrected_comes_undone_in_long_sequences() -> None:
    _run(300, 60)
