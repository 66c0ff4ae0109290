"""Files of the project egcode/facerec that are not facerec's own: HDF5 and NumPy arrays.

HDF5 (`app/export_embeddings.py`, `dataset_cleanup/export_dataset_embeddings.py`): a group per
person, in it `embedding`, the mean; or a group per image with `embedding` and the attribute
`file_path`, the person's number in the attribute `label`. Arrays
(`app_old/export_embeddings_npy.py`): `(N, D)` embeddings in one `.npy`, the N names in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from facerec.errors import MissingError, UsageError
from facerec.faces import Floats
from facerec.files.text import counted, readable
from facerec.files.writing import replacing
from facerec.gallery.files.backend import Gallery

_LABELS = ("label_strings", "labels_strings", "labels")


def write_seed_h5(
    gallery: Gallery, path: Path, per_person: bool, advance: Callable[[int], None]
) -> None:
    """Write the seed's HDF5, atomically.

    Args:
        per_person: the mean of each person's vectors, as its recognition reads; else a group per
            face, as its cleanup reads.
        advance: progress callback, with the number of entries written.

    Raises:
        UsageError: the place cannot be written.
    """
    entries = gallery.entries
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        for number, person in enumerate(gallery.people):
            rows = np.flatnonzero(entries.person == number)
            group = file.create_group(person)
            if per_person:
                mean = entries.embeddings[rows].astype(np.float64).mean(axis=0)
                group.create_dataset("embedding", data=mean)
            else:
                group.attrs["label"] = number
                sources = [readable(str(entries.source[row])) for row in rows]
                for row, source, name in zip(rows, sources, _image_names(sources), strict=True):
                    image = group.create_group(name)
                    image.create_dataset("embedding", data=entries.embeddings[row])
                    image.attrs["file_path"] = np.bytes_(source.encode())
            advance(len(rows))


def _image_names(sources: list[str]) -> Iterator[str]:
    """File names, numbered where two are alike."""
    taken: set[str] = set()
    for source in sources:
        path = Path(source)
        name, number = path.name or "face", 2
        while name in taken:
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        taken.add(name)
        yield name


def read_arrays(path: Path, labels: Path | None) -> tuple[list[str], Floats]:
    """Names and unit vectors `(N, D) float32` of the seed's pair of `.npy` files.

    Args:
        path: the embeddings.
        labels: the names; None: beside it, as the seed calls them (`embeddings_arr.npy` and
            `label_strings_arr.npy`), or the only array of as many texts there.

    Raises:
        MissingError: a file is absent or damaged, or they do not belong together.
        UsageError: no names are found.
    """
    vectors = _load(path)
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not len(vectors):
        raise MissingError(f"{path}: not an array of embeddings, but {_prose(vectors)}")
    if labels is None:
        labels = _find_labels(path, len(vectors))
    names = _load(labels)
    if not _are_names(names):
        raise MissingError(f"{labels}: not an array of names, but {_prose(names)}")
    if len(names) != len(vectors):
        raise MissingError(
            f"{labels}: {counted(len(names), 'name')} for {counted(len(vectors), 'embedding')}"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            for name in names.tolist()], unit  # fmt: skip


def _find_labels(path: Path, count: int) -> Path:
    for word in _LABELS:
        named = path.with_name(path.name.replace("embeddings", word))
        if named != path and named.is_file():
            return named
    fitting = []
    for other in sorted(path.parent.glob("*.npy")):
        try:
            names = _load(other) if other != path else None
        except MissingError:
            continue
        if names is not None and _are_names(names) and len(names) == count:
            fitting.append(other)
    if len(fitting) != 1:
        raise UsageError(f"{path}: no one file of {count} names beside it; give --labels FILE")
    return fitting[0]


def _are_names(values: np.ndarray) -> bool:
    return values.ndim == 1 and values.dtype.kind in "US"


def _load(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(f"{path}: no array that can be read safely ({reason[:120]})") from error
    if not isinstance(values, np.ndarray):
        raise MissingError(f"{path}: an archive of arrays, not one")
    return values


def _prose(values: np.ndarray) -> str:
    return f"{values.dtype} {'x'.join(map(str, values.shape))}"
