"""Open training data: folders, archives, RecordIO, WebDataset shards, synthetic faces."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facerec.card import ModelCard
from facerec.errors import FacerecError, MissingError, UsageError
from facerec.files.text import read_text
from facerec.imaging.archives import open_source
from facerec.imaging.labels import holds_labels
from facerec.imaging.names import expand_braces, is_junk
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
        where: a path; for shards a folder of tars, a pattern such as `faces-*.tar`, or
            `faces-{0000..0127}.tar`.
        level: which folder names a person, see `data.person_level`.

    Raises:
        MissingError: no training data at the path.
        UsageError: the file is of another kind.
    """
    path = Path(where)
    if path.suffix == ".rec":
        return RecordFile(path)
    if path.is_dir():
        if (path / "train.rec").is_file():
            return RecordFile(path / "train.rec")
        tars = sorted(tar for tar in path.glob("*.tar") if not is_junk(tar.name))
        return _open_shards(tars) if tars else Tree(open_source(path), level)
    if not path.exists():
        shards = _expand(str(where))
        if not shards:
            raise MissingError(f"{where}: no training data there")
        return _open_shards(shards)
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


def _open_shards(paths: Sequence[Path]) -> Shards:
    return Shards([open_source(path) for path in paths])


def _read_people(path: Path | None) -> set[str] | None:
    if path is None:
        return None
    try:
        lines = read_text(path).splitlines()
        return {normalise_person(line.strip()) for line in lines} - {""}
    except FacerecError as error:
        raise UsageError(f"data.people: {error}") from error
