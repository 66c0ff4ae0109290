"""From a path to the examples that lie there."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from facerec.errors import MissingError
from facerec.imaging.archives import open_source
from facerec.imaging.labels import holds_labels
from facerec.imaging.names import expand_braces, is_junk
from facerec.training.data import Examples
from facerec.training.data.recordio import RecordFile
from facerec.training.data.shards import Shards
from facerec.training.data.tree import Tree


def open_examples(where: str | Path) -> Examples:
    """Open a folder per person, a tar or zip of that, `train.rec`, or WebDataset shards.

    Args:
        where: a path; for shards a folder of tars, a pattern such as `faces-*.tar`, or
            `faces-{0000..0127}.tar`.

    Raises:
        MissingError: nothing that can be read is there.
        UsageError: it is a file of another kind.
    """
    path = Path(where)
    if path.suffix == ".rec":
        return RecordFile(path)
    if path.is_dir():
        if (path / "train.rec").is_file():
            return RecordFile(path / "train.rec")
        tars = sorted(tar for tar in path.glob("*.tar") if not is_junk(tar.name))
        return _open_shards(tars) if tars else Tree(open_source(path))
    if not path.exists():
        shards = _expand(str(where))
        if not shards:
            raise MissingError(f"{where}: no training data there")
        return _open_shards(shards)
    source = open_source(path)
    return Shards([source]) if path.suffix == ".tar" and holds_labels(source) else Tree(source)


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
