"""What every registered gallery backend does alike; a new one needs an entry in `ADDRESSES`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facerec.errors import IncompatibleError, MissingError, UsageError
from facerec.gallery import Gallery
from facerec.gallery.addresses import backend_of, changing, extend, open_gallery
from facerec.gallery.base import Batch, GalleryStore
from facerec.gallery.copying import in_memory
from facerec.gallery.files import backend as file
from facerec.registry import GALLERIES
from tests.conftest import make_batch, make_card, make_face

ADDRESSES: dict[str, Callable[[Path], str]] = {
    "file": lambda folder: str(folder / "people.h5"),
    "milvus+lite": lambda folder: f"milvus+lite://{folder}/people.db",
}
"""By backend, an address for a new gallery in a folder."""
SERVED = {"milvus"}
"""Backends that need a server: `MilvusBackend` is the one of `milvus+lite`."""
VARIANTS = {**ADDRESSES, "file with a journal": lambda folder: str(folder / "large.h5")}

RED, BLUE = {"team": "red"}, {"team": "blue", "shift": "night"}


@pytest.fixture(params=VARIANTS)
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ada with two photos of team red and one of blue, Zoë with two faces of one photo."""
    place = VARIANTS[request.param](tmp_path)
    if request.param == "file with a journal":
        monkeypatch.setattr(file, "_WHOLE", 0)
    with changing(place, create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "ada/1.jpg", "a1", RED)
        store.add("Ada", [make_face(0, 1, 0, 0)], "ada/2.jpg", "a2", RED)
        store.add("Zoë", [make_face(0, 0, 1, 0), make_face(0, 0, 1, 1)], "zoë/1.jpg", "z1")
        store.add("Ada", [make_face(0, 1, 0, 1)], "ada/3.jpg", "a3", BLUE)
    return place


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def whole(store: GalleryStore, **options: object) -> list[tuple]:
    return [
        (batch.person[row], batch.source[row], batch.sha256[row], dict(batch.meta[row]))
        for batch in store.batches(**options)  # type: ignore[arg-type]
        for row in range(len(batch))
    ]


def test_a_photo_without_a_face_is_refused_and_nothing_changes(address: str) -> None:
    with changing(address) as store:
        before = whole(store)
        with pytest.raises(ValueError, match="no face"):
            store.add("Ada", [], "ada/1.jpg")
        assert whole(store) == before


def test_entries_come_back_in_order_with_all_that_was_given(address: str) -> None:
    store = open_gallery(address)
    assert store.card == make_card().for_gallery()
    assert len(store) == 5
    assert whole(store, size=2) == [
        ("Ada", "ada/1.jpg", "a1", RED),
        ("Ada", "ada/2.jpg", "a2", RED),
        ("Zoë", "zoë/1.jpg", "z1", {}),
        ("Zoë", "zoë/1.jpg", "z1", {}),
        ("Ada", "ada/3.jpg", "a3", BLUE),
    ]
    first, *_ = store.batches()
    assert np.array_equal(first.embeddings[3], make_face(0, 0, 1, 1).embedding)
    assert first.box.tolist() == [[0, 0, 10, 10]] * 5
    assert (first.landmarks.shape, first.score[0]) == ((5, 5, 2), np.float32(0.9))


def test_whose_the_thresholds_are_is_kept(address: str) -> None:
    card = make_card().for_gallery()
    with changing(address) as store:
        store.card = card
    assert open_gallery(address).card == card


def test_who_is_stored_decomposed_is_called_by_the_composed_name(address: str) -> None:
    stored = unicodedata.normalize("NFD", "José")
    with changing(address) as store:
        store.append(make_batch(np.eye(4, dtype=np.float32)[:1], [stored]))
    opened = open_gallery(address)
    assert opened.called("José") == stored
    assert opened.person("José").person == [stored]
    with changing(address) as store:
        assert store.has_source("José", "0.jpg")
        store.add("José", [make_face(0, 1, 0, 0)], "new.jpg", "new")
        assert store.holds("José", "new")
        assert store.called("José") == stored
        store.rename("José", "José")
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2, "José": 2}


def test_entries_of_unknown_content_are_added_once(address: str) -> None:
    other = Gallery(make_card())
    other.append(make_batch(np.eye(4, dtype=np.float32)[:3], ["Ada", "Bob", "Bob"]))
    for _ in range(2):
        with changing(address) as store:
            extend(store, other)
    assert open_gallery(address).counts() == {"Ada": 4, "Zoë": 2, "Bob": 2}


