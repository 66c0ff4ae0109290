"""Verification protocols: which pairs of images are compared, in which folds."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerec.alignment.warp import only_central_face
from facerec.engine.pool import Select
from facerec.errors import MissingError, UsageError
from facerec.imaging.archives import Source, open_source
from facerec.registry import PROTOCOLS

FOLDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class PairProtocol:
    """Which pairs of images are compared.

    Attributes:
        name: the protocol's, such as `lfw`.
        keys: the distinct images, as the protocol names them.
        pairs: `(N, 2) int64` rows of `keys`.
        same: `(N,) bool`, true where both images show one person.
        folds: `(N,) int64`, from 0; all 0 if there are too few pairs.
        people: the person of each image; None where the protocol names none.
        select: picks the face of an image that shows several.
    """

    name: str
    keys: tuple[str, ...]
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]
    people: tuple[str, ...] | None = None
    select: Select = only_central_face


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a protocol."""

    first: str
    second: str
    same: bool


def open_protocol(
    name: str, data: str | Path, pairs: str | Path | None, level: str = "auto"
) -> tuple[PairProtocol, Source]:
    """Open a verification protocol and its images.

    Readers are registered in `PROTOCOLS`. One with `lists`, names of its list of pairs within the
    data, is called with that file's bytes and name and returns the pairs; one `by_folder`, where
    folders say who is who, with `level` too. One without `lists` is called with the path of the
    data and returns the pairs and the source of the images.

    Args:
        name: a registered protocol.
        data: a folder, a tar or a zip; or a `.bin` file, which brings the pairs itself, as
            insightface packs every set.
        pairs: the list of pairs, in place of the one in the data.
        level: which folder names a person, see `data.person_level`.

    Raises:
        MissingError: a file is absent, or the protocol is unknown.
        UsageError: a file has another form.
    """
    entry = PROTOCOLS.get(name)
    packed = Path(data).suffix.lower() == ".bin" and not Path(data).is_dir()
    if "lists" in entry.facts and not packed:
        source = open_source(data)
        content, where = _read_list(entry.facts["lists"], source, pairs)
        more = {"level": level} if entry.facts.get("by_folder") else {}
        return entry.target(content, where, **more), source
    if pairs is not None:
        raise UsageError(f"--pairs: {name} brings its own pairs in --data")
    reader = PROTOCOLS.get("bin") if packed else entry
    protocol, source = reader.target(data)
    return replace(protocol, name=name) if reader is not entry else protocol, source


def _read_list(names: Sequence[str], source: Source, pairs: str | Path | None) -> tuple[bytes, str]:
    if pairs is not None:
        try:
            return Path(pairs).read_bytes(), str(pairs)
        except OSError as error:
            raise MissingError(f"{pairs}: {error.strerror}") from error
    for found in sorted(source.names(), key=lambda file: (file.count("/"), file)):
        if posixpath.basename(found) in names:
            return source.read(found), f"{source.name}: {found}"
    raise MissingError(f"{source.name}: holds no {' or '.join(names)}; name it with --pairs")


def build_protocol(
    name: str, pairs: Sequence[Pair], folds: Sequence[int] | None, where: str,
    person: Callable[[str], str] | None = None,
) -> PairProtocol:  # fmt: skip
    """Assemble a protocol from its pairs.

    Args:
        folds: the protocol's own; None: ten equal blocks in the order given, as insightface does,
            or, if a block would hold one kind only, ten blocks of each kind.
        where: the file, for errors.
        person: who an image shows, where its name says so.

    Raises:
        UsageError: there are no pairs.
    """
    if not pairs:
        raise UsageError(f"{where}: holds no pairs")
    numbers: dict[str, int] = {}
    indices = np.array(
        [
            (numbers.setdefault(p.first, len(numbers)), numbers.setdefault(p.second, len(numbers)))
            for p in pairs
        ],
        dtype=np.int64,
    )
    same = np.array([pair.same for pair in pairs])
    chosen = split_folds(same) if folds is None else np.asarray(folds, dtype=np.int64)
    people = tuple(map(person, numbers)) if person is not None else None
    return PairProtocol(name, tuple(numbers), indices, same, chosen, people)


def split_folds(same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Ten folds (fewer if a kind has fewer pairs) that each hold both kinds.

    Returns:
        `(N,) int64`.
    """
    smaller = min(np.count_nonzero(same), np.count_nonzero(~same))
    count = int(np.clip(smaller, 1, FOLDS))
    folds = _blocks(len(same), count)
    if any(len(np.unique(same[folds == fold])) < 2 for fold in range(count)):
        for kind in (same, ~same):
            folds[kind] = _blocks(int(np.count_nonzero(kind)), count)
    return folds


def _blocks(length: int, count: int) -> NDArray[np.int64]:
    sizes = [len(part) for part in np.array_split(np.arange(length), count)]
    return np.repeat(np.arange(count), sizes)
