"""Galleries as HDF5 files, version 1, and the seed project's two older layouts.

Version 1: datasets `embeddings (N, D) float32`, `person (N) int32`, `people (P) str`,
`templates (P, D) float32`, `source (N) str`, `sha256 (N) str`, `box (N, 4)`,
`landmarks (N, 5, 2)`, `score (N)`, `quality (N)` (absent in older files), `meta (N) int32` into
`metas (M) str` (JSON objects, or empty);
attributes `facerec_gallery` = 1, `card` (JSON), `id` and `folds` (see `files.backend`).
Numbers and fixed-length texts are contiguous, so that they are memory-mapped, not read.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np

from facerec.card import ModelCard
from facerec.errors import IncompatibleError, MissingError, NoCardError
from facerec.faces import Floats
from facerec.files.parsing import MALFORMED, brief
from facerec.files.writing import replacing
from facerec.gallery.entries import Base, Entries, as_bytes, as_texts, fits_padded, parse_meta
from facerec.gallery.memory import MemoryGallery
from facerec.gallery.search.exact import forget_pages
from facerec.imaging.photos import normalise_person

VERSION = 1
ALIGNED = {"alignment_threshold": 1024, "alignment_interval": 64}
"""Alignment of columns in the file: NumPy copies a mapped array that is not aligned."""
_VERSION_KEY = "facerec_gallery"
_ROWS = 1 << 16
_CHECKED, _RUNS = 4096, 64
"""Vectors checked when a file is opened, and the runs they are sampled in."""
_MOST_COMPRESSION, _ALWAYS_READ = 64, 1 << 24
"""Bytes that a dataset may take in memory: so many times the file's, and so many more."""
_TEXT = h5py.string_dtype("utf-8")
_FLOATS = ("embeddings", "box", "landmarks", "score", "quality")
_NUMBERS = (*_FLOATS, "person", "meta")
_TEXTS = ("source", "sha256")


class Opened(NamedTuple):
    """A gallery file's content and identity.

    Attributes:
        card: of the model that made the vectors.
        base: the columns, memory-mapped.
        identity: of this file; empty in an older file.
        folds: the identity of the file whose journal this one contains.
    """

    card: ModelCard
    base: Base
    identity: str
    folds: str


def read_gallery(path: Path, assume: ModelCard | None = None) -> Opened:
    """See `Gallery.open`."""
    if not path.is_file():
        raise MissingError(
            f"{path}: no such gallery; make one with: facerec embed PEOPLE/ -o {path}"
        )
    try:
        with path.open("rb") as raw, h5py.File(raw, "r") as file:
            if _VERSION_KEY not in file.attrs:
                return Opened(*_read_older(file, path, assume), "", "")
            if file.attrs[_VERSION_KEY] != VERSION:
                raise IncompatibleError(
                    f"{path}: gallery version {file.attrs[_VERSION_KEY]}, but this facerec "
                    f"reads version {VERSION}; upgrade facerec"
                )
            card = ModelCard.from_json(file.attrs["card"], str(path))
            base = _read_base(file, _content(raw))
            identity, folds = (str(file.attrs.get(key, "")) for key in ("id", "folds"))
    except MALFORMED as error:
        raise MissingError(f"{path}: damaged or no gallery ({brief(error)})") from error
    problem = find_inconsistency(card, base, rows=_CHECKED)
    if problem:
        raise MissingError(f"{path}: damaged gallery: {problem}")
    forget_pages(base.embeddings)
    return Opened(card, base, identity, folds)