def test_people_are_counted_in_the_order_of_their_first_entry(address: str) -> None:
    store = open_gallery(address)
    assert list(store.counts().items()) == [("Ada", 3), ("Zoë", 2)]
    assert store.counts(RED) == {"Ada": 2}
    assert store.counts({"team": "green"}) == {}


def test_a_batch_holds_what_the_metadata_ask_for(address: str) -> None:
    store = open_gallery(address)
    assert [entry[1] for entry in whole(store, where={"team": "blue"})] == ["ada/3.jpg"]
    assert whole(store, where={"team": "red", "shift": "night"}) == []


def test_search_gives_the_nearest_people_by_their_means(address: str) -> None:
    found = open_gallery(address).search(unit((0, 0, 1, 0.2), (0, 1, 0, 0)), 2)
    assert [[hit.name for hit in hits] for hits in found] == [["Zoë", "Ada"], ["Ada", "Zoë"]]
    mean = make_face(0, 0, 1, 0).embedding + make_face(0, 0, 1, 1).embedding
    expected = unit((0, 0, 1, 0.2))[0] @ (mean / np.linalg.norm(mean))
    assert found[0][0].similarity == pytest.approx(expected, abs=1e-6)


def test_search_gives_the_nearest_people_by_their_nearest_photo(address: str) -> None:
    found = open_gallery(address).search(unit((1, 0, 0, 0)), 5, match="exemplar")
    assert [(hit.name, hit.similarity) for hit in found[0]] == [
        ("Ada", pytest.approx(1)),
        ("Zoë", pytest.approx(0)),
    ]


def test_strangers_are_left_out_by_the_threshold(address: str) -> None:
    queries = unit((1, 0, 0, 0), (-1, 0, 0, 0))
    found = open_gallery(address).search(queries, 5, match="exemplar", least=0.5)
    assert [[hit.name for hit in hits] for hits in found] == [["Ada"], []]


@pytest.mark.parametrize("match", ["template", "exemplar"])
def test_a_filtered_search_sees_only_the_entries_that_match(address: str, match: str) -> None:
    store = open_gallery(address)
    found = store.search(unit((0, 1, 0, 1)), 5, match=match, where={"team": "blue"})  # type: ignore[arg-type]
    assert found == [[("Ada", pytest.approx(1))]]
    assert store.search(unit((0, 1, 0, 1)), 5, where={"team": "green"}) == [[]]


def test_of_equally_similar_people_the_first_enrolled_comes_first(address: str) -> None:
    with changing(address) as store:
        for name in ("D", "B", "C"):
            store.add(name, [make_face(1, 0, 0, 0)], f"{name}.jpg")
    found = open_gallery(address).search(unit((1, 0, 0, 0)), 3, match="exemplar")
    assert [hit.name for hit in found[0]] == ["Ada", "D", "B"]


def test_no_queries_and_no_people_find_nobody(address: str, tmp_path: Path) -> None:
    store = open_gallery(address)
    assert store.search(np.empty((0, 4), np.float32), 3) == []
    with changing(address) as emptied:
        emptied.remove("Ada")
        emptied.remove("Zoë")
    assert open_gallery(address).search(unit((1, 0, 0, 0)), 3) == [[]]


def test_changes_are_seen_by_who_opens_afterwards(address: str) -> None:
    before = open_gallery(address)
    with changing(address) as store:
        assert store.remove_source("Ada", "ada/1.jpg") == 1
        store.rename("Zoë", "Zoe")
        store.add("Zoe", [make_face(0, 0, 0, 1)], "zoë/1.jpg", "z2", RED)
        store.add("Bob", [make_face(0, 0, 1, 0)], "bob.jpg", "b1")
        store.merge("Bob", "Ada")
    after = open_gallery(address)
    assert whole(after) == [
        ("Ada", "ada/2.jpg", "a2", RED),
        ("Ada", "ada/3.jpg", "a3", BLUE),
        ("Zoe", "zoë/1.jpg", "z2", RED),
        ("Ada", "bob.jpg", "b1", {}),
    ]
    assert after.holds("Zoe", "z2") and not after.holds("Zoe", "z1")
    assert after.has_source("Ada", "bob.jpg") and not after.has_source("Ada", "ada/1.jpg")
    assert len(before.search(unit((1, 0, 0, 0)), 3)) == 1


