"""The approximate index beside a gallery: never stale, exact similarities."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("faiss")

from facerec import Gallery
from facerec.gallery import file
from facerec.gallery.approximate import index_of
from facerec.gallery.store import Batch, MatchBy, changing
from tests.conftest import Run, make_card, make_face

PEOPLE, SIZE = 2000, 16


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of random people, that counts as large."""
    vectors = np.random.default_rng(0).normal(size=(2 * PEOPLE, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = len(vectors)
    gallery = Gallery(make_card(SIZE))
    gallery.append(
        Batch(
            [f"P{row % PEOPLE}" for row in range(rows)],
            [f"{row}.jpg" for row in range(rows)],
            [""] * rows,
            [{"half": str(row % 2)} for row in range(rows)],
            vectors,
            np.zeros((rows, 4), np.float32),
            np.zeros((rows, 5, 2), np.float32),
            np.ones(rows, np.float32),
        )
    )
    gallery.save(tmp_path / "g.h5")
    monkeypatch.setattr(file, "_WHOLE", 0)
    return tmp_path / "g.h5"


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
