"""Files as egcode/facerec writes them, and files that it can read."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest

from facerec import Gallery
from facerec.errors import MissingError, UsageError
from facerec.gallery.exchange import ENDINGS, export_gallery, import_gallery
from facerec.gallery.seed import read_arrays
from tests.conftest import Run, make_batch, make_card, make_face

VECTORS = {
    "Arya": np.array([[3, 4, 0, 0], [4, 3, 0, 0]], np.float32) / 5,
    "Sansa": np.array([[0, 0, 1, 0]], np.float32),
}


def write_cleanup_h5(path: Path, vectors: dict[str, np.ndarray], files: dict[str, list[Path]]):
    """The layout of the seed's export for its cleanup: the path is an attribute."""
    with h5py.File(path, "a") as file:
        for label, (person, rows) in enumerate(vectors.items()):
            group = file.create_group(person)
            group.attrs["label"] = label
            for image, vector in zip(files[person], rows, strict=True):
                subgroup = group.create_group(image.name)
                subgroup.create_dataset("embedding", data=vector)
                subgroup.attrs["file_path"] = np.bytes_(str(image))


def read_as_its_recognition_does(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        return {person: file[person]["embedding"][:] for person in file}


def read_as_its_cleanup_does(path: Path) -> dict[str, dict[str, tuple[str, np.ndarray]]]:
    with h5py.File(path, "r") as file:
        return {
            person: {
                name: (image.attrs["file_path"].decode("UTF-8"), image["embedding"][:])
                for name, image in group.items()
            }
            for person, group in file.items()
        }


@pytest.fixture
def gallery() -> Gallery:
    made = Gallery(make_card())
    made.add("Arya", [make_face(3, 4, 0, 0)], "stark/arya/é.jpg")
    made.add("Arya", [make_face(4, 3, 0, 0)], "again/é.jpg")
    made.add("Sansa", [make_face(0, 0, 1, 0)], "s.jpg")
    return made


def test_names_that_a_mac_wrote_are_read_composed(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "José")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.create_group(name).create_dataset("embedding", data=VECTORS["Sansa"][0])
    assert Gallery.open(tmp_path / "old.h5", assume=make_card()).people == ["José"]
    np.save(tmp_path / "embeddings_arr.npy", VECTORS["Sansa"])
    np.save(tmp_path / "label_strings_arr.npy", np.array([name]))
    read = import_gallery(tmp_path / "embeddings_arr.npy", assume=make_card())
    assert read.people == ["José"]
    made = Gallery(make_card())
    made.append(make_batch(VECTORS["Arya"], [name, "José"]))
    export_gallery(made, tmp_path / "people.npz", "npz")
    assert import_gallery(tmp_path / "people.npz").counts() == {"José": 2}


def test_the_cleanups_file_keeps_its_paths(tmp_path: Path) -> None:
    files = {name: [Path(f"/photos/{name}/{k} a.jpg") for k in range(len(rows))]
             for name, rows in VECTORS.items()}  # fmt: skip
    write_cleanup_h5(tmp_path / "dirty.h5", VECTORS, files)
    found = Gallery.open(tmp_path / "dirty.h5", assume=make_card()).entries
    assert found.source.tolist() == [str(file) for name in VECTORS for file in files[name]]
    np.testing.assert_allclose(found.embeddings, np.concatenate([*VECTORS.values()]), atol=1e-6)


def test_the_cleanups_file_is_cleaned_up(
    people: Path, dirty: Path, tmp_path: Path, run: Run
) -> None:
    assert run("embed", dirty, "-o", tmp_path / "g.h5")[0] == 0
    entries = Gallery.open(tmp_path / "g.h5").entries
    names = Gallery.open(tmp_path / "g.h5").people
    vectors = {name: entries.embeddings[entries.person == n] for n, name in enumerate(names)}
    files = {
        name: [tmp_path / source for source in entries.source[entries.person == n]]
        for n, name in enumerate(names)
    }
    write_cleanup_h5(tmp_path / "seed.h5", vectors, files)
    folders = [part for name in ("clean", "dirt", "report")
               for part in (f"--{name}", tmp_path / name)]  # fmt: skip
    code, out, err = run("cleanup", tmp_path / "seed.h5", *folders, "--json")
    assert code == 0, err
    kinds = {(record["kind"], *record["files"]) for record in map(json.loads, out.splitlines())}
    assert ("exact-duplicate", "eileen_collins/1.png") not in kinds
    assert any(kind[0] in ("wrong-person", "exact-duplicate") and "wrong.png" in kind[1]
               for kind in kinds)  # fmt: skip
    assert list((tmp_path / "clean").rglob("*.png"))


def test_a_gallery_is_exported_for_its_recognition_and_its_cleanup(
    gallery: Gallery, tmp_path: Path, run: Run
) -> None:
    gallery.save(tmp_path / "g.h5")
    assert run("gallery", "export", "--to", "seed-h5", "-g", tmp_path / "g.h5")[0] == 0
    means = read_as_its_recognition_does(tmp_path / "g-seed.h5")
    np.testing.assert_allclose(means["Arya"], [0.7, 0.7, 0, 0], atol=1e-6)
    assert means["Sansa"].shape == (4,)
    back = Gallery.open(tmp_path / "g-seed.h5", assume=make_card())
    np.testing.assert_allclose(back.templates(), gallery.templates(), atol=1e-6)

    faces = tmp_path / "faces.h5"
    arguments = ("--to", "seed-h5", "--per", "face", "-o", faces, "-g", tmp_path / "g.h5")
    assert run("gallery", "export", *arguments)[0] == 0
    images = read_as_its_cleanup_does(faces)
    assert {name: path for name, (path, _) in images["Arya"].items()} == {
        "é.jpg": "stark/arya/é.jpg", "é-2.jpg": "again/é.jpg",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["protobuf", "npz", "csv"])
def test_an_entry_a_person_is_its_mean(gallery: Gallery, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery, path, form, per_person=True)
    back = import_gallery(path)
    assert back.counts() == {"Arya": 1, "Sansa": 1}
    np.testing.assert_array_equal(back.entries.embeddings, gallery.templates())


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        ("embeddings_arr.npy", "label_strings_arr.npy"),
        ("embeddings_arcface_1.npy", "labels_strings_arcface_1.npy"),
        ("embeddings.npy", "labels.npy"),
        ("faces.npy", "people.npy"),
    ],
)
def test_its_pair_of_arrays_is_read(tmp_path: Path, embeddings: str, labels: str) -> None:
    np.save(tmp_path / embeddings, np.array([[3.0, 4, 0, 0], [0, 0, 2, 0], [4, 3, 0, 0]]))
    np.save(tmp_path / labels, np.array(["Arya", "Sansa", "Arya"]))
    np.save(tmp_path / "label_numbers.npy", np.arange(3.0))
    back = import_gallery(tmp_path / embeddings, assume=make_card())
    assert back.counts() == {"Arya": 2, "Sansa": 1}
    np.testing.assert_allclose(back.entries.embeddings[0], [0.6, 0.8, 0, 0], atol=1e-6)


