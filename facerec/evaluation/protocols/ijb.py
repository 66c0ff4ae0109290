"""IJB-B and IJB-C: templates of several images, compared 1:1 and searched 1:N.

Two layouts are read, told apart by their files. NIST's own (Whitelam et al. 2017, Maze et al.
2018): `*_1N_gallery_*.csv` and `*_1N_probe_mixed.csv` with the columns TEMPLATE_ID, SUBJECT_ID,
FILENAME and FACE_X, FACE_Y, FACE_WIDTH, FACE_HEIGHT, and `*_11_*_matches.csv` with pairs of
templates. insightface's: `*_face_tid_mid.txt` with lines `image template medium`,
`*_template_pair_label.txt` with lines `template template same`, and optionally
`*_name_5pts_score.txt` with lines `image x1 y1 … x5 y5 score` and the same gallery and probe files,
of which two columns are used.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.files.text import decode_text
from facerec.imaging.archives import Source

Region = tuple[float, float, float, float]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TemplateList:
    """Templates and whom they show.

    Attributes:
        name: the list's file.
        templates: `(T,) int64`.
        subjects: `(T,) int64`.
    """

    name: str
    templates: Ints
    subjects: Ints


@dataclass(frozen=True, slots=True, eq=False)
class TemplateProtocol:
    """Templates of images, the pairs to compare and the galleries to search.

    Attributes:
        keys: one unique name per image.
        files: the file of each key.
        regions: where in its file the face of a key is, x, y, width, height in pixels.
        landmarks: the face's `(5, 2) float32` by key, of all images or none.
        image_templates: `(I,) int64`, the template of each image.
        media: `(I,) int64`, the medium of each image.
        scores: `(I,) float32`, how much each image counts within its medium.
        pairs: `(N, 2) int64` templates to compare; empty without a list of pairs.
        same: `(N,) bool`.
        galleries: each is searched on its own.
        probes: None without a list.
    """

    keys: tuple[str, ...]
    files: tuple[str, ...]
    regions: Mapping[str, Region]
    landmarks: Mapping[str, Floats]
    image_templates: Ints
    media: Ints
    scores: Floats
    pairs: Ints
    same: NDArray[np.bool_]
    galleries: tuple[TemplateList, ...]
    probes: TemplateList | None


@dataclass(frozen=True, slots=True)
class _Image:
    file: str
    template: int
    subject: int
    region: Region | None


def read_ijb(source: Source) -> TemplateProtocol:
    """Read either layout.

    Raises:
        UsageError: it holds neither, or a line has another form.
    """
    names = sorted(source.names())
    galleries = [name for name in names if "_1N_gallery" in name and name.endswith(".csv")]
    probes = [name for name in names if "_1N_probe_mixed" in name and name.endswith(".csv")]
    media = [name for name in names if name.endswith("_face_tid_mid.txt")]
    if media:
        return _read_insightface(source, names, media[0], galleries, probes)
    if not galleries or not probes:
        raise UsageError(
            f"{source.name}: holds neither *_1N_gallery_*.csv and *_1N_probe_mixed.csv nor "
            "*_face_tid_mid.txt"
        )
    return _read_nist(source, names, galleries, probes)


def _read_nist(
    source: Source, names: list[str], galleries: list[str], probes: list[str]
) -> TemplateProtocol:
    images = {name: list(_images(_text(source, name), name)) for name in (*galleries, probes[0])}
    lists = {name: _template_list(name, images[name]) for name in images}
    # A template may be in several lists; its images are embedded once.
    rows = {(image.file, image.region, image.template): image
            for name in images for image in images[name]}.values()  # fmt: skip
    subject = {image.template: image.subject for image in rows}
    pairs = np.empty((0, 2), dtype=np.int64)
    matches = [name for name in names if "_11_" in name and name.endswith("_matches.csv")]
    if matches:
        pairs = _numbers(source.read(matches[0]), matches[0], 2)
        unknown = set(np.unique(pairs).tolist()) - subject.keys()
        if unknown:
            raise UsageError(
                f"{matches[0]}: template {min(unknown)} is in no gallery or probe list"
            )
    subjects = np.array([[subject[int(t)] for t in pair] for pair in pairs]).reshape(-1, 2)
    keys = tuple(_key(image) for image in rows)
    media: dict[str, int] = {}
    return TemplateProtocol(
        keys=keys,
        files=tuple(image.file for image in rows),
        regions={
            key: image.region
            for key, image in zip(keys, rows, strict=True)
            if image.region is not None
        },
        landmarks={},
        image_templates=np.array([image.template for image in rows], dtype=np.int64),
        media=np.array(
            [media.setdefault(_medium(image.file), len(media)) for image in rows], dtype=np.int64
        ),
        scores=np.ones(len(rows), np.float32),
        pairs=pairs,
        same=subjects[:, 0] == subjects[:, 1],
        galleries=tuple(lists[name] for name in galleries),
        probes=lists[probes[0]],
    )


def _read_insightface(
    source: Source, names: list[str], media: str, galleries: list[str], probes: list[str]
) -> TemplateProtocol:
    rows = [line.split() for line in _text(source, media).splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 or not (row[1].isdigit() and row[2].isdigit()):
            raise UsageError(f"{media}:{number}: expected 'image template medium'")
    lists = [name for name in names if name.endswith("_template_pair_label.txt")]
    table = (
        _numbers(source.read(lists[0]), lists[0], 3) if lists else np.empty((0, 3), dtype=np.int64)
    )
    searched = {
        name: _template_list(name, list(_images(_text(source, name), name)))
        for name in (*galleries, *probes[:1])
    }
    files = tuple(row[0] for row in rows)
    points = [name for name in names if name.endswith("_name_5pts_score.txt")]
    found = _points(_text(source, points[0]), points[0]) if points else {}
    if points and (absent := [file for file in files if file not in found]):
        raise UsageError(f"{points[0]}: holds no {absent[0]}")
    return TemplateProtocol(
        keys=files,
        files=files,
        regions={},
        landmarks={file: found[file][:10].reshape(5, 2) for file in files if points},
        image_templates=np.array([row[1] for row in rows], dtype=np.int64),
        media=np.array([row[2] for row in rows], dtype=np.int64),
        scores=np.array([found[file][10] if points else 1 for file in files], np.float32),
        pairs=table[:, :2],
        same=table[:, 2] == 1,
        galleries=tuple(searched[name] for name in galleries) if probes else (),
        probes=searched[probes[0]] if probes else None,
    )


def _points(text: str, name: str) -> dict[str, Floats]:
    """Five points and the detector's score, `(11,) float32`, by image."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        image, *columns = line.split()
        try:
            values = np.array(columns, np.float32)
        except ValueError:
            values = np.empty(0, np.float32)
        if len(values) != 11 or not np.isfinite(values).all():
            raise UsageError(f"{name}:{number}: expected an image, five points and a score")
        found[image] = values
    return found