def test_a_block_that_fails_changes_nothing(address: str) -> None:
    with pytest.raises(ZeroDivisionError), changing(address) as store:
        store.remove("Ada")
        raise ZeroDivisionError
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2}


def test_batches_can_be_copied_into_another_gallery(address: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.h5")
    with changing(other, create=make_card()) as store:
        for batch in open_gallery(address).batches(2):
            assert isinstance(batch, Batch)
            store.append(batch)
    assert whole(open_gallery(other)) == whole(open_gallery(address))
    queries = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    ours, theirs = (open_gallery(place).search(queries, 5) for place in (other, address))
    for one, another in zip(ours, theirs, strict=True):
        assert [hit.name for hit in one] == [hit.name for hit in another]
        assert [hit.similarity for hit in one] == pytest.approx([hit[1] for hit in another])


def test_new_thresholds_are_kept(address: str) -> None:
    card = make_card(calibration={"data": "own", "pairs": 7, "thresholds": {"1e-2": 0.3}})
    with changing(address) as store:
        store.card = card
    assert open_gallery(address).card == card


def test_what_cannot_be_done_says_so(address: str) -> None:
    with changing(address) as store:
        with pytest.raises(UsageError, match="nobody called Adda; did you mean Ada"):
            store.remove("Adda")
        with pytest.raises(UsageError, match="is in the gallery already"):
            store.rename("Ada", "Zoë")
        with pytest.raises(UsageError, match="no usable name"):
            store.add("a/b", [make_face(1, 0, 0, 0)], "x")
        with pytest.raises(UsageError, match="merged into itself"):
            store.merge("Ada", "Ada")


def test_a_new_name_is_no_longer_than_a_folders(address: str) -> None:
    longest = "ä" * 127 + "b"
    with changing(address) as store:
        for change in (
            lambda: store.add(longest + "c", [make_face(1, 0, 0, 0)], "x"),
            lambda: store.rename("Ada", longest + "c"),
        ):
            with pytest.raises(UsageError, match="a name of 256 bytes; give at most 255"):
                change()
        store.rename("Ada", longest)
    assert list(open_gallery(address).counts()) == [longest, "Zoë"]


def test_a_name_with_decomposed_accents_calls_the_same_person(address: str) -> None:
    """As macOS writes it."""
    decomposed = "Zoe\u0308"
    with changing(address) as store:
        assert (store.called(decomposed), store.called("Zoe")) == ("Zoë", None)
        assert list(store.person(decomposed).person) == ["Zoë", "Zoë"]
        assert store.holds(decomposed, "z1")
        assert store.has_source(decomposed, "zoë/1.jpg")
        store.add(decomposed, [make_face(0, 0, 1, 0)], "zoë/1.jpg", "z2")
        store.add("Rene\u0301", [make_face(0, 0, 1, 1)], "r.jpg", "r1")
        with pytest.raises(UsageError, match="is in the gallery already"):
            store.rename("Ada", decomposed)
    with changing(address) as store:
        assert store.counts() == {"Ada": 3, "Zoë": 1, "René": 1}
        store.rename(decomposed, "Chloe\u0308")
        store.merge("Rene\u0301", "Chloe\u0308")
    with changing(address) as store:
        assert store.counts() == {"Ada": 3, "Chloë": 2}
        assert store.remove_source("Chloe\u0308", "r.jpg") == 1
        assert store.remove("Chloe\u0308") == 1
    assert open_gallery(address).counts() == {"Ada": 3}


def test_a_gallery_of_another_model_is_not_changed(address: str) -> None:
    with (
        pytest.raises(IncompatibleError, match="was built with small"),
        changing(address, create=make_card(flip=True)),
    ):
        pass


def test_only_one_writer_at_a_time_and_readers_go_on(address: str) -> None:
    with changing(address):
        with pytest.raises(UsageError, match="another facerec is writing it"), changing(address):
            pass
        assert len(open_gallery(address)) == 5


@pytest.mark.parametrize("backend", ADDRESSES)
def test_what_is_not_there_is_missing(backend: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        open_gallery(ADDRESSES[backend](tmp_path))


def test_every_registered_backend_is_tested() -> None:
    assert set(GALLERIES.names()) == {*ADDRESSES, *SERVED}


def test_an_address_of_no_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"no gallery can lie in ftp://; .*milvus\+lite://PATH"
    ) as told:
        open_gallery("ftp://host/people")
    assert all(name in str(told.value) for name in GALLERIES.names())


def test_a_path_may_be_written_as_a_url(tmp_path: Path) -> None:
    with changing(f"file://{tmp_path}/people.h5", create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "ada.jpg")
    assert open_gallery(str(tmp_path / "people.h5")).counts() == {"Ada": 1}


def test_a_registered_backend_takes_the_addresses_of_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GALLERIES, "_entries", dict(GALLERIES._entries))

    @GALLERIES.register("test_folder", help="test_folder://NAME, a file in a test's folder.")
    class Folder(file.FileBackend):
        def local_path(self, address: str) -> Path:
            return tmp_path / f"{address.removeprefix('test_folder://')}.h5"

    with changing("test_folder://people", create=make_card()) as store:
        store.add("Ada", [make_face(1, 0, 0, 0)], "ada.jpg")
    assert len(open_gallery("test_folder://people")) == 1
    assert (tmp_path / "people.h5").exists()