def test_arrays_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "embeddings.npy", np.ones((3, 4)))
    with pytest.raises(UsageError, match="no one file of 3 names beside it; give --labels"):
        read_arrays(tmp_path / "embeddings.npy", None)
    np.save(tmp_path / "names.npy", np.array(["a", "b"]))
    with pytest.raises(MissingError, match="2 names for 3 embeddings"):
        read_arrays(tmp_path / "embeddings.npy", tmp_path / "names.npy")
    np.save(tmp_path / "pickled.npy", np.array(["a", "b", None], object), allow_pickle=True)
    with pytest.raises(MissingError, match=r"pickled\.npy: no array that can be read safely"):
        read_arrays(tmp_path / "embeddings.npy", tmp_path / "pickled.npy")
    with pytest.raises(MissingError, match=r"names\.npy: not an array of embeddings"):
        read_arrays(tmp_path / "names.npy", None)


def test_a_file_without_a_card_is_of_any_model_that_the_profile_names(
    tmp_path: Path, run: Run, gallery: Gallery
) -> None:
    from facerec.models.factory import create_network
    from facerec.training.run_folder import write_artefact

    card = make_card(16, architecture="test_ir", input_height=32, input_width=32)
    model = tmp_path / "mine.safetensors"
    write_artefact(model, create_network(card), card, "not at all")
    np.save(tmp_path / "embeddings.npy", np.eye(2, 16))
    np.save(tmp_path / "label_strings.npy", np.array(["Arya", "Sansa"]))
    setting = ("--set", f"model.name={model}", "-g", tmp_path / "g.h5")
    code, _, err = run("gallery", "import", tmp_path / "embeddings.npy", *setting)
    assert code == 0, err
    assert Gallery.open(tmp_path / "g.h5").card.architecture == "test_ir"
