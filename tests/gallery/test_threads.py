"""A gallery shared by threads: nobody gets another's face, and nothing is lost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery, Matcher
from facerec.profile.schema import RecognizeSection
from tests.conftest import make_batch, make_card, make_face

SIZE, FIXED, ADDED = 16, 20, 150
VECTORS = np.random.default_rng(0).normal(size=(FIXED + ADDED, SIZE)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def threads_that_take_turns_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery of `fixed0` and so on, each of the vector of that row."""
    gallery = Gallery(make_card(SIZE))
    gallery.append(make_batch(VECTORS[:FIXED], [f"fixed{row}" for row in range(FIXED)]))
    gallery.save(tmp_path / "g.h5")
    return tmp_path / "g.h5"


def add(gallery: Gallery, row: int) -> None:
    gallery.add(f"added{row}", [make_face(*VECTORS[FIXED + row])], f"{row}.jpg")


def while_reading(change: Callable[[], None], *reads: Callable[[], object]) -> None:
    """Make a change while a thread each reads over and over; what a thread raises is raised."""
    done = threading.Event()

    def repeat(read: Callable[[], object]) -> None:
        while not done.is_set():
            read()

    with ThreadPoolExecutor(len(reads)) as pool:
        reading = [pool.submit(repeat, read) for read in reads]
        try:
            change()
        finally:
            done.set()
        for one in reading:
            one.result()


def check(gallery: Gallery, rows: range) -> None:
    """Everybody's face is their own, in memory and as saved."""
    for row in rows:
        (vector,) = gallery.person(f"added{row}").embeddings
        np.testing.assert_allclose(vector, VECTORS[FIXED + row], atol=1e-6)
    for row in range(FIXED):
        (vector,) = gallery.person(f"fixed{row}").embeddings
        np.testing.assert_allclose(vector, VECTORS[row], atol=1e-6)
    assert sum(gallery.counts().values()) == len(gallery) == FIXED + len(rows)


def readers(gallery: Gallery) -> list[Callable[[], object]]:
    def search(match: str, row: int) -> None:
        ((hit,),) = gallery.search(VECTORS[row : row + 1], 1, match=match)  # type: ignore[arg-type]
        assert (hit.name, hit.similarity) == (f"fixed{row}", pytest.approx(1, abs=1e-5))

    return [
        lambda: search("template", 3),
        lambda: search("exemplar", 4),
        gallery.counts,
        lambda: [batch.person for batch in gallery.batches(7)],
    ]


def test_people_enrolled_while_others_search_keep_their_faces(path: Path) -> None:
    gallery = Gallery.open(path)

    def enrol() -> None:
        for row in range(ADDED):
            add(gallery, row)

    while_reading(enrol, *readers(gallery))
    check(gallery, range(ADDED))
    gallery.save(path)
    check(Gallery.open(path), range(ADDED))


def test_people_removed_while_others_search_are_gone_alone(path: Path) -> None:
    gallery = Gallery.open(path)

    def replace() -> None:
        for row in range(ADDED):
            add(gallery, row)
            if row >= 3:
                gallery.remove(f"added{row - 3}")

    while_reading(replace, *readers(gallery))
    check(gallery, range(ADDED - 3, ADDED))


def test_several_threads_enrol_at_once(path: Path) -> None:
    gallery = Gallery.open(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: add(gallery, row), range(ADDED)))
    check(gallery, range(ADDED))


def test_what_is_saved_while_others_enrol_and_search_is_whole(path: Path) -> None:
    gallery, other = Gallery.open(path), Gallery.open(path)

    def enrol_and_save() -> None:
        for row in range(12):
            add(gallery, row)
            gallery.commit()
            # So that the next commit makes the changes anew on what another has saved.
            other.add("fixed0", [make_face(*VECTORS[0])], "0.jpg", str(row))
            other.commit()
            assert len(Gallery.open(path)) == FIXED + row + 1

    while_reading(enrol_and_save, *readers(gallery))
    check(Gallery.open(path), range(12))


def test_a_walk_through_a_gallery_sees_it_as_it_was_at_the_beginning(path: Path) -> None:
    gallery = Gallery.open(path)
    people = [name for batch in gallery.batches(3) for name in batch.person]
    walk, photos = gallery.batches(3), gallery.photos()
    gallery.remove("fixed7")
    gallery.merge("fixed8", "fixed9")
    add(gallery, 0)
    assert [name for batch in walk for name in batch.person] == people
    assert [person for person, _, _ in photos] == people


def test_a_matcher_shared_by_threads_decides_while_its_gallery_grows(path: Path) -> None:
    gallery = Gallery.open(path)
    matcher = Matcher(gallery, RecognizeSection(), gallery.card)

    def match() -> None:
        (found,) = matcher.match(VECTORS[:1])
        assert found.name == "fixed0"

    def enrol() -> None:
        for row in range(ADDED):
            add(gallery, row)

    while_reading(enrol, match, match, match)
    check(gallery, range(ADDED))