def _images(text: str, name: str) -> Iterator[_Image]:
    """The rows of a gallery or probe file; a file without FILENAME lists templates only."""
    reader = csv.DictReader(io.StringIO(text))
    heading = {column.strip().upper(): column for column in reader.fieldnames or ()}
    if "TEMPLATE_ID" not in heading or "SUBJECT_ID" not in heading:
        raise UsageError(f"{name}:1: expected the columns TEMPLATE_ID and SUBJECT_ID")
    sides = [heading.get(side) for side in ("FACE_X", "FACE_Y", "FACE_WIDTH", "FACE_HEIGHT")]
    for row in reader:
        try:
            region = tuple(float(row[side]) for side in sides if side is not None)
            yield _Image(
                (row[heading["FILENAME"]] or "") if "FILENAME" in heading else "",
                int(row[heading["TEMPLATE_ID"]]),
                int(row[heading["SUBJECT_ID"]]),
                region if len(region) == 4 else None,
            )
        except (ValueError, TypeError) as error:
            raise UsageError(f"{name}:{reader.line_num}: a number is missing or none") from error


def _template_list(name: str, images: list[_Image]) -> TemplateList:
    subjects = {image.template: image.subject for image in images}
    return TemplateList(
        posixpath.basename(name),
        np.array(list(subjects), dtype=np.int64),
        np.array(list(subjects.values()), dtype=np.int64),
    )


def _numbers(data: bytes, name: str, columns: int) -> Ints:
    """A headless table of whole numbers; IJB-C's list of pairs has 15.7 million lines."""
    text = decode_text(data, name).replace(",", " ").replace("\r", "")
    try:
        values = np.fromstring(text, dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise UsageError(f"{name}: not a table of numbers") from error
    lines = text.count("\n") + (not text.endswith("\n"))
    if not len(values) or len(values) != columns * lines:
        raise UsageError(f"{name}: expected {columns} whole numbers in each line")
    return values.reshape(-1, columns)


def _key(image: _Image) -> str:
    if image.region is None:
        return f"{image.file}@{image.template}"
    return f"{image.file}#{','.join(f'{side:g}' for side in image.region)}@{image.template}"


def _medium(file: str) -> str:
    """A still is its own medium; frames `frames/VIDEO_NUMBER.png` share their video's."""
    folder, name = posixpath.split(file)
    return f"{folder}/{name.split('_')[0]}" if "frames" in folder.split("/") else file


def _text(source: Source, name: str) -> str:
    return decode_text(source.read(name), f"{source.name}: {name}")
