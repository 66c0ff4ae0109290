"""The plan: where each image goes, by findings and decisions."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from facerec.cleanup.findings import Finding
from facerec.files.output_names import safe_name

Decisions = Mapping[str, bool]
"""By finding's id: accepted (True) or rejected (False)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one image goes.

    Attributes:
        path: the image's file.
        sha256: its hash; empty if it cannot be read.
        file: its path in the dirty tree.
        decision: `clean` or `dirt`.
        to: its path in that tree.
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
    """Place every image.

    Dirt takes precedence over moves, which only say where an image goes: who accepts a group does
    not accept the strangers and duplicates in it. Among either, accepted findings come first, then
    the surest. Rejected findings are ignored. A name already taken in the new folder gets a number,
    also where only case or Unicode normalisation differ, as on some file systems they are equal.

    Args:
        images: path, hash and path in the tree of each.
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
            if chosen.target is not None and _is_move(chosen, decisions):
                to = _free_place(chosen.target, file.rpartition("/")[2], taken)
                placement = replace(placement, to=to)
            else:
                placement = replace(placement, decision="dirt")
        placements.append(placement)
    return placements


def _deciding(findings: Sequence[Finding], decisions: Decisions) -> Finding | None:
    accepted = [finding for finding in findings if decisions.get(finding.id)]
    # One that was accepted and has nowhere to move images to changes nothing.
    stuck = [finding for finding in accepted if finding.kind.moves and not finding.moves]
    accepted = [finding for finding in accepted if finding not in stuck]
    undecided = [finding for finding in findings if finding.id not in decisions] + stuck
    candidates = (
        [finding for finding in accepted if not finding.kind.moves]
        or [finding for finding in undecided if finding.kind.usually == "dirt"]
        or accepted
        or [finding for finding in undecided if finding.kind.usually == "moved"]
    )
    return max(candidates, key=lambda f: (f.confidence, f.id), default=None)


def _is_move(finding: Finding, decisions: Decisions) -> bool:
    return finding.moves and (decisions.get(finding.id) or finding.kind.usually == "moved")


def _fold(file: str) -> str:
    return unicodedata.normalize("NFC", file).casefold()


def _free_place(folder: str, name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    start = f"{folder}/" if folder else ""
    place, number = f"{start}{name}", 2
    while _fold(place) in taken:
        numbered = f"{stem or suffix}-{number}{dot if stem else ''}{suffix if stem else ''}"
        place = f"{start}{safe_name(numbered)}"
        number += 1
    taken.add(_fold(place))
    return place
