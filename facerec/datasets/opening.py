"""From a path to the examples that lie there."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from facerec.archives import TarSource, open_source
from facerec.datasets import Examples
from facerec.datasets.recordio import RecordFile
from facerec.datasets.shards import Shards
from facerec.datasets.tree import Tree
from facerec.errors import MissingError

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def open_examples(where: str) -> Examples:
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
        tars = sorted(path.glob("*.tar"))
        return _open_shards(tars) if tars else Tree(open_source(path))
    if not path.exists():
        shards = _expand(where)
        if not shards:
            raise MissingError(f"{where}: no training data there")
        return _open_shards(shards)
    source = open_source(path)
    if isinstance(source, TarSource) and _is_shard(source):
        return Shards([source])
    return Tree(source)


def _expand(pattern: str) -> list[Path]:
    found = _BRACES.search(pattern)
    if not found:
        return [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207  (may be absolute)
    first, last = found.groups()
    before, after = pattern[: found.start()], pattern[found.end() :]
    paths = [
        Path(f"{before}{number:0{len(first)}d}{after}")
        for number in range(int(first), int(last) + 1)
    ]
    for path in paths:
        if not path.is_file():
            raise MissingError(f"{path}: no such shard")
    return paths


def _open_shards(paths: Sequence[Path]) -> Shards:
    return Shards([TarSource(path) for path in paths])


def _is_shard(source: TarSource) -> bool:
    labels = (".cls", ".json")
    return source.name.endswith(".tar") and any(name.endswith(labels) for name in source.names())