def test_verifying_and_copying_tell_how_far_they_are(address: str, tmp_path: Path) -> None:
    checked: list[int] = []
    backend_of(address).verify(address, checked.append)
    copied: list[int] = []
    in_memory(open_gallery(address), copied.append)
    assert sum(checked) == sum(copied) == 5


@pytest.mark.parametrize("vector", [(np.nan,) * 4, (0, 0, 0, 0), (2, 0, 0, 0), (1, 0, 0)])
def test_a_face_without_a_unit_vector_is_refused_and_nothing_is_lost(
    address: str, vector: tuple[float, ...]
) -> None:
    # It would have been written, and the gallery refused as damaged from then on.
    odd = replace(make_face(1, 0, 0, 0), embedding=np.array(vector, np.float32))
    with changing(address) as store, pytest.raises(ValueError, match="needs an embedding of"):
        store.add("Ada", [make_face(0, 1, 0, 0), odd], "ada/1.jpg", "a1", RED)
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2}


WRONG_META = [{"age": 5}, {"age": None}, {5: "age"}, ["x"], "team", {"name": "\ud800"}]


@pytest.mark.parametrize("meta", WRONG_META, ids=ascii)
def test_metadata_that_are_no_texts_are_refused_and_nothing_changes(
    address: str, meta: object
) -> None:
    with changing(address) as store:
        before = whole(store)
        with pytest.raises(UsageError, match=r"meta: texts by texts are needed.*given: "):
            store.add("Ada", [make_face(0, 0, 0, 1)], "ada/1.jpg", "new", meta)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="meta: texts by texts are needed"):
            store.append(replace(make_batch(np.eye(4, dtype=np.float32)[:1], ["A"]), meta=[meta]))  # type: ignore[list-item]
        assert whole(store) == before
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2}


@pytest.mark.parametrize("where", WRONG_META, ids=ascii)
def test_a_filter_that_is_no_texts_is_refused(address: str, where: object) -> None:
    store = open_gallery(address)
    reads: list[Callable[..., object]] = [
        store.counts,
        store.sizes,
        lambda where: list(store.batches(where=where)),
        lambda where: store.person("Ada", where),
        lambda where: store.search(unit((1, 0, 0, 0)), 1, where=where),
        lambda where: store.search(unit((1, 0, 0, 0)), 1, match="exemplar", where=where),
    ]
    for read in reads:
        with pytest.raises(UsageError, match="where: texts by texts are needed"):
            read(where)


def test_a_photo_may_be_told_by_its_path(address: str) -> None:
    photo = Path("ada/1.jpg")
    with changing(address) as store:
        assert store.has_source("Ada", photo)
        store.add("Ada", [make_face(0, 0, 0, 1)], photo, "new", RED)
        store.add("Bob", [make_face(0, 0, 0, 1)], Path("bob.jpg"))
    with changing(address) as store:
        assert store.counts() == {"Ada": 3, "Zoë": 2, "Bob": 1}
        assert store.holds("Ada", "new") and store.has_source("Bob", "bob.jpg")
        assert store.remove_source("Bob", Path("bob.jpg")) == 1


