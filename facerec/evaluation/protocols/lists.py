"""Pair lists in text: LFW, CALFW, CPLFW, CFP, AgeDB-30 and plain ones.

Formats: Huang et al. 2007 (LFW `pairs.txt`), Zheng et al. 2017 (CALFW), Zheng & Deng 2018
(CPLFW), Sengupta et al. 2016 (CFP), Moschoglou et al. 2017 (AgeDB).
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from facerec.errors import MissingError, UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.imaging.archives import Source

_YES_NO = {"1": True, "0": False, "-1": False, "true": True, "false": False}


def read_text(path: str | Path) -> str:
    """A text file's content.

    Raises:
        MissingError: it cannot be read.
        UsageError: it is no text.
    """
    try:
        return decode_text(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error


def decode_text(data: bytes, where: str) -> str:
    """UTF-8 text.

    Raises:
        UsageError: it is none; `where` names it.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not a text file") from error


def read_lfw(text: str, where: str, name: str = "lfw") -> PairProtocol:
    """LFW's `pairs.txt`: a heading `folds count`, then per fold `count` lines `name n1 n2` of one
    person and `count` lines `name1 n1 name2 n2` of two.

    Raises:
        UsageError: a line has another form, or the number of lines is not what the heading says.
    """
    lines = text.splitlines()
    heading = lines[0].split() if lines else []
    if len(heading) not in (1, 2) or not all(part.isdigit() for part in heading):
        raise UsageError(f"{where}:1: expected a heading such as '10 300', LFW's folds and pairs")
    folds, count = (1, int(heading[0])) if len(heading) == 1 else map(int, heading)
    pairs = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            pairs.append(_lfw_pair(line, f"{where}:{number}"))
    if len(pairs) != 2 * folds * count:
        raise UsageError(
            f"{where}: the heading says {folds} folds of 2 x {count} pairs, there are {len(pairs)}"
        )
    own = [k // (2 * count) for k in range(len(pairs))] if folds > 1 else None
    return build_protocol(name, pairs, own, where)


def _lfw_pair(line: str, where: str) -> Pair:
    parts = line.split("\t") if "\t" in line else line.split()
    parts = [part.strip() for part in parts]
    if len(parts) == 3:
        parts = [parts[0], parts[1], parts[0], parts[2]]
        same = True
    elif len(parts) == 4:
        same = False
    else:
        raise UsageError(f"{where}: expected 'name n1 n2' or 'name1 n1 name2 n2', not {line!r}")
    if not (parts[1].isdigit() and parts[3].isdigit()):
        raise UsageError(f"{where}: the image numbers are no numbers in {line!r}")
    first, second = (
        f"{person}/{person}_{int(number):04d}.jpg" for person, number in (parts[:2], parts[2:])
    )
    return Pair(first, second, same)


def read_two_line_pairs(text: str, where: str, name: str) -> PairProtocol:
    """CALFW's and CPLFW's lists: two lines `file number` a pair; the number is 0 for two people.

    Raises:
        UsageError: a line has another form, or a pair's lines contradict each other.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not parts[1].isdigit():
            raise UsageError(f"{where}:{number}: expected 'file number', not {line!r}")
        rows.append((parts[0], parts[1] != "0", number))
    if len(rows) % 2:
        raise UsageError(f"{where}: an odd number of lines, but a pair has two")
    pairs = []
    for (first, same, number), (second, also, _) in zip(rows[::2], rows[1::2], strict=True):
        if same != also:
            raise UsageError(f"{where}:{number}: this line and the next disagree on the pair")
        pairs.append(Pair(first, second, same))
    return build_protocol(name, pairs, None, where)


def read_cfp(source: Source, kind: str) -> PairProtocol:
    """CFP's folders: `Protocol/Pair_list_F.txt` and `Pair_list_P.txt` number the images,
    `Split/FF|FP/01..10/same.txt` and `diff.txt` hold lines `i,j`.

    Args:
        kind: `FF`, or `FP`, whose second number is a profile's.

    Raises:
        InputError: a file of the protocol is absent.
        UsageError: a line has another form.
    """
    files = {posixpath.basename(posixpath.dirname(name)) + "/" + posixpath.basename(name): name
             for name in source.names() if name.endswith(".txt")}  # fmt: skip
    frontal = _cfp_images(source, files, "F")
    second = frontal if kind == "FF" else _cfp_images(source, files, "P")
    splits = sorted(
        name for name in source.names() if f"/Split/{kind}/" in f"/{name}" and name.endswith(".txt")
    )
    pairs, folds = [], []
    numbers = sorted({posixpath.dirname(name) for name in splits})
    for name in splits:
        stem = posixpath.splitext(posixpath.basename(name))[0]
        if stem not in ("same", "diff"):
            continue
        for line_number, line in enumerate(_text(source, name).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{name}:{line_number}"
            left, right = _two(line, where)
            pairs.append(
                Pair(_pick(frontal, left, where), _pick(second, right, where), stem == "same")
            )
            folds.append(numbers.index(posixpath.dirname(name)))
    if not pairs:
        raise UsageError(f"{source.name}: holds no Split/{kind}/NN/same.txt and diff.txt")
    return build_protocol(f"cfp-{kind.lower()}", pairs, folds, source.name)


def _cfp_images(source: Source, files: dict[str, str], view: str) -> dict[str, str]:
    name = files.get(f"Protocol/Pair_list_{view}.txt") or files.get(f"/Pair_list_{view}.txt")
    if name is None:
        raise MissingError(f"{source.name}: holds no Protocol/Pair_list_{view}.txt")
    images = {}
    for number, line in enumerate(_text(source, name).splitlines(), start=1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2:
            raise UsageError(f"{name}:{number}: expected 'number path', not {line!r}")
        images[parts[0]] = posixpath.normpath(parts[1].strip()).removeprefix("../")
    return images


def _text(source: Source, name: str) -> str:
    return decode_text(source.read(name), f"{source.name}: {name}")


def _two(line: str, where: str) -> tuple[str, str]:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 2:
        raise UsageError(f"{where}: expected 'i,j', not {line!r}")
    return parts[0], parts[1]


def _pick(images: dict[str, str], number: str, where: str) -> str:
    if number not in images:
        raise UsageError(f"{where}: there is no image number {number}")
    return images[number]


def read_pair_list(text: str, where: str, name: str = "pairs") -> PairProtocol:
    """Lines `image1 image2` or `image1 image2 same`, separated by tabs, commas or spaces.

    Without the third column two images show one person when they lie in the same folder, as in
    `person/photo.jpg`. Lines that begin with `#` are left out.

    Raises:
        UsageError: a line has another form.
    """
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _columns(line)
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
