"""Open training data: folders, archives, RecordIO, WebDataset shards, synthetic faces."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from facerec.card import ModelCard
from facerec.errors import FacerecError, MissingError, UsageError
from facerec.files.text import read_text
from facerec.imaging.archives import Source, open_source, photo_names
from facerec.imaging.labels import holds_labels
from facerec.imaging.names import expand_braces, is_archive, is_junk
from facerec.imaging.photos import normalise_person
from facerec.profile.schema import DataSection
from facerec.training.data import Examples
from facerec.training.data.concatenated import Concatenated
from facerec.training.data.fitting import check_aligned
from facerec.training.data.recordio import RecordFile
from facerec.training.data.selection import Selection, select, split
from facerec.training.data.shards import Shards
from facerec.training.data.synthetic import Synthetic
from facerec.training.data.tree import Tree
from facerec.weights.downloads import place_of_data

_READ = (
    "training reads a folder per person, a tar or zip of that, insightface's train.rec, and "
    "WebDataset shards"
)
_UNREAD = {
    ".lst": "a list of MXNet's im2rec",
    ".idx": "the index of a train.rec",
    ".csv": "a table",
    ".tsv": "a table",
    ".mdb": "an LMDB database",
    ".lmdb": "an LMDB database",
    ".parquet": "a Parquet table",
}
"""Training data of other projects, by lower-case suffix."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Examples and which of them are used.

    Attributes:
        examples: all images at the path.
        training: those trained on.
        validation: those held out, of the same people.
    """

    examples: Examples
    training: Selection
    validation: Selection


def open_training_data(
    section: DataSection, card: ModelCard, seed: int, warn: Callable[[str], None],
    downloads: Path | None = None,
) -> TrainingData:  # fmt: skip
    """Open, check and split the profile's training data.

    Args:
        card: of the model; gives the size of synthetic faces and of chips.
        seed: of the split and of synthetic faces.
        warn: called with a message if the faces may not be aligned.
        downloads: a folder that data sets were laid out in, to look in before the store.

    Raises:
        UsageError: no data is given, too few people are left, or the photos are not aligned.
        MissingError: no training data at the path, or the data set is not downloaded.
    """
    if section.synthetic:
        examples: Examples = Synthetic(
            section.synthetic_people, section.synthetic_images,
            card.input_height, card.input_width, seed,
        )  # fmt: skip
    elif not section.train:
        raise UsageError("no training data: give --data, or data.train in the profile")
    else:
        places = [section.train] if isinstance(section.train, str) else section.train
        found = [place_of_data(place, downloads) for place in places]
        examples = _open_sets(found, section.person_level)
    selection = select(examples, people=_read_people(section.people), min_images=section.min_images)
    if section.check_aligned and not section.synthetic:
        side = max(card.input_height, card.input_width)
        warning = check_aligned(examples, selection, side, _prose(section))
        if warning is not None:
            warn(warning)
    return TrainingData(examples, *split(selection, section.validation, seed))


def _open_sets(places: Sequence[str], level: str) -> Examples:
    """The sets at all places, with labels that do not meet.

    Raises:
        UsageError: two places are one.
    """
    known: set[Path] = set()
    for place in places:
        if (real := Path(place).resolve()) in known:
            raise UsageError(f"{place}: given twice; each of its people would be two people")
        known.add(real)
    parts = [open_examples(place, level) for place in places]
    return parts[0] if len(parts) == 1 else Concatenated(parts, places)


def _prose(section: DataSection) -> str:
    """The training data, for messages."""
    return section.train if isinstance(section.train, str) else ", ".join(section.train or ())


def open_examples(where: str | Path, level: str = "auto") -> Examples:
    """Open a folder per person, a tar or zip of that, `train.rec`, or WebDataset shards.

    Args:
        where: a path; for shards a folder of tars with labels, a pattern such as `faces-*.tar`,
            or `faces-{0000..0127}.tar`.
        level: which folder names a person, see `data.person_level`.

    Raises:
        MissingError: no training data at the path.
        UsageError: the file is of another kind.
    """
    path = Path(where)
    if path.suffix == ".rec":
        return RecordFile(path)
    if path.is_dir():
        return _open_folder(path, level)
    if not path.exists():
        shards = _expand(str(where))
        if not shards:
            raise MissingError(f"{where}: no training data there")
        return Shards([open_source(shard) for shard in shards])
    if (kind := _unread_kind(path.name)) is not None:
        raise UsageError(f"{where}: is {kind}; {_READ}")
    source = open_source(path)
    if path.suffix == ".tar" and holds_labels(source):
        return Shards([source])
    return Tree(source, level)


def _expand(pattern: str) -> list[Path]:
    names = expand_braces(pattern)
    if names == [pattern]:
        return [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207  (may be absolute)
    paths = [Path(name) for name in names]
    for path in paths:
        if not path.is_file():
            raise MissingError(f"{path}: no such shard")
    return paths


def _open_folder(folder: Path, level: str) -> Examples:
    if (folder / "train.rec").is_file():
        return RecordFile(folder / "train.rec")
    tars = sorted(path for path in folder.glob("*") if _is_tar(path))
    shards = [open_source(tar) for tar in tars]
    # The archive that a folder per person came from has none.
    if any(map(holds_labels, shards)):
        return Shards(shards)
    source = open_source(folder)
    if not photo_names(source):
        _refuse(folder, source, tars)
    return Tree(source, level)


def _is_tar(path: Path) -> bool:
    packed = is_archive(path.name) and path.suffix.lower() != ".zip"
    return packed and not is_junk(path.name) and path.is_file()


def _refuse(folder: Path, source: Source, tars: Sequence[Path]) -> None:
    """Say why a folder without images is no training data, where that is known.

    Raises:
        MissingError: it holds archives.
        UsageError: it holds training data of a kind that is not read.
    """
    if tars:
        raise MissingError(
            f"{folder}: holds no images in folders, one per person, and its archives "
            f"({tars[0].name}) no labels (.cls or .json) as WebDataset shards do; "
            f"if people have folders inside {tars[0].name}, give that"
        )
    for name in source.names():
        if (kind := _unread_kind(name)) is not None:
            raise UsageError(f"{folder}: holds {name}, {kind}, and no images; {_READ}")


def _unread_kind(name: str) -> str | None:
    """What training data of another kind a file is by its name; None for none."""
    return _UNREAD.get(PurePath(name).suffix.lower())


def _read_people(path: Path | None) -> set[str] | None:
    if path is None:
        return None
    try:
        lines = read_text(path).splitlines()
        return {normalise_person(line.strip()) for line in lines} - {""}
    except FacerecError as error:
        raise UsageError(f"data.people: {error}") from error
