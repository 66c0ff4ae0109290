from __future__ import annotations

import copy
import mmap
import pickle
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerec import Gallery, Matcher
from facerec.errors import IncompatibleError, MissingError, UsageError
from facerec.files.locking import locked
from facerec.gallery.addresses import extend
from facerec.gallery.files.hdf5 import check_gallery
from facerec.profile.schema import RecognizeSection
from tests.conftest import make_batch, make_card, make_face


def make_gallery() -> Gallery:
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "ada/1.jpg", "a1")
    gallery.add("Ada", [make_face(0, 1, 0, 0)], "ada/2.jpg", "a2")
    gallery.add("Zoë", [make_face(0, 0, 1, 0), make_face(0, 0, 1, 1)], "zoë/1.jpg", "z1")
    return gallery


def same(one: Gallery, other: Gallery, without: str = "") -> bool:
    return one.people == other.people and all(
        np.array_equal(getattr(one.entries, name), getattr(other.entries, name))
        for name in one.entries.__slots__
        if name != without
    )


def test_a_gallery_survives_being_saved(tmp_path: Path) -> None:
    gallery = make_gallery()
    gallery.save(tmp_path / "g.h5")
    opened = Gallery.open(tmp_path / "g.h5")
    assert same(gallery, opened)
    assert opened.card == gallery.card


def test_the_file_is_version_1_and_readable_with_h5py_alone(tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "g.h5")
    with h5py.File(tmp_path / "g.h5") as file:
        assert file.attrs["facerec_gallery"] == 1
        assert file["people"].asstr()[:].tolist() == ["Ada", "Zoë"]
        assert file["person"][:].tolist() == [0, 0, 1, 1]
        assert file["embeddings"].shape == (4, 4)
        assert file["embeddings"].dtype == np.float32
        assert file["templates"].shape == (2, 4)
        assert file["source"].asstr()[2] == "zoë/1.jpg"


def large_gallery(rows: int) -> Gallery:
    vectors = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    gallery = Gallery(make_card())
    gallery.append(make_batch(vectors, [f"P{row % 7}" for row in range(rows)]))
    return gallery


def test_mapped_columns_need_no_copy_to_be_computed_with(tmp_path: Path) -> None:
    large_gallery(1001).save(tmp_path / "g.h5")
    base = Gallery.open(tmp_path / "g.h5").base
    for name in ("embeddings", "person", "box", "landmarks", "score", "meta"):
        assert getattr(base, name).flags.aligned, name


def test_half_a_large_file_of_zeros_is_seen_at_opening(tmp_path: Path) -> None:
    large_gallery(6000).save(tmp_path / "g.h5")
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        file["embeddings"][3000:] = 0
    with pytest.raises(MissingError, match="unit length"):
        Gallery.open(tmp_path / "g.h5")


def test_an_empty_gallery_can_be_saved_and_opened(tmp_path: Path) -> None:
    Gallery(make_card()).save(tmp_path / "g.h5")
    assert len(Gallery.open(tmp_path / "g.h5")) == 0


def test_a_template_is_the_renormalised_mean() -> None:
    template = make_gallery().templates()[0]
    assert template == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])


def test_opposite_vectors_give_no_nan() -> None:
    gallery = Gallery(make_card())
    gallery.add("A", [make_face(1, 0, 0, 0), make_face(-1, 0, 0, 0)], "a.jpg")
    assert np.isfinite(gallery.templates()).all()


def test_the_same_source_replaces_what_it_gave_before() -> None:
    gallery = make_gallery()
    gallery.add("Zoë", [make_face(0, 0, 0, 1)], "zoë/1.jpg", "new")
    assert gallery.counts() == {"Ada": 2, "Zoë": 1}
    assert gallery.holds("Zoë", "new")
    assert not gallery.holds("Zoë", "z1")


def test_a_photo_counts_as_held_for_its_own_person_only() -> None:
    gallery = make_gallery()
    assert gallery.holds("Ada", "a1")
    assert not gallery.holds("Zoë", "a1")
    gallery.rename("Ada", "Eve")
    assert gallery.holds("Eve", "a1")


