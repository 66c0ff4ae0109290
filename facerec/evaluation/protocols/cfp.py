"""CFP: celebrities in frontal and profile (Sengupta et al. 2016)."""

from __future__ import annotations

import posixpath
from pathlib import Path

from facerec.errors import MissingError, UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.files.text import decode_text
from facerec.imaging.archives import Source, open_source
from facerec.registry import PROTOCOLS


@PROTOCOLS.register("cfp-ff", help="CFP, frontal with frontal.")
def open_cfp_ff(data: Path) -> tuple[PairProtocol, Source]:
    """See `read_cfp`."""
    source = open_source(data)
    return read_cfp(source, "FF"), source


@PROTOCOLS.register("cfp-fp", help="CFP, frontal with profile.")
def open_cfp_fp(data: Path) -> tuple[PairProtocol, Source]:
    """See `read_cfp`."""
    source = open_source(data)
    return read_cfp(source, "FP"), source


def read_cfp(source: Source, kind: str) -> PairProtocol:
    """CFP's folders: `Pair_list_F.txt` and `Pair_list_P.txt`, in `Protocol/` or anywhere, number
    the images, `Split/FF|FP/01..10/same.txt` and `diff.txt` hold lines `i,j`.

    Args:
        kind: `FF`, or `FP`, whose second number is a profile's.

    Raises:
        InputError: a file of the protocol is absent.
        UsageError: a line has another form.
    """
    frontal = _cfp_images(source, "F")
    second = frontal if kind == "FF" else _cfp_images(source, "P")
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
    name = f"cfp-{kind.lower()}"
    return build_protocol(name, pairs, folds, source.name, person=_person)


def _person(key: str) -> str:
    """Of `001/frontal/01.jpg`."""
    return posixpath.dirname(posixpath.dirname(key))


def _cfp_images(source: Source, view: str) -> dict[str, str]:
    ending = f"/Pair_list_{view}.txt"
    found = [name for name in source.names() if f"/{name}".endswith(ending)]
    if not found:
        raise MissingError(f"{source.name}: holds no Pair_list_{view}.txt")
    name = min(found, key=lambda name: (name.count("/"), name))
    images = {}
    for number, line in enumerate(_text(source, name).splitlines(), start=1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2:
            raise UsageError(f"{name}:{number}: expected 'number path', not {line[:60]!r}")
        images[parts[0]] = posixpath.normpath(parts[1].strip()).removeprefix("../")
    return images


def _text(source: Source, name: str) -> str:
    return decode_text(source.read(name), f"{source.name}: {name}")


def _two(line: str, where: str) -> tuple[str, str]:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 2:
        raise UsageError(f"{where}: expected 'i,j', not {line[:60]!r}")
    return parts[0], parts[1]


def _pick(images: dict[str, str], number: str, where: str) -> str:
    if number not in images:
        raise UsageError(f"{where}: there is no image number {number}")
    return images[number]
