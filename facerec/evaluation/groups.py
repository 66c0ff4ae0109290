"""Demographic groups: figures by group, and the gap between groups."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facerec.errors import UsageError
from facerec.evaluation.metrics import supported_fars, tar_at_far
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import Verification, percent, rate_name
from facerec.files.text import read_text


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Figures of the pairs whose two images belong to one group.

    Rates are at the whole set's thresholds, as in recognition; a rate is None without pairs of that
    kind.

    Attributes:
        name: the group.
        pairs: how many.
        accuracy: share of right decisions.
        far: share of impostor pairs accepted at the whole set's threshold for `at`.
        tar: share of genuine pairs accepted there.
    """

    name: str
    pairs: int
    accuracy: float
    far: float | None
    tar: float | None


@dataclass(frozen=True, slots=True)
class GroupTable:
    """Figures per group.

    Attributes:
        groups: by name.
        at: the whole set's false-accept rate, whose threshold is used.
        gap: best minus worst accuracy.
        outside: pairs of two groups, or with an image of no group.
    """

    groups: tuple[GroupFigures, ...]
    at: float
    gap: float
    outside: int

    def record(self) -> dict[str, Any]:
        """As a JSON object, rates in percent."""
        return {
            "at_far": rate_name(self.at),
            "gap": percent(self.gap),
            "outside": self.outside,
            "groups": {
                group.name: {
                    "pairs": group.pairs,
                    "accuracy": percent(group.accuracy),
                    "far": None if group.far is None else percent(group.far),
                    "tar": None if group.tar is None else percent(group.tar),
                }
                for group in self.groups
            },
        }


def read_groups(path: str | Path) -> dict[str, str]:
    """A CSV of two columns: an image or a person, and the group; a heading is skipped.

    Raises:
        MissingError: the file cannot be read.
        UsageError: a line has fewer than two columns, or a name is in two groups.
    """
    groups: dict[str, str] = {}
    for number, row in enumerate(csv.reader(io.StringIO(read_text(path))), start=1):
        if not row:
            continue
        if len(row) < 2 or not row[1].strip():
            raise UsageError(f"{path}:{number}: expected 'image or person,group'")
        name, group = row[0].strip(), row[1].strip()
        if number == 1 and group.lower() == "group":
            continue
        if groups.setdefault(name, group) != group:
            raise UsageError(f"{path}:{number}: {name} is in {groups[name]} already")
    return groups


def group_figures(
    result: Verification, protocol: PairProtocol, groups: Mapping[str, str]
) -> GroupTable:
    """Split the pairs by the group of their images.

    Args:
        groups: group by image (as the protocol names it, or its file name) or by person (a
            folder that the image lies in, the nearest first).

    Raises:
        UsageError: no pair lies within a group.
    """
    names = [_group_of(key, groups) for key in protocol.keys]
    first = np.array([names[k] or "" for k in protocol.pairs[:, 0]])
    second = np.array([names[k] or "" for k in protocol.pairs[:, 1]])
    inside = (first == second) & (first != "")
    if not inside.any():
        raise UsageError("--groups: no pair has both images in one group")
    at = min((f for f in supported_fars(result.curve.impostor_total) if f >= 1e-3), default=1e-1)
    threshold = tar_at_far(result.curve, at).threshold
    accepted = result.similarities >= threshold
    figures = []
    for name in np.unique(first[inside]):
        rows = inside & (first == name)
        genuine, impostor = rows & result.same, rows & ~result.same
        figures.append(
            GroupFigures(
                str(name),
                int(rows.sum()),
                float(result.correct[rows].mean()),
                float(accepted[impostor].mean()) if impostor.any() else None,
                float(accepted[genuine].mean()) if genuine.any() else None,
            )
        )
    accuracies = [figure.accuracy for figure in figures]
    return GroupTable(tuple(figures), at, max(accuracies) - min(accuracies), int((~inside).sum()))


def _group_of(key: str, groups: Mapping[str, str]) -> str | None:
    folder = posixpath.dirname(key)
    # The person's folder may hold one for each view.
    names = (key, posixpath.basename(key), folder, *reversed(folder.split("/")))
    return next((groups[name] for name in names if name in groups), None)
