"""From a protocol's name and the place of its data to pairs and images."""

from __future__ import annotations

import posixpath
from pathlib import Path

from facerec.errors import MissingError, UsageError
from facerec.evaluation.protocols.agedb import read_agedb
from facerec.evaluation.protocols.bin import read_bin
from facerec.evaluation.protocols.lists import (
    decode_text,
    read_cfp,
    read_lfw,
    read_pair_list,
    read_two_line_pairs,
)
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.imaging.archives import Source, open_source

LISTS = {
    "lfw": ("pairs.txt",),
    "calfw": ("pairs_CALFW.txt",),
    "cplfw": ("pairs_CPLFW.txt",),
    "agedb": ("04_FINAL_protocol_30_years.mat", "agedb_30_pair.txt", "agedb_30_pairs.txt"),
    "pairs": ("pairs.txt", "pairs.csv"),
}
"""Where each protocol's list of pairs is within its data, unless `--pairs` names it."""

PROTOCOLS = ("lfw", "calfw", "cplfw", "cfp-ff", "cfp-fp", "agedb", "bin", "pairs")


def open_protocol(
    name: str, data: str | Path, pairs: str | Path | None
) -> tuple[PairProtocol, Source]:
    """Open a verification protocol.

    Args:
        name: one of `PROTOCOLS`.
        data: a folder, a tar or a zip; for `bin` the file itself.
        pairs: the list of pairs, for the protocols in `LISTS`.

    Raises:
        MissingError: a file is absent.
        UsageError: a file has another form.
    """
    if pairs is not None and name not in LISTS:
        raise UsageError(f"--pairs: {name} brings its own pairs in --data")
    if name == "bin":
        return read_bin(data)
    source = open_source(data)
    if name in ("cfp-ff", "cfp-fp"):
        return read_cfp(source, name[-2:].upper()), source
    content, where = _read_list(name, source, pairs)
    if name == "agedb":
        return read_agedb(content, where), source
    text = decode_text(content, where)
    if name == "lfw":
        return read_lfw(text, where), source
    if name == "pairs":
        return read_pair_list(text, where), source
    return read_two_line_pairs(text, where, name), source


def _read_list(name: str, source: Source, pairs: str | Path | None) -> tuple[bytes, str]:
    if pairs is not None:
        try:
            return Path(pairs).read_bytes(), str(pairs)
        except OSError as error:
            raise MissingError(f"{pairs}: {error.strerror}") from error
    for found in sorted(source.names(), key=lambda file: (file.count("/"), file)):
        if posixpath.basename(found) in LISTS[name]:
            return source.read(found), f"{source.name}: {found}"
    raise MissingError(f"{source.name}: holds no {' or '.join(LISTS[name])}; name it with --pairs")
