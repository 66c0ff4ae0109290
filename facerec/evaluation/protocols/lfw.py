"""LFW's `pairs.txt` (Huang et al. 2007)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.errors import UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.evaluation.protocols.rows import split_columns
from facerec.faces import Face, Image
from facerec.files.text import counted, decode_text
from facerec.registry import PROTOCOLS

_SIDE = 250
_KAGGLES = ["name", "imagenum1", "imagenum2"]


def only_lfw_face(image: Image, faces: Sequence[Face]) -> list[Face]:
    """The face of the person an image of LFW names, as a `select` of the engine.

    The images were cut around it (Huang et al. 2007, section 3), so it is the one nearest the
    centre, also where another beside it is larger. Images of another size are not LFW's own.
    """
    if image.shape[:2] != (_SIDE, _SIDE):
        return only_central_face(image, faces)
    centre = (_SIDE - 1) / 2
    return [min(faces, key=lambda face: np.hypot(*((face.box[:2] + face.box[2:]) / 2 - centre)))]


@PROTOCOLS.register("lfw", help="LFW: pairs.txt, ten folds.", lists=("pairs.txt", "pairs_LFW.txt"))
def read_lfw(data: bytes, where: str) -> PairProtocol:
    """LFW's `pairs.txt`; see `read_named_pairs`, which raises what this does."""
    return replace(read_named_pairs(data, where, "lfw"), select=only_lfw_face)


def read_named_pairs(data: bytes, where: str, name: str) -> PairProtocol:
    """A list of the form of LFW's `pairs.txt`: a heading `folds count`, then per fold `count` lines
    `name n1 n2` of one person and `count` lines `name1 n1 name2 n2` of two. As Kaggle has it, a CSV
    with the heading `name,imagenum1,imagenum2,` and the same lines in the same order.

    Raises:
        UsageError: a line has another form, or the number of lines is not what the heading says.
    """
    lines = decode_text(data, where).splitlines()
    heading = split_columns(lines[0].strip()) if lines else []
    in_csv = heading[:3] == _KAGGLES
    if not in_csv and (len(heading) not in (1, 2) or not all(map(str.isdigit, heading))):
        raise UsageError(f"{where}:1: expected a heading such as '10 300', LFW's folds and pairs")
    pairs = [
        _lfw_pair(line.strip(), f"{where}:{number}")
        for number, line in enumerate(lines[1:], start=2)
        if line.strip()
    ]
    if in_csv:
        return build_protocol(name, pairs, None, where, person=_person)
    folds, count = (1, int(heading[0])) if len(heading) == 1 else map(int, heading)
    if len(pairs) != 2 * folds * count:
        raise UsageError(
            f"{where}: the heading says {counted(folds, 'fold')} of 2 x {count} pairs, "
            f"there are {len(pairs)}"
        )
    own = [k // (2 * count) for k in range(len(pairs))] if folds > 1 else None
    return build_protocol(name, pairs, own, where, person=_person)


def _person(key: str) -> str:
    return key.split("/")[0]


def _lfw_pair(line: str, where: str) -> Pair:
    parts = split_columns(line)
    if len(parts) == 3 or (len(parts) == 4 and not parts[3]):
        parts = [parts[0], parts[1], parts[0], parts[2]]
        same = True
    elif len(parts) == 4:
        same = False
    else:
        raise UsageError(
            f"{where}: expected 'name n1 n2' or 'name1 n1 name2 n2', not {line[:60]!r}"
        )
    if not (parts[1].isdigit() and parts[3].isdigit()):
        raise UsageError(f"{where}: the image numbers are no numbers in {line[:60]!r}")
    first, second = (
        f"{person}/{person}_{int(number):04d}.jpg" for person, number in (parts[:2], parts[2:])
    )
    return Pair(first, second, same)
