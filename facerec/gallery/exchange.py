"""Galleries in formats that other programs read: protobuf, npz, CSV, Parquet and the seed's HDF5.

All but the last hold a row per face (person, source, sha256, meta, score, box, landmarks,
embedding, quality) and the model card. An exported gallery is imported unchanged, vectors to the
bit.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facerec.card import ModelCard
from facerec.errors import IncompatibleError, MissingError, NoCardError, UsageError
from facerec.files.parsing import MALFORMED, brief
from facerec.files.protobuf import new_message, parse_message
from facerec.files.text import marked_encoding, readable
from facerec.files.writing import replacing
from facerec.gallery.entries import Base, Entries, format_meta, parse_meta
from facerec.gallery.files.backend import Gallery
from facerec.gallery.files.hdf5 import find_inconsistency
from facerec.gallery.people import check_name
from facerec.gallery.seed import read_arrays, write_seed_h5
from facerec.imaging.photos import normalise_person

ENDINGS = {"protobuf": ".pb", "npz": ".npz", "csv": ".csv", "parquet": ".parquet"}
OTHER_ENDINGS = {".protobuf": "protobuf"}
"""Read, and written where they are asked for; egcode/facerec's examples name its files so."""
SEED_ENDINGS = {"seed-h5": ".h5"}
"""Written for egcode/facerec alone: `facerec gallery convert` reads them."""
_CARD_KEY = "facerec.card"
_NUMBERS = ("score", "box", "landmarks", "embeddings", "quality")
_SCALARS = ("score", "quality")
_TEXTS = ("names", "source", "sha256", "meta")

_CSV_TEXTS = ("person", *_TEXTS[1:])

_Advance = Callable[[int], None]
_Columns = dict[str, Any]
"""`names`, `source`, `sha256`, `meta`: sequences of N str; the numbers as in `Entries`. An older
file lacks `meta` or `quality`."""


def export_gallery(
    gallery: Gallery,
    path: str | Path,
    form: str,
    advance: Callable[[int], None] = lambda _: None,
    *,
    per_person: bool = False,
) -> None:
    """Write a gallery in one of `ENDINGS` or `SEED_ENDINGS`, atomically.

    Args:
        per_person: one entry a person, the mean of theirs, instead of one a face.
        advance: progress callback, with the number of entries written.

    Raises:
        MissingError: the format is Parquet, and pyarrow is not installed.
        UsageError: the place cannot be written.
    """
    if form in SEED_ENDINGS:
        write_seed_h5(gallery, Path(path), per_person, advance)
        return
    if per_person:
        gallery = _means(gallery)
    entries, people = gallery.entries, gallery.people
    columns: _Columns = {
        "names": [people[number] for number in entries.person],
        # Most formats hold valid Unicode alone.
        "source": [readable(source) for source in entries.source],
        "sha256": entries.sha256.tolist(),
        "meta": entries.meta.tolist(),
        **{name: getattr(entries, name) for name in _NUMBERS},
    }
    _WRITERS[form](Path(path), columns, gallery.card, advance)


def _means(gallery: Gallery) -> Gallery:
    """The same people, each with their template alone."""
    people = gallery.people
    count = len(people)
    return Gallery(
        gallery.card,
        people,
        Entries(
            gallery.templates(),
            np.arange(count, dtype=np.int32),
            np.array(people, object),
            np.full(count, "", object),
            np.full((count, 4), np.nan, np.float32),
            np.full((count, 5, 2), np.nan, np.float32),
            np.full(count, np.nan, np.float32),
            np.full(count, np.nan, np.float32),
            np.full(count, "", object),
        ),
    )