def write_gallery(
    path: Path,
    gallery: MemoryGallery,
    identity: str,
    folds: str,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a whole gallery atomically, in blocks of rows.

    Args:
        advance: progress callback, with the number of entries written.

    Raises:
        UsageError: the place cannot be written.
    """
    numbers = gallery.numbers()
    count, size = len(gallery), gallery.card.embedding_size
    with replacing(path) as temporary, h5py.File(temporary, "w", **ALIGNED) as file:
        file.attrs[_VERSION_KEY] = VERSION
        file.attrs["card"] = gallery.card.to_json()
        file.attrs["id"] = identity
        file.attrs["folds"] = folds
        _write_texts(file, "people", [as_bytes(gallery.people)])
        templates = file.create_dataset("templates", (len(numbers), size), np.float32)
        for first in range(0, len(numbers), _ROWS):
            some = numbers[first : first + _ROWS]
            templates[first : first + _ROWS] = gallery.templates_of(some)
        shapes = {"embeddings": (size,), "box": (4,), "landmarks": (5, 2)}
        for name in _NUMBERS:
            kind = np.int32 if name in ("person", "meta") else np.float32
            file.create_dataset(name, (count, *shapes.get(name, ())), kind)
        codes: dict[str, int] = {}
        texts: dict[str, list[np.ndarray]] = {name: [] for name in _TEXTS}
        first = 0
        for entries in gallery.blocks(_ROWS):
            rows = slice(first, first + len(entries))
            for name in _FLOATS:
                file[name][rows] = getattr(entries, name)
            file["person"][rows] = np.searchsorted(numbers, entries.person)
            file["meta"][rows] = [codes.setdefault(text, len(codes)) for text in entries.meta]
            for name in _TEXTS:
                texts[name].append(as_bytes(getattr(entries, name).tolist()))
            first += len(entries)
            advance(len(entries))
        for name in _TEXTS:
            _write_texts(file, name, texts.pop(name))
        _write_texts(file, "metas", [as_bytes(list(codes))])


def find_inconsistency(
    card: ModelCard,
    base: Base,
    *,
    rows: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> str | None:
    """What is inconsistent in a gallery's columns, or None.

    Args:
        rows: check the norms of at most so many vectors, in evenly spaced runs: the page cache
            reads up to 2 MiB around each; None: of all.
        advance: progress callback, with the number of vectors checked.
    """
    count = len(base)
    shapes = {
        "embeddings": (count, card.embedding_size),
        "source": (count,),
        "sha256": (count,),
        "box": (count, 4),
        "landmarks": (count, 5, 2),
        "score": (count,),
        "quality": (count,),
        "meta": (count,),
    }
    for name, shape in shapes.items():
        if getattr(base, name).shape != shape:
            return f"{name} has shape {getattr(base, name).shape}, expected {shape}"
    if count and not (base.person.min() >= 0 and base.person.max() < len(base.people)):
        return "a face belongs to nobody"
    if count and not (base.meta.min() >= 0 and base.meta.max() < len(base.metas)):
        return "a face has metadata that are not there"
    templates = base.templates
    if templates is not None and templates.shape != (len(base.people), card.embedding_size):
        return "templates are missing or of another shape"
    length, starts = _ROWS, range(0, count, _ROWS)
    if rows is not None and rows < count:
        length = rows // _RUNS
        starts = range(0, count - length + 1, (count - length) // (_RUNS - 1))
    for first in starts:
        some = base.embeddings[first : first + length]
        if not np.allclose(np.linalg.norm(some, axis=1), 1, atol=1e-3):
            return "an embedding is not of unit length"
        advance(len(some))
    return None


def check_gallery(
    path: Path, gallery: MemoryGallery, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Check every vector of a file, that its templates are the means of its embeddings, and that
    its metadata can be read.

    Args:
        advance: progress callback, with the number of vectors checked.

    Raises:
        MissingError: something is wrong.
    """
    base = gallery.base
    problem = find_inconsistency(gallery.card, base, advance=advance)
    if problem is None:
        means = MemoryGallery.of_base(gallery.card, replace(base, templates=None)).templates()
        if base.templates is None or base.templates.shape != means.shape:
            problem = "templates are missing or of another shape"
        elif not np.allclose(base.templates, means, atol=1e-5):
            problem = "templates are not the means of its faces"
    if problem:
        raise MissingError(f"{path}: damaged gallery: {problem}")
    for text in base.metas:
        try:
            parse_meta(text)
        except MissingError as error:
            raise MissingError(f"{path}: damaged gallery: {error}") from error


def _content(file: BinaryIO) -> mmap.mmap | bytes:
    """A file's bytes, memory-mapped; on Windows, which replaces no mapped file, read."""
    if sys.platform == "win32":
        file.seek(0)
        return file.read()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read_base(file: h5py.File, mapped: mmap.mmap | bytes) -> Base:
    people = _column(file, "people", mapped)
    known = [name for name in (*_NUMBERS[:-1], *_TEXTS) if name != "quality" or name in file]
    numbers = {name: _column(file, name, mapped) for name in known}
    numbers.setdefault("quality", np.full(len(numbers["person"]), np.nan, np.float32))
    if "metas" in file:
        meta, metas = _column(file, "meta", mapped), _column(file, "metas", mapped)
    else:
        meta, metas = np.zeros(len(numbers["person"]), np.int32), np.array([""], object)
    return Base(
        people=people if people.dtype.kind == "S" else as_bytes(people.tolist()),
        templates=_column(file, "templates", mapped) if "templates" in file else None,
        meta=meta,
        metas=as_texts(metas).tolist(),
        **numbers,
    )


def _column(file: h5py.File, name: str, mapped: mmap.mmap | bytes) -> np.ndarray:
    """A dataset's values: memory-mapped if it is contiguous, else read."""
    dataset = _own_dataset(file, name, len(mapped))
    if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O":
        texts: np.ndarray = dataset.asstr()[:].astype(object)
        return texts
    offset = dataset.id.get_offset()
    if offset is None or not dataset.size:
        values: np.ndarray = dataset[:]
        return values
    if offset + dataset.id.get_storage_size() > len(mapped):
        raise ValueError(f"{dataset.name} is cut off")
    flat = np.frombuffer(mapped, dataset.dtype, dataset.size, offset)
    return flat.reshape(dataset.shape)


def _own_dataset(group: h5py.Group, name: str, size: int) -> h5py.Dataset:
    """A dataset whose values lie in this file, and fit into it.

    Args:
        size: the file's, in bytes.

    Raises:
        ValueError: it is none.
    """
    linked = not isinstance(group.get(name, getlink=True), h5py.HardLink)
    if linked:
        raise ValueError(f"{name} is missing, or a link")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} is no dataset of this file")
    if dataset.nbytes > _MOST_COMPRESSION * size + _ALWAYS_READ:
        raise ValueError(f"{name} claims {dataset.nbytes:,} bytes")
    return dataset


