"""AgeDB-30 (Moschoglou et al. 2017): its own MATLAB file, or a text list."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from facerec.errors import UsageError
from facerec.evaluation.protocols.lfw import read_named_pairs
from facerec.evaluation.protocols.pair_list import read_pair_list
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.files.parsing import MALFORMED
from facerec.files.text import decode_text
from facerec.registry import PROTOCOLS


@PROTOCOLS.register(
    "agedb",
    help="AgeDB-30: its MATLAB file or a text list.",
    lists=("04_FINAL_protocol_30_years.mat", "agedb_30_pair.txt", "agedb_30_pairs.txt"),
)
def read_agedb(data: bytes, where: str) -> PairProtocol:
    """`04_FINAL_protocol_30_years.mat`, an LFW-like list with a heading, or a plain pair list.

    Args:
        data: the file's content.
        where: its name, whose ending tells the MATLAB file.

    Raises:
        UsageError: it has none of these forms.
    """
    if where.lower().endswith(".mat"):
        return _read_mat(data, where)
    heading = decode_text(data, where).split("\n", 1)[0].split()
    if len(heading) == 2 and all(part.isdigit() for part in heading):
        return read_named_pairs(data, where, "agedb")
    return read_pair_list(data, where, "agedb")


def _read_mat(data: bytes, where: str) -> PairProtocol:
    """`splits`: ten cells, each two rows of cells `(name, age)`; a pair is a column, and shows
    one person when both names begin alike (`Name_...` before the first underscore)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(io.BytesIO(data))
    except (*MALFORMED, MatReadError) as error:
        raise UsageError(f"{where}: not a MATLAB file of version 5 to 7.2") from error
    if "splits" not in content:
        raise UsageError(f"{where}: holds no variable 'splits', AgeDB's pairs")
    pairs, folds = [], []
    for fold, cell in enumerate(content["splits"].ravel()):
        columns = _unwrap(cell)
        if not (isinstance(columns, np.ndarray) and columns.ndim == 2 and len(columns) == 2):
            raise UsageError(f"{where}: split {fold + 1} does not have two rows")
        for first, second in zip(columns[0], columns[1], strict=True):
            names = _name(first), _name(second)
            people = [name.split("_")[0] for name in names]
            pairs.append(Pair(f"{names[0]}.jpg", f"{names[1]}.jpg", people[0] == people[1]))
            folds.append(fold)
    return build_protocol("agedb", pairs, folds, where)


def _unwrap(value: Any) -> Any:
    """The first value inside nested one-element cells and structs."""
    while isinstance(value, np.void) or (isinstance(value, np.ndarray) and value.size == 1):
        value = value[0] if isinstance(value, np.void) else value.reshape(-1)[0]
    return value


def _name(value: Any) -> str:
    return str(_unwrap(value))
