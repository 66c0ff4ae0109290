"""Plain lists of pairs."""

from __future__ import annotations

import posixpath

from facerec.errors import UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.registry import PROTOCOLS
from facerec.text import decode_text

_YES_NO = {"1": True, "0": False, "-1": False, "true": True, "false": False}


@PROTOCOLS.register(
    "pairs",
    help="Any list: two images a line, and 1 for the same person or 0.",
    lists=("pairs.txt", "pairs.csv"),
)
def read_pair_list(data: bytes, where: str, name: str = "pairs") -> PairProtocol:
    """Lines `image1 image2` or `image1 image2 same`, separated by tabs, commas or spaces.

    Without the third column two images show one person when they lie in the same folder, as in
    `person/photo.jpg`. Lines that begin with `#` are skipped.

    Raises:
        UsageError: a line has another form.
    """
    pairs = []
    for number, line in enumerate(decode_text(data, where).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _columns(line.strip())
        where_line = f"{where}:{number}"
        if len(parts) == 3 and parts[2].lower() in _YES_NO:
            same = _YES_NO[parts[2].lower()]
        elif len(parts) == 2:
            same = _same_folder(parts[0], parts[1], where_line)
        else:
            raise UsageError(f"{where_line}: expected 'image1 image2 [0|1]', not {line!r}")
        pairs.append(Pair(parts[0], parts[1], same))
    return build_protocol(name, pairs, None, where)


def _columns(line: str) -> list[str]:
    for separator in ("\t", ","):
        if separator in line:
            return [part.strip() for part in line.split(separator)]
    return line.split()


def _same_folder(first: str, second: str, where: str) -> bool:
    folders = posixpath.dirname(first), posixpath.dirname(second)
    if not all(folders):
        raise UsageError(
            f"{where}: two columns need person/photo paths; add a third, 1 for one person"
        )
    return folders[0] == folders[1]
