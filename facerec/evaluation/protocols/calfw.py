"""CALFW and CPLFW: cross-age and cross-pose LFW, in one kind of list.

Zheng et al. 2017; Zheng & Deng 2018.
"""

from __future__ import annotations

from facerec.errors import UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.files.text import decode_text
from facerec.registry import PROTOCOLS


@PROTOCOLS.register("calfw", help="CALFW: pairs_CALFW.txt.", lists=("pairs_CALFW.txt",))
def read_calfw(data: bytes, where: str) -> PairProtocol:
    """`pairs_CALFW.txt`.

    Raises:
        UsageError: a line has another form, or a pair's lines contradict each other.
    """
    return _read_two_lines(data, where, "calfw")


@PROTOCOLS.register("cplfw", help="CPLFW: pairs_CPLFW.txt.", lists=("pairs_CPLFW.txt",))
def read_cplfw(data: bytes, where: str) -> PairProtocol:
    """`pairs_CPLFW.txt`, as `read_calfw`."""
    return _read_two_lines(data, where, "cplfw")


def _read_two_lines(data: bytes, where: str, name: str) -> PairProtocol:
    """Two lines `file number` a pair; the number is 0 for two people."""
    rows = []
    for number, line in enumerate(decode_text(data, where).splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdigit():
            raise UsageError(f"{where}:{number}: expected 'file number', not {line[:60]!r}")
        rows.append((parts[0], parts[1] != "0", number))
    if len(rows) % 2:
        raise UsageError(f"{where}: an odd number of lines, but a pair has two")
    pairs = []
    for (first, same, number), (second, also, _) in zip(rows[::2], rows[1::2], strict=True):
        if same != also:
            raise UsageError(f"{where}:{number}: this line and the next disagree on the pair")
        pairs.append(Pair(first, second, same))
    return build_protocol(name, pairs, None, where)