def import_gallery(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    assume: ModelCard | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Gallery:
    """Read what `export_gallery` wrote in one of `ENDINGS`, or a protobuf file or pair of `.npy`
    files of the seed project.

    Args:
        labels: of `.npy` embeddings, the names; None: found beside it.
        assume: the card for a file that carries none.
        advance: progress callback, with the number of entries read.

    Raises:
        UsageError: the file's ending is no known one, or `labels` are given to another than `.npy`.
        MissingError: the file is absent or damaged.
        NoCardError: it carries no card, and none is assumed.
        IncompatibleError: it carries vectors of another size than the card's.
    """
    path = Path(path)
    forms = {ending: form for form, ending in ENDINGS.items()} | OTHER_ENDINGS
    ending = path.suffix.lower()
    if ending in SEED_ENDINGS.values():
        raise UsageError(f"{path}: an older HDF5 gallery is read by facerec gallery convert")
    if ending not in (*forms, ".npy"):
        raise UsageError(f"{path}: the ending says the format: {', '.join(forms)}, .npy")
    if labels is not None and ending != ".npy":
        raise UsageError(f"--labels: {path.name} has its names inside")
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    try:
        if ending == ".npy":
            columns, text = _read_arrays(path, labels, advance), None
        else:
            columns, text = _READERS[forms[ending]](path, advance)
        card = _known_card(path, text, assume)
        entries, people = _entries(columns)
    except MALFORMED as error:
        raise MissingError(f"{path}: damaged, or no gallery ({brief(error)})") from error
    if entries.embeddings.shape[1] != card.embedding_size:
        raise IncompatibleError(
            f"{path}: its embeddings have {entries.embeddings.shape[1]} values, "
            f"{card.name} makes {card.embedding_size}"
        )
    problem = find_inconsistency(card, Base.of(people, entries))
    if problem:
        raise MissingError(f"{path}: damaged gallery: {problem}")
    for person in people:
        check_name(person)
    return Gallery(card, people, entries)


def _known_card(path: Path, text: str | None, assume: ModelCard | None) -> ModelCard:
    if text is not None:
        return ModelCard.from_json(text, str(path))
    if assume is None:
        raise NoCardError(f"{path}: does not say which model made it")
    return assume.for_gallery()


def _entries(columns: _Columns) -> tuple[Entries, list[str]]:
    names = [normalise_person(str(name)) for name in columns["names"]]
    if not names:
        raise ValueError("it holds no faces")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    rows = len(names)
    entries = Entries(
        np.asarray(columns["embeddings"], np.float32).reshape(rows, -1),
        np.array([numbers[name] for name in names], np.int32),
        np.array([str(value) for value in columns["source"]], object),
        np.array([str(value) for value in columns["sha256"]], object),
        np.asarray(columns["box"], np.float32).reshape(rows, 4),
        np.asarray(columns["landmarks"], np.float32).reshape(rows, 5, 2),
        np.asarray(columns["score"], np.float32).reshape(rows),
        np.asarray(columns.get("quality", [np.nan] * rows), np.float32).reshape(rows),
        np.array([_checked(value) for value in columns.get("meta", [""] * rows)], object),
    )
    return entries, list(numbers)


def _checked(meta: object) -> str:
    return format_meta(parse_meta(str(meta)))


def _read_arrays(path: Path, labels: str | Path | None, advance: _Advance) -> _Columns:
    names, vectors = read_arrays(path, None if labels is None else Path(labels))
    rows = len(names)
    advance(rows)
    return {
        "names": names,
        # Two faces of one person are two entries.
        "source": [f"{path.name}:{row}" for row in range(rows)],
        "sha256": [""] * rows,
        "score": np.full(rows, np.nan),
        "box": np.full((rows, 4), np.nan),
        "landmarks": np.full((rows, 10), np.nan),
        "embeddings": vectors,
    }


def _write_npz(path: Path, columns: _Columns, card: ModelCard, advance: _Advance) -> None:
    # An array of texts takes the longest one's room for each, and a note may have any length.
    meta = np.array("\n".join(columns["meta"]))
    arrays: dict[str, Any] = {name: np.array(columns[name], str) for name in _TEXTS[:-1]}
    arrays |= {"meta": meta} | {name: columns[name] for name in _NUMBERS}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, card=np.array(card.to_json()), **arrays)
    advance(len(columns["names"]))


def _read_npz(path: Path, advance: _Advance) -> tuple[_Columns, str | None]:
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in (*_TEXTS, *_NUMBERS) if name in file}
        if "meta" in columns and not columns["meta"].ndim:
            columns["meta"] = str(columns["meta"]).split("\n")
        advance(len(columns["names"]))
        return columns, str(file["card"])


def _number_columns(size: int, *, quality: bool) -> list[str]:
    return [
        "score",
        *("x1", "y1", "x2", "y2"),
        *(f"landmark{point}_{axis}" for point in range(1, 6) for axis in "xy"),
        *(f"e{index}" for index in range(size)),
        *(("quality",) if quality else ()),
    ]


