"""The approximate index beside a gallery: never stale, exact similarities."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("faiss")

from facerec import Gallery
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.gallery.addresses import changing
from facerec.gallery.base import MatchBy
from facerec.gallery.files import backend as file
from facerec.gallery.search.approximate import index_of
from tests.conftest import Run, make_batch, make_card, make_face

PEOPLE, SIZE = 2000, 16


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of random people, that counts as large."""
    vectors = np.random.default_rng(0).normal(size=(2 * PEOPLE, SIZE)).astype(np.float32)
    save(tmp_path / "g.h5", vectors, [f"P{row % PEOPLE}" for row in range(len(vectors))])
    monkeypatch.setattr(file, "_WHOLE", 0)
    return tmp_path / "g.h5"


def save(path: Path, vectors: Floats, people: list[str]) -> None:
    gallery = Gallery(make_card(vectors.shape[1]))
    halves = [{"half": str(row % 2)} for row in range(len(vectors))]
    gallery.append(make_batch(vectors, people, halves))
    gallery.save(path)


def queries(path: Path) -> np.ndarray:
    vectors = Gallery.open(path).entries.embeddings[:50] + np.float32(0.05)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("match", ["template", "exemplar"])
def test_an_index_finds_nearly_all_with_the_same_similarities(
    run: Run, path: Path, match: MatchBy
) -> None:
    exact = Gallery.open(path).search(queries(path), 3, match=match)
    assert run("gallery", "index", "-g", path, "--match", match)[0] == 0
    indexed = Gallery.open(path)
    assert indexed.index(match) is not None
    found = indexed.search(queries(path), 3, match=match)
    assert np.mean([a[0] == b[0] for a, b in zip(exact, found, strict=True)]) >= 0.98


def test_changes_after_the_index_are_found(run: Run, path: Path) -> None:
    assert run("gallery", "index", "-g", path, "--match", "exemplar")[0] == 0
    probe = make_face(*np.eye(SIZE)[0])
    assert probe.embedding is not None
    nearest = Gallery.open(path).search(probe.embedding[None], 1, match="exemplar")[0][0].name
    with changing(str(path)) as gallery:
        gallery.remove(nearest)
        gallery.add("New", [probe], "new.jpg")
    opened = Gallery.open(path)
    assert opened.index("exemplar") is not None
    names = [hit.name for hit in opened.search(probe.embedding[None], 5, match="exemplar")[0]]
    assert names[0] == "New" and nearest not in names and len(names) == 5


def test_an_index_of_other_vectors_is_not_used(run: Run, path: Path) -> None:
    assert run("gallery", "index", "-g", path, "--match", "exemplar")[0] == 0
    with h5py.File(path, "r+") as raw:
        raw["embeddings"][0] = np.eye(SIZE, dtype=np.float32)[0]
    opened = Gallery.open(path)
    assert opened.index("exemplar") is None
    hit = opened.search(np.eye(SIZE, dtype=np.float32)[:1], 1, match="exemplar")[0][0]
    assert hit == ("P0", pytest.approx(1))


def test_an_index_outlives_a_copy_but_not_a_rewriting_of_the_vectors(run: Run, path: Path) -> None:
    assert run("gallery", "index", "-g", path, "--match", "exemplar")[0] == 0
    path.write_bytes(path.read_bytes())
    assert Gallery.open(path).index("exemplar") is not None
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    file.compact(Gallery.open(path), path)
    assert Gallery.open(path).index("exemplar") is None


def test_a_filtered_search_is_exact(run: Run, path: Path) -> None:
    exact = Gallery.open(path).search(queries(path), 3, match="exemplar", where={"half": "1"})
    assert run("gallery", "index", "-g", path, "--match", "exemplar")[0] == 0
    indexed = Gallery.open(path)
    assert indexed.search(queries(path), 3, match="exemplar", where={"half": "1"}) == exact


def test_an_index_takes_in_what_the_journal_holds(run: Run, path: Path) -> None:
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    assert run("gallery", "index", "-g", path, "--match", "template")[0] == 0
    assert not path.with_name("g.h5.journal").exists()
    assert index_of(path, "template").exists()
    assert Gallery.open(path).index("template") is not None


