"""Galleries as HDF5 files, version 1, and the seed project's two older layouts.

Version 1: datasets `embeddings (N, D) float32`, `person (N) int32`, `people (P) str`,
`templates (P, D) float32`, `source (N) str`, `sha256 (N) str`, `box (N, 4)`,
`landmarks (N, 5, 2)`, `score (N)`, `meta (N) str` (a JSON object, or empty); attributes
`facerec_gallery` = 1 and `card` (JSON).
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from facerec.card import ModelCard
from facerec.errors import IncompatibleError, MissingError
from facerec.faces import Floats
from facerec.files import replacing
from facerec.gallery.gallery import Entries, Gallery

VERSION = 1
_VERSION_KEY = "facerec_gallery"
_CHUNK_ROWS = 1024
_TEXT = h5py.string_dtype("utf-8")


def read_gallery(path: Path, assume: ModelCard | None = None) -> Gallery:
    """See `Gallery.open`."""
    if not path.is_file():
        raise MissingError(
            f"{path}: no such gallery; make one with: facerec embed PEOPLE/ -o {path}"
        )
    try:
        with h5py.File(path, "r") as file:
            if _VERSION_KEY not in file.attrs:
                return _read_older(file, path, assume)
            if file.attrs[_VERSION_KEY] != VERSION:
                raise IncompatibleError(
                    f"{path}: gallery version {file.attrs[_VERSION_KEY]}, but this facerec "
                    f"reads version {VERSION}; upgrade facerec"
                )
            card = ModelCard.from_json(file.attrs["card"], str(path))
            people = _texts(file["people"])
            entries = Entries(
                file["embeddings"][:],
                file["person"][:],
                _texts(file["source"]),
                _texts(file["sha256"]),
                file["box"][:],
                file["landmarks"][:],
                file["score"][:],
                _texts(file["meta"])
                if "meta" in file
                else np.full(len(file["person"]), "", object),
            )
    except (OSError, KeyError, ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise MissingError(f"{path}: damaged or no gallery ({_brief(error)})") from error
    problem = find_inconsistency(card, len(people), entries)
    if problem:
        raise MissingError(f"{path}: damaged gallery: {problem}")
    return Gallery(card, people.tolist(), entries)


def write_gallery(path: Path, gallery: Gallery) -> None:
    """See `Gallery.save`."""
    entries = gallery.entries
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[_VERSION_KEY] = VERSION
        file.attrs["card"] = gallery.card.to_json()
        _write(file, "people", np.array(gallery.people, object), _TEXT)
        _write(file, "templates", gallery.templates())
        for name in Entries.__slots__:
            values = getattr(entries, name)
            _write(file, name, values, _TEXT if values.dtype == object else None)


def find_inconsistency(card: ModelCard, people: int, entries: Entries) -> str | None:
    """What contradicts itself in a gallery's columns, or None."""
    rows = len(entries)
    shapes = {
        "embeddings": (rows, card.embedding_size),
        "source": (rows,),
        "sha256": (rows,),
        "box": (rows, 4),
        "landmarks": (rows, 5, 2),
        "score": (rows,),
        "meta": (rows,),
    }
    for name, shape in shapes.items():
        if getattr(entries, name).shape != shape:
            return f"{name} has shape {getattr(entries, name).shape}, expected {shape}"
    if rows and not (entries.person.min() >= 0 and entries.person.max() < people):
        return "a face belongs to nobody"
    norms = np.linalg.norm(entries.embeddings, axis=1)
    if not np.allclose(norms, 1, atol=1e-3):
        return "an embedding is not of unit length"
    return None


def check_templates(path: Path, gallery: Gallery) -> None:
    """Check that a file's stored templates are the means of its embeddings.

    Raises:
        MissingError: they are not.
    """
    with h5py.File(path, "r") as file:
        stored = file["templates"][:] if "templates" in file else None
    if stored is None or not np.array_equal(stored.shape, gallery.templates().shape):
        raise MissingError(f"{path}: damaged gallery: templates are missing or of another shape")
    if not np.allclose(stored, gallery.templates(), atol=1e-5):
        raise MissingError(f"{path}: damaged gallery: templates are not the means of its faces")


def _write(file: h5py.File, name: str, values: np.ndarray, dtype: object = None) -> None:
    chunks = (_CHUNK_ROWS, *values.shape[1:])
    maximum = (None, *values.shape[1:])
    file.create_dataset(name, data=values, dtype=dtype, chunks=chunks, maxshape=maximum)


def _texts(dataset: h5py.Dataset) -> np.ndarray:
    texts: np.ndarray = dataset.asstr()[:].astype(object)
    return texts


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0].strip("'\"")[:120]


def _read_older(file: h5py.File, path: Path, assume: ModelCard | None) -> Gallery:
    """`/person/embedding`, or `/person/<image>/embedding` beside `file_path`."""
    rows = [
        (person, *row)
        for person, group in file.items()
        if isinstance(group, h5py.Group)
        for row in _older_rows(person, group)
    ]
    if not rows:
        raise MissingError(f"{path}: no gallery of facerec's or of an older layout")
    if assume is None:
        raise IncompatibleError(
            f"{path}: an older gallery that does not say which model made it; "
            "convert it with: facerec gallery convert"
        )
    size = assume.embedding_size
    vectors = [np.asarray(vector, np.float32).reshape(-1) for _, _, vector in rows]
    if any(vector.shape != (size,) for vector in vectors):
        raise IncompatibleError(
            f"{path}: its embeddings have {len(vectors[0])} values, {assume.name} makes {size}"
        )
    people = list(dict.fromkeys(person for person, _, _ in rows))
    count = len(rows)
    embeddings: Floats = np.stack(vectors)
    embeddings /= np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    entries = Entries(
        embeddings,
        np.array([people.index(person) for person, _, _ in rows], np.int32),
        np.array([source for _, source, _ in rows], object),
        np.full(count, "", object),
        np.full((count, 4), np.nan, np.float32),
        np.full((count, 5, 2), np.nan, np.float32),
        np.full(count, np.nan, np.float32),
        np.full(count, "", object),
    )
    return Gallery(assume, people, entries)


def _older_rows(person: str, group: h5py.Group) -> list[tuple[str, np.ndarray]]:
    if "embedding" in group:
        values = np.atleast_2d(group["embedding"][()])
        return [(person, vector) for vector in values]
    rows = []
    for name, image in group.items():
        if isinstance(image, h5py.Group) and "embedding" in image:
            source = image["file_path"][()] if "file_path" in image else f"{person}/{name}"
            text = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
            rows.append((text, image["embedding"][()]))
    return rows