def test_merging_people_joins_their_faces() -> None:
    gallery = make_gallery()
    gallery.merge("Ada", "Zoë")
    assert gallery.counts() == {"Zoë": 4}
    assert gallery.entries.person.tolist() == [0, 0, 0, 0]


def test_removing_the_last_photo_removes_the_person() -> None:
    gallery = make_gallery()
    assert gallery.remove_source("Zoë", "zoë/1.jpg") == 2
    assert gallery.people == ["Ada"]
    assert gallery.remove("Ada") == 2
    assert gallery.people == []


def test_adding_another_gallery_keeps_its_people_and_skips_its_copies() -> None:
    gallery, other = make_gallery(), Gallery(make_card())
    other.add("Bob", [make_face(0, 0, 0, 1)], "bob.jpg", "b")
    other.add("Ada", [make_face(1, 0, 0, 0)], "copy.jpg", "a1")
    extend(gallery, other)
    assert gallery.counts() == {"Ada": 2, "Zoë": 2, "Bob": 1}


@pytest.mark.parametrize("before", [10, 4095], ids=["in one batch", "in two batches"])
def test_all_faces_of_an_added_photo_are_added(before: int) -> None:
    rows = before + 2
    vectors = np.tile(np.eye(4, dtype=np.float32), (-(-rows // 4), 1))[:rows]
    hashes = [str(row) for row in range(before)] + 2 * ["two faces"]
    other, gallery = Gallery(make_card()), make_gallery()
    other.append(replace(make_batch(vectors, ["Ada"] * rows), sha256=hashes))
    extend(gallery, other)
    assert gallery.counts() == {"Ada": 2 + rows, "Zoë": 2}
    extend(gallery, other)
    assert gallery.counts() == {"Ada": 2 + rows, "Zoë": 2}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_added_person_is_who_is_called_so_already(form: Literal["NFC", "NFD"]) -> None:
    other, gallery = Gallery(make_card()), make_gallery()
    names = [unicodedata.normalize(form, name) for name in ("Zoë", "José")]
    other.append(make_batch(np.eye(4, dtype=np.float32)[:2], names))
    extend(gallery, other)
    assert gallery.counts() == {"Ada": 2, "Zoë": 3, "José": 1}


def test_a_gallery_of_another_model_is_not_added() -> None:
    with pytest.raises(IncompatibleError, match=r"mine\.h5 was built with small"):
        extend(make_gallery(), Gallery(make_card(flip=True)), "mine.h5")


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "..\\a", "a\nb", "\x1b[31m"])
def test_a_name_that_could_be_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no usable name"):
        make_gallery().add(name, [make_face(1, 0, 0, 0)], "x")


def test_an_unknown_person_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="nobody called Adda; did you mean Ada"):
        make_gallery().remove("Adda")


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(UsageError, match="Zoë is in the gallery already"):
        make_gallery().rename("Ada", "Zoë")


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "remove", "merge"])), max_size=12
    )
)
def test_any_sequence_of_changes_leaves_a_consistent_gallery(steps: list[tuple[str, str]]) -> None:
    gallery, expected = Gallery(make_card()), dict[str, int]()
    for number, (person, step) in enumerate(steps):
        if step == "add":
            gallery.add(person, [make_face(1, number, 0, 0)], f"{number}.jpg", str(number))
            expected[person] = expected.get(person, 0) + 1
        elif step == "remove" and person in expected:
            assert gallery.remove(person) == expected.pop(person)
        elif step == "merge" and person in expected and "a" in expected and person != "a":
            gallery.merge(person, "a")
            expected["a"] += expected.pop(person)
    assert gallery.counts() == expected
    assert gallery.templates().shape == (len(expected), 4)