def _as_rows(column: Any) -> Any:
    """A column of numbers `(N, …)`, also of none, as `(N, K)`."""
    return column.reshape(len(column), math.prod(column.shape[1:]))


def _write_csv(path: Path, columns: _Columns, card: ModelCard, advance: _Advance) -> None:
    numbers = np.concatenate([_as_rows(columns[name]) for name in _NUMBERS], axis=1)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        # A spreadsheet shows the card in its first row; CSV readers skip comments. With a space
        # after each comma no cell of it begins with a quotation mark, which would be lost there.
        spaced = json.dumps(json.loads(card.to_json()), ensure_ascii=False)
        file.write(f"# {_CARD_KEY} {spaced}\n")
        writer = csv.writer(file, lineterminator="\n")
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow([*_CSV_TEXTS, *_number_columns(card.embedding_size, quality=True)])
        for row, values in enumerate(numbers):
            texts = [columns[name][row] for name in _TEXTS]
            # Before Python 3.13 a carriage return alone gets no quotes, and ends the row.
            chosen = quoting if any("\r" in text for text in texts) else writer
            # The shortest digits that give the same float32.
            chosen.writerow([*texts, *map(str, values)])
            advance(1)


def _read_csv(path: Path, advance: _Advance) -> tuple[_Columns, str | None]:
    with path.open("rb") as raw:
        encoding, skipped = marked_encoding(raw.read(4))
        end = "\n".encode(encoding)
        raw.seek(-len(end), os.SEEK_END)
        if raw.read() != end:
            raise ValueError("the last row is cut off")
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding, newline="") as file:
        raw.seek(skipped)
        start = file.readline()
        text = _card_of(start)
        # What is known of a person has any length.
        csv.field_size_limit(2**31 - 1)
        reader = csv.reader(file)
        header = next(reader, []) if text is not None else next(csv.reader([start]), [])
        rows = []
        for row in reader:
            rows.append(row)
            advance(1)
    count = 4 if header[3:4] == ["meta"] else 3
    quality = header[-1:] == ["quality"]
    size = len(header) - count - 15 - quality
    if size < 1 or header != [*_CSV_TEXTS[:count], *_number_columns(size, quality=quality)]:
        raise ValueError("other columns than a gallery's")
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row is cut off")
    # pandas leaves a cell of NaN empty.
    cells = [[cell or "nan" for cell in row[count:]] for row in rows]
    numbers = np.array(cells, np.float32).reshape(len(rows), -1)
    texts = {name: [row[index] for row in rows] for index, name in enumerate(_TEXTS[:count])}
    parts = np.split(numbers, [1, 5, 15, 15 + size], axis=1)
    return texts | dict(zip(_NUMBERS if quality else _NUMBERS[:-1], parts, strict=False)), text


def _card_of(line: str) -> str | None:
    """The model card that a CSV's first line holds, also as a spreadsheet has written it anew: with
    quotes, and a comma for each column."""
    mark = f"# {_CARD_KEY} "
    if not line.startswith(mark):
        line = ",".join(next(csv.reader([line]), [])).rstrip(",")
    return line.removeprefix(mark).strip() if line.startswith(mark) else None


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingError(
            f"{path}: pyarrow is not installed; pip install 'facerec[parquet]'"
        ) from error
    return pyarrow