def test_vectors_far_from_the_origin_are_found(tmp_path: Path) -> None:
    dice, rows, size = np.random.default_rng(0), 20_000, 32
    # Alike as faces are: around a mean of 0.9, most of the spread in some directions.
    spread = np.geomspace(1, 0.1, size) * 0.15
    vectors = (np.eye(size)[-1] + dice.normal(size=(rows, size)) * spread).astype(np.float32)
    save(tmp_path / "g.h5", vectors, [str(row) for row in range(rows)])
    asked = vectors[::100] + dice.normal(size=(200, size)).astype(np.float32) * spread / 2
    asked = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    exact = Gallery.open(tmp_path / "g.h5").search(asked, 1, match="exemplar")
    file.index(tmp_path / "g.h5", "exemplar")
    found = Gallery.open(tmp_path / "g.h5").search(asked, 1, match="exemplar")
    assert np.mean([a == b for a, b in zip(exact, found, strict=True)]) >= 0.98


def test_many_photos_of_one_person_hide_nobody(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    one = np.eye(SIZE)[0] + dice.normal(size=(1500, SIZE)) * 0.01
    vectors = np.concatenate((one, dice.normal(size=(1500, SIZE)))).astype(np.float32)
    save(tmp_path / "g.h5", vectors, ["one"] * 1500 + [str(row) for row in range(1500)])
    asked = np.eye(SIZE, dtype=np.float32)[:1]
    exact = Gallery.open(tmp_path / "g.h5").search(asked, 3, match="exemplar")
    file.index(tmp_path / "g.h5", "exemplar")
    assert Gallery.open(tmp_path / "g.h5").search(asked, 3, match="exemplar") == exact


@pytest.mark.parametrize(("rows", "size"), [(1, 8), (15, 8), (1100, 3), (1100, 1)])
def test_a_small_gallery_may_have_an_index(tmp_path: Path, rows: int, size: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(rows, size)).astype(np.float32)
    save(tmp_path / "g.h5", vectors, [str(row) for row in range(rows)])
    asked = Gallery.open(tmp_path / "g.h5").entries.embeddings[:1]
    exact = Gallery.open(tmp_path / "g.h5").search(asked, 1, match="exemplar")
    file.index(tmp_path / "g.h5", "exemplar")
    indexed = Gallery.open(tmp_path / "g.h5")
    assert indexed.index("exemplar") is not None
    assert indexed.search(asked, 1, match="exemplar") == exact


def test_an_index_is_made_alike_each_time(path: Path) -> None:
    first = file.index(path, "exemplar").read_bytes()
    assert file.index(path, "exemplar").read_bytes() == first


@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
def test_a_damaged_index_is_told_with_what_to_do(path: Path, left: float) -> None:
    index = file.index(path, "exemplar")
    index.write_bytes(index.read_bytes()[: int(left * index.stat().st_size)])
    with pytest.raises(MissingError, match="damaged; make it again: facerec gallery index"):
        Gallery.open(path).index("exemplar")


def test_an_index_of_another_kind_is_not_used(path: Path) -> None:
    facts = file.index(path, "exemplar").with_name("g.h5.exemplar.index.json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"kind": "another"}))
    assert Gallery.open(path).index("exemplar") is None


def test_without_faiss_the_search_is_exact(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Gallery.open(path).search(queries(path), 3, match="exemplar")
    file.index(path, "exemplar")
    monkeypatch.setitem(sys.modules, "faiss", None)
    opened = Gallery.open(path)
    assert opened.search(queries(path), 3, match="exemplar") == exact
    assert opened.index("exemplar") is None
    with pytest.raises(MissingError, match=r"pip install 'facerec\[faiss\]'"):
        file.index(path, "exemplar")


def test_compacting_and_indexing_tell_how_far_they_are(path: Path) -> None:
    opened = Gallery.open(path)
    written: list[int] = []
    file.compact(opened, path, written.append)
    added: list[int] = []
    file.index(path, "exemplar", added.append)
    assert sum(written) == sum(added) == len(opened)
