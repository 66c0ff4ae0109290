"""Where every image goes, from the findings and what a person decided on them."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from facerec.cleanup.findings import Finding

Decisions = Mapping[str, bool]
"""By a finding's id: accepted (True) or rejected (False)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of one image.

    Attributes:
        path: where the image is.
        sha256: its hash; empty when it could not be read.
        file: its place in the dirty tree.
        decision: `clean` or `dirt`.
        to: its place in that tree.
        reason: the kind of finding that decided, "" for none.
        score: that finding's confidence; 0 for none.
    """

    path: str
    sha256: str
    file: str
    decision: str
    to: str
    reason: str = ""
    score: float = 0.0


def plan(
    images: Sequence[tuple[str, str, str]], findings: Sequence[Finding], decisions: Decisions
) -> list[Placement]:
    """Decide on every image.

    A finding that was accepted decides before one that was not looked at; of either, dirt comes
    before a move, and the surest finding gives the reason. A rejected finding decides nothing. A
    name that is taken in its new folder gets a number, also where only case or Unicode form
    differ, which some file systems take for one name.

    Args:
        images: path, hash and place in the tree of each.
    """
    about: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        for file in finding.files:
            about[file].append(finding)
    taken = {_fold(file) for _, _, file in images}
    placements = []
    for path, sha256, file in images:
        placement = Placement(path, sha256, file, "clean", file)
        chosen = _deciding(about[file], decisions)
        if chosen is not None:
            placement = replace(placement, reason=chosen.kind.value, score=chosen.confidence)
            if chosen.kind.moves and (decisions.get(chosen.id) or chosen.kind.usually == "moved"):
                to = _free_place(chosen.target or "", file.rpartition("/")[2], taken)
                placement = replace(placement, to=to)
            else:
                placement = replace(placement, decision="dirt")
        placements.append(placement)
    return placements


def _deciding(findings: Sequence[Finding], decisions: Decisions) -> Finding | None:
    accepted = [finding for finding in findings if decisions.get(finding.id)]
    usual = [f for f in findings if f.kind.usually != "kept" and f.id not in decisions]
    candidates = accepted or usual
    if not candidates:
        return None
    return max(candidates, key=lambda f: (not f.kind.moves, f.confidence, f.id))


def _fold(file: str) -> str:
    return unicodedata.normalize("NFC", file).casefold()


def _free_place(folder: str, name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    start = f"{folder}/" if folder else ""
    place, number = f"{start}{name}", 2
    while _fold(place) in taken:
        place = f"{start}{stem or suffix}-{number}{dot if stem else ''}{suffix if stem else ''}"
        number += 1
    taken.add(_fold(place))
    return place