def _write_texts(file: h5py.File, name: str, parts: Sequence[np.ndarray]) -> None:
    count = sum(map(len, parts))
    kind = _TEXT
    if fits_padded(parts):
        longest = max((part.dtype.itemsize for part in parts), default=1)
        kind = h5py.string_dtype("utf-8", longest)
    dataset = file.create_dataset(name, (count,), kind)
    first = 0
    for part in parts:
        values = as_texts(part) if kind is _TEXT else part.astype(f"S{kind.itemsize}").view(kind)
        dataset[first : first + len(part)] = values
        first += len(part)


def _read_older(file: h5py.File, path: Path, assume: ModelCard | None) -> tuple[ModelCard, Base]:
    """`/person/embedding`, or `/person/<image>/embedding` with `file_path`, an attribute of the
    image's group (the seed's own) or a dataset in it."""
    rows = [
        (normalise_person(person), *row)
        for person, group in file.items()
        if isinstance(group, h5py.Group)
        for row in _older_rows(person, group, path.stat().st_size)
    ]
    if not rows:
        raise MissingError(f"{path}: no gallery of facerec's or of an older layout")
    if assume is None:
        raise NoCardError(
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
        np.full(count, np.nan, np.float32),
        np.full(count, "", object),
    )
    return assume.for_gallery(), Base.of(people, entries)


def _older_rows(person: str, group: h5py.Group, size: int) -> list[tuple[str, np.ndarray]]:
    if "embedding" in group:
        values = np.atleast_2d(_own_dataset(group, "embedding", size)[()])
        return [(person, vector) for vector in values]
    rows = []
    for name, image in group.items():
        if isinstance(image, h5py.Group) and "embedding" in image:
            source = image.attrs.get("file_path", f"{person}/{name}")
            source = image["file_path"][()] if "file_path" in image else source
            text = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
            rows.append((text, _own_dataset(image, "embedding", size)[()]))
    return rows