def _write_parquet(path: Path, columns: _Columns, card: ModelCard, advance: _Advance) -> None:
    pyarrow = _pyarrow(path)
    rows = len(columns["names"])
    arrays: dict[str, Any] = {
        name: pyarrow.array(columns[name], pyarrow.string()) for name in _TEXTS
    }
    for name in _NUMBERS:
        flat = np.ascontiguousarray(_as_rows(columns[name]))
        values = pyarrow.array(flat.reshape(-1), pyarrow.float32())
        arrays[name] = (
            values
            if name in _SCALARS
            else pyarrow.FixedSizeListArray.from_arrays(values, flat.shape[1])
        )
    table = pyarrow.table(arrays).replace_schema_metadata({_CARD_KEY: card.to_json()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    advance(rows)


def _read_parquet(path: Path, advance: _Advance) -> tuple[_Columns, str | None]:
    pyarrow = _pyarrow(path)
    table = pyarrow.parquet.read_table(path)
    text = (table.schema.metadata or {}).get(_CARD_KEY.encode())
    columns: _Columns = {
        name: table[name].to_pylist() for name in _TEXTS if name in table.column_names
    }
    for name in (name for name in _NUMBERS if name in table.column_names):
        column = table[name].combine_chunks()
        flat = column if name in _SCALARS else column.flatten()
        columns[name] = flat.to_numpy(zero_copy_only=False)
    advance(len(table))
    return columns, text.decode() if text is not None else None


def _dataset_message() -> Any:
    """The seed's `DatasetObject { repeated FaceObject faceobjects = 1 }` and
    `FaceObject { name = 1; repeated double embeddings = 2 [packed] }` (package `dataset_faces`),
    with fields that its own readers skip."""
    from google.protobuf import descriptor_pb2

    field = descriptor_pb2.FieldDescriptorProto
    text, double, message = field.TYPE_STRING, field.TYPE_DOUBLE, field.TYPE_MESSAGE
    file = descriptor_pb2.FileDescriptorProto(
        name="face_dataset.proto", package="dataset_faces", syntax="proto2"
    )
    face = file.message_type.add(name="FaceObject")
    face.field.add(name="name", number=1, type=text, label=field.LABEL_REQUIRED)
    numbers = {"embeddings": 2, "box": 5, "landmarks": 6, "score": 7, "quality": 9}
    for name, number in numbers.items():
        added = face.field.add(name=name, number=number, type=double, label=field.LABEL_REPEATED)
        added.options.packed = True
    for name, number in {"source": 3, "sha256": 4, "meta": 8}.items():
        face.field.add(name=name, number=number, type=text, label=field.LABEL_OPTIONAL)
    dataset = file.message_type.add(name="DatasetObject")
    dataset.field.add(
        name="faceobjects",
        number=1,
        type=message,
        label=field.LABEL_REPEATED,
        type_name=".dataset_faces.FaceObject",
    )
    dataset.field.add(name="card", number=2, type=text, label=field.LABEL_OPTIONAL)
    return new_message(file, "dataset_faces.DatasetObject")


def _write_protobuf(path: Path, columns: _Columns, card: ModelCard, advance: _Advance) -> None:
    dataset = _dataset_message()
    dataset.card = card.to_json()
    for row, name in enumerate(columns["names"]):
        face = dataset.faceobjects.add(
            name=name,
            source=columns["source"][row],
            sha256=columns["sha256"][row],
            meta=columns["meta"][row],
        )
        for key in _NUMBERS:
            getattr(face, key).extend(np.atleast_1d(columns[key][row]).reshape(-1).tolist())
        advance(1)
    with replacing(path) as temporary:
        temporary.write_bytes(dataset.SerializeToString())


def _read_protobuf(path: Path, advance: _Advance) -> tuple[_Columns, str | None]:
    dataset = _dataset_message()
    parse_message(dataset, path.read_bytes())
    faces = dataset.faceobjects
    columns: _Columns = {
        "names": [face.name for face in faces],
        # The seed's has none.
        "source": [face.source if face.HasField("source") else face.name for face in faces],
        "sha256": [face.sha256 for face in faces],
        "meta": [face.meta for face in faces],
        "score": [list(face.score) or [np.nan] for face in faces],
        "box": [list(face.box) or [np.nan] * 4 for face in faces],
        "landmarks": [list(face.landmarks) or [np.nan] * 10 for face in faces],
        "quality": [list(face.quality) or [np.nan] for face in faces],
    }
    vectors = np.array([list(face.embeddings) for face in faces], np.float64)
    if not dataset.card and len(vectors):
        # The seed does not normalise; vectors exported with a card keep their bits.
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    columns["embeddings"] = vectors
    advance(len(faces))
    return columns, dataset.card or None


_WRITERS: Mapping[str, Callable[[Path, _Columns, ModelCard, _Advance], None]] = {
    "protobuf": _write_protobuf,
    "npz": _write_npz,
    "csv": _write_csv,
    "parquet": _write_parquet,
}
_READERS: Mapping[str, Callable[[Path, _Advance], tuple[_Columns, str | None]]] = {
    "protobuf": _read_protobuf,
    "npz": _read_npz,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