@pytest.mark.parametrize("source", [5, None, b"a.jpg", "\ud800.jpg"], ids=ascii)
def test_a_source_that_is_no_text_is_refused(address: str, source: object) -> None:
    with changing(address) as store:
        with pytest.raises(UsageError, match="source: a text is needed; given: "):
            store.add("Ada", [make_face(0, 0, 0, 1)], source)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="sha256: a text is needed"):
            store.add("Ada", [make_face(0, 0, 0, 1)], "a.jpg", source)  # type: ignore[arg-type]
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2}


@pytest.mark.parametrize(("name", "shape"), [("landmarks", (68, 2)), ("box", (3,))])
def test_entries_of_another_shape_are_refused_and_nothing_is_lost(
    address: str, name: str, shape: tuple[int, ...]
) -> None:
    batch = replace(
        make_batch(np.eye(4, dtype=np.float32)[:1], ["Ada"]),
        **{name: np.zeros((1, *shape), np.float32)},
    )
    with changing(address) as store:
        with pytest.raises(UsageError, match=f"{name} of shape"):
            store.append(batch)
        assert store.holds("Ada", "a1")
    assert open_gallery(address).counts() == {"Ada": 3, "Zoë": 2}


def test_who_adds_no_face_is_told_as_of_a_wrong_value(address: str) -> None:
    with changing(address) as store, pytest.raises(UsageError, match="no face to add"):
        store.add("Ada", [], "ada/1.jpg")


@pytest.mark.parametrize(
    ("queries", "problem"),
    [
        ([(2, 0, 0, 0)], "query 0 has length 2: give unit vectors"),
        ([(1, 0, 0, 0), (1.01, 0, 0, 0)], "query 1 has length 1.01"),
        ([(np.nan, 0, 0, 0)], "query 0 has length nan"),
        ((1, 0, 0, 0), r"of shape \(4,\): give \(Q, 4\), of one face its embedding\[None\]"),
        ([(1, 0, 0)], r"of shape \(1, 3\)"),
        ([None], "are no numbers|of shape"),
    ],
)
@pytest.mark.parametrize("where", [None, RED], ids=["all", "filtered"])
def test_queries_that_are_no_unit_vectors_are_refused(
    address: str, queries: object, problem: str, where: dict[str, str] | None
) -> None:
    with pytest.raises(UsageError, match=problem):
        open_gallery(address).search(queries, 1, where=where)  # type: ignore[arg-type]


def test_means_of_unit_vectors_are_searched_as_they_are(address: str) -> None:
    half = np.array([[0.5, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    found = open_gallery(address).search(half, 1, match="exemplar")
    assert [hits[0].similarity for hits in found] == [pytest.approx(0.5), 0]


def test_a_search_for_nobody_or_by_an_unknown_way_is_refused(address: str) -> None:
    store = open_gallery(address)
    with pytest.raises(UsageError, match="match: 'exemplars' is unknown; did you mean exemplar"):
        store.search(unit((1, 0, 0, 0)), 1, match="exemplars")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="top: at least 1 person is needed; given: 0"):
        store.search(unit((1, 0, 0, 0)), 0)


def test_people_are_counted_by_their_number_of_entries(address: str) -> None:
    with changing(address) as store:
        store.add("Bob", [make_face(0, 0, 1, 0)], "bob.jpg")
        store.add("Eve", [make_face(0, 0, 1, 0)], "eve.jpg")
        store.remove("Eve")
    store = open_gallery(address)
    assert store.sizes() == {1: 1, 2: 1, 3: 1}
    assert store.sizes(RED) == {2: 1}
    assert store.sizes({"team": "green"}) == {}


def test_every_change_is_seen_by_the_revision(address: str) -> None:
    changes: list[Callable[[GalleryStore], object]] = [
        lambda store: store.add("Bob", [make_face(0, 0, 1, 0)], "bob.jpg"),
        lambda store: store.append(make_batch(np.eye(4, dtype=np.float32)[:1], ["Eve"])),
        lambda store: store.rename("Bob", "Rob"),
        lambda store: store.merge("Rob", "Eve"),
        lambda store: store.remove_source("Ada", "ada/1.jpg"),
        lambda store: store.remove("Ada"),
        lambda store: setattr(store, "card", make_card(calibration=None)),
    ]
    with changing(address) as store:
        for change in changes:
            before = store.revision
            assert store.revision is before
            change(store)
            assert store.revision is not before