def test_a_truncated_file_is_one_clear_line(tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "g.h5")
    whole = (tmp_path / "g.h5").read_bytes()
    for length in (0, 20, 512, len(whole) // 2, len(whole) - 100):
        (tmp_path / "g.h5").write_bytes(whole[:length])
        with pytest.raises(MissingError, match=r"g\.h5: damaged or no gallery [^\n]*$"):
            Gallery.open(tmp_path / "g.h5")


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("person", np.array([0, 0, 1, 7], np.int32), "belongs to nobody"),
        ("person", np.array([0, 0], np.int32), "has shape"),
        ("embeddings", np.full((4, 4), np.nan, np.float32), "unit length"),
        ("embeddings", np.ones((4, 5), np.float32), "has shape"),
        ("score", np.ones((3,), np.float32), "score has shape"),
    ],
)
def test_a_contradictory_file_is_refused(
    tmp_path: Path, name: str, values: np.ndarray, problem: str
) -> None:
    path = tmp_path / "g.h5"
    make_gallery().save(path)
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values
    with pytest.raises(MissingError, match=problem):
        Gallery.open(path)


def test_templates_that_are_not_the_means_are_found(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    make_gallery().save(path)
    check_gallery(path, Gallery.open(path))
    with h5py.File(path, "r+") as file:
        file["templates"][0] = [0, 0, 0, 1]
    with pytest.raises(MissingError, match="not the means"):
        check_gallery(path, Gallery.open(path))


def test_a_newer_version_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    make_gallery().save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["facerec_gallery"] = 2
    with pytest.raises(IncompatibleError, match="upgrade"):
        Gallery.open(path)


def test_a_file_of_the_first_facerec_is_read_without_its_journal_or_metadata(
    tmp_path: Path,
) -> None:
    path, gallery = tmp_path / "g.h5", make_gallery()
    rows = gallery.entries
    with h5py.File(path, "w") as file:
        file.attrs.update({"facerec_gallery": 1, "card": gallery.card.to_json()})
        text = h5py.string_dtype("utf-8")
        for name in ("embeddings", "person", "box", "landmarks", "score"):
            values = getattr(rows, name)
            file.create_dataset(name, data=values, chunks=(1024, *values.shape[1:]),
                                maxshape=(None, *values.shape[1:]))  # fmt: skip
        file.create_dataset("templates", data=gallery.templates())
        for name, values in {"people": np.array(gallery.people, object),
                             "source": rows.source, "sha256": rows.sha256}.items():  # fmt: skip
            file.create_dataset(name, data=values, dtype=text)
    opened = Gallery.open(path)
    assert same(opened, gallery, without="quality")
    assert np.isnan(opened.entries.quality).all()
    opened.add("Bob", [make_face(0, 0, 0, 1)], "bob.jpg", meta={"team": "red"})
    opened.commit()
    assert list(Gallery.open(path).counts({"team": "red"})) == ["Bob"]


def test_vectors_are_mapped_and_not_read(tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "g.h5")
    opened = Gallery.open(tmp_path / "g.h5")
    base: object = opened.base.embeddings
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


def test_one_very_long_source_does_not_lengthen_all(tmp_path: Path) -> None:
    gallery = Gallery(make_card())
    for number in range(1000):
        source = f"{number}.jpg" if number else "folder/" * 1000
        gallery.add("Ada", [make_face(1, number, 0, 0)], source)
    gallery.save(tmp_path / "g.h5")
    assert (tmp_path / "g.h5").stat().st_size < 500_000
    assert same(Gallery.open(tmp_path / "g.h5"), gallery)


def write_older(path: Path, *, per_image: bool) -> None:
    with h5py.File(path, "w") as file:
        for person, vector in {"Arya": [3, 0, 0, 0], "Sansa": [0, 2, 0, 0]}.items():
            group = file.create_group(person)
            if per_image:
                image = group.create_group("1.png")
                image["embedding"] = np.array(vector, np.float32)
                image["file_path"] = f"data/{person}/1.png"
            else:
                group["embedding"] = np.array(vector, np.float32)


@pytest.mark.parametrize("per_image", [False, True])
def test_the_seeds_layouts_can_be_read_for_a_known_model(tmp_path: Path, per_image: bool) -> None:
    write_older(tmp_path / "old.h5", per_image=per_image)
    gallery = Gallery.open(tmp_path / "old.h5", assume=make_card())
    assert gallery.people == ["Arya", "Sansa"]
    assert gallery.entries.embeddings.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert gallery.entries.source[0] == ("data/Arya/1.png" if per_image else "Arya")


def test_an_older_layout_is_not_trusted_without_its_model(tmp_path: Path) -> None:
    write_older(tmp_path / "old.h5", per_image=False)
    with pytest.raises(IncompatibleError, match="does not say which model"):
        Gallery.open(tmp_path / "old.h5")
    with pytest.raises(IncompatibleError, match="have 4 values, small makes 8"):
        Gallery.open(tmp_path / "old.h5", assume=make_card(8))


def test_only_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    with locked(path):
        make_gallery().save(path)
        with pytest.raises(UsageError, match="another facerec is writing it"), locked(path):
            pass
        assert Gallery.open(path).people


@pytest.mark.parametrize("kind", ["soft", "external", "storage", "virtual", "huge", "group"])
def test_columns_that_lie_elsewhere_or_claim_too_much_are_refused(
    tmp_path: Path, kind: str
) -> None:
    path, other = tmp_path / "g.h5", tmp_path / "other.h5"
    make_gallery().save(path)
    make_gallery().save(other)
    with h5py.File(path, "r+") as file:
        shape = file["embeddings"].shape
        del file["embeddings"]
        if kind == "soft":
            file["embeddings"] = h5py.SoftLink("/templates")
        elif kind == "external":
            file["embeddings"] = h5py.ExternalLink(str(other), "/embeddings")
        elif kind == "storage":
            file.create_dataset("embeddings", shape, np.float32, external=[(str(other), 0, 4096)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[:] = h5py.VirtualSource(str(other), "embeddings", shape)
            file.create_virtual_dataset("embeddings", layout)
        elif kind == "huge":
            file.create_dataset("embeddings", (1 << 32, 4), np.float32, chunks=(1, 4))
        else:
            file.create_group("embeddings")
    with pytest.raises(MissingError, match=r"g\.h5: damaged or no gallery \(embeddings"):
        Gallery.open(path)


@pytest.mark.parametrize("text", ["{", "[1]", '"1999"', "[" * 5000])
def test_damaged_metadata_are_told(tmp_path: Path, text: str) -> None:
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "ada/1.jpg", "a1", {"year": "1999"})
    gallery.save(path := tmp_path / "g.h5")
    with h5py.File(path, "r+") as file:
        del file["metas"]
        file["metas"] = [text]
    opened = Gallery.open(path)
    with pytest.raises(MissingError, match="damaged metadata of an enrolled face"):
        opened.person("Ada")


def test_of_a_composed_and_a_decomposed_name_the_very_one_counts(tmp_path: Path) -> None:
    """Entries are appended as they are, so a gallery may hold both."""
    gallery = Gallery(make_card())
    gallery.append(make_batch(np.eye(2, 4, dtype=np.float32), ["Zoe\u0308", "Zoë"]))
    gallery.save(tmp_path / "g.h5")
    opened = Gallery.open(tmp_path / "g.h5")
    assert (opened.called("Zoe\u0308"), opened.called("Zoë")) == ("Zoe\u0308", "Zoë")
    assert opened.remove("Zoe\u0308") == 1
    assert opened.counts() == {"Zoë": 1}


@pytest.fixture(params=["new", "opened"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Gallery:
    gallery = make_gallery()
    if request.param == "new":
        return gallery
    gallery.save(tmp_path / "g.h5")
    return Gallery.open(tmp_path / "g.h5")


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda gallery: pickle.loads(pickle.dumps(gallery))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_the_same_gallery_and_goes_its_own_way(
    kept: Gallery, copied: Callable[[Gallery], Gallery]
) -> None:
    kept.add("Bob", [make_face(0, 1, 0, 1)], "bob.jpg")
    kept.search(np.eye(4, dtype=np.float32), 1)
    before = kept.counts()
    other = copied(kept)
    assert same(other, kept)
    other.add("Eve", [make_face(0, 0, 0, 1)], "eve.jpg")
    other.remove("Ada")
    kept.add("Kim", [make_face(0, 0, 0, 1)], "kim.jpg")
    assert kept.counts() == {**before, "Kim": 1}
    assert other.counts() == {"Zoë": 2, "Bob": 1, "Eve": 1}
    for gallery, name in ((kept, "Kim"), (other, "Eve")):
        assert gallery.search(np.eye(4, dtype=np.float32)[3:], 1)[0][0].name == name


def test_a_pickled_gallery_saves_to_its_file(tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "g.h5")
    other = pickle.loads(pickle.dumps(Gallery.open(tmp_path / "g.h5")))
    other.add("Bob", [make_face(0, 1, 0, 1)], "bob.jpg")
    other.commit()
    assert Gallery.open(tmp_path / "g.h5").people == ["Ada", "Zoë", "Bob"]


def test_a_matcher_can_be_pickled(tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "g.h5")
    gallery = Gallery.open(tmp_path / "g.h5")
    matcher = pickle.loads(pickle.dumps(Matcher(gallery, RecognizeSection(), gallery.card)))
    assert matcher.match(np.eye(4, dtype=np.float32)[:1])[0].nearest.name == "Ada"


def test_a_new_gallery_lies_nowhere_to_commit_to() -> None:
    with pytest.raises(UsageError, match=r"the gallery is new.*save\(PATH\)"):
        make_gallery().commit()


@pytest.mark.parametrize("scheme", ["milvus+lite", "milvus", "ftp"])
def test_a_gallery_file_is_no_url_of_another_backend(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"{scheme}://people.db"
    with pytest.raises(UsageError, match=r"keeps a file; .*facerec gallery copy FILE\.h5"):
        make_gallery().save(address)
    with pytest.raises(UsageError, match="keeps a file"):
        Gallery.open(address)
    assert not list(tmp_path.iterdir())


def test_a_gallerys_path_may_be_a_url_or_look_like_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:").mkdir()
    for path in (f"file://{tmp_path}/g.h5", Path("a:/g.h5")):
        make_gallery().save(path)
        assert Gallery.open(path).people == ["Ada", "Zoë"]
    assert {path.name for path in tmp_path.iterdir()} == {"g.h5", "a:"}


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ('{"year": 1999}', {"year": "1999"}),
        ('{"known": null, "size": 1.5}', {"known": "null", "size": "1.5"}),
        ('{"tags": ["a", "ä"]}', {"tags": '["a", "ä"]'}),
    ],
)
def test_metadata_that_are_no_texts_are_read_as_theirs(
    tmp_path: Path, stored: str, read: dict[str, str]
) -> None:
    """Earlier versions took them from Python."""
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "ada/1.jpg", "a1", {"year": "1999"})
    gallery.save(path := tmp_path / "g.h5")
    with h5py.File(path, "r+") as file:
        del file["metas"]
        file["metas"] = [stored]
    opened = Gallery.open(path)
    assert opened.person("Ada").meta == [read]
    assert opened.counts(read) == {"Ada": 1}
    opened.add("Bob", [make_face(0, 1, 0, 0)], "bob.jpg")
    opened.commit()
    assert Gallery.open(path).counts(read) == {"Ada": 1}
    check_gallery(path, Gallery.open(path))


def test_verifying_finds_damaged_metadata(tmp_path: Path) -> None:
    make_gallery().save(path := tmp_path / "g.h5")
    with h5py.File(path, "r+") as file:
        del file["metas"]
        file["metas"] = ["[1]"]
    with pytest.raises(MissingError, match=r"g\.h5: damaged gallery: damaged metadata"):
        check_gallery(path, Gallery.open(path))
