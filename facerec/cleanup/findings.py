"""Findings: kinds, evidence, and the files of findings and decisions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from facerec.cleanup.groups import Rows
from facerec.cleanup.photos import Photos
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats
from facerec.files.parsing import parse_json
from facerec.files.text import read_text
from facerec.files.writing import replacing

_NEIGHBOURS = 3
FINDINGS = "findings.jsonl"

Usually = Literal["dirt", "moved", "kept"]


class Kind(str, Enum):
    """The kinds of findings."""

    UNREADABLE = "unreadable"
    NO_FACE = "no-face"
    OVERLAP = "overlap"
    EXACT_DUPLICATE = "exact-duplicate"
    WRONG_PERSON = "wrong-person"
    OUTLIER = "outlier"
    MERGED = "merged"
    SPLIT = "split"
    PERSON = "person"
    OVERLAP_PERSON = "overlap-person"
    NEAR_DUPLICATE = "near-duplicate"
    SEVERAL_FACES = "several-faces"
    TOO_SMALL = "too-small"
    BLURRED = "blurred"
    EXTREME_POSE = "extreme-pose"

    @property
    def usually(self) -> Usually:
        """What becomes of an image without a decision."""
        if self is Kind.PERSON:
            return "moved"
        return "dirt" if self in _DIRT else "kept"

    @property
    def moves(self) -> bool:
        """Whether accepting it moves images to another folder, rather than to the dirt."""
        return self in _MOVES


_DIRT = {
    Kind.UNREADABLE, Kind.NO_FACE, Kind.OVERLAP, Kind.EXACT_DUPLICATE, Kind.WRONG_PERSON,
    Kind.OUTLIER,
}  # fmt: skip
_MOVES = {Kind.WRONG_PERSON, Kind.MERGED, Kind.SPLIT, Kind.PERSON}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with one or more images.

    Attributes:
        kind: the problem.
        files: the images, by path in the tree.
        person: whose folder they are in.
        confidence: in [0, 1]; 0.5 at the decision boundary.
        target: for kinds that move, the folder they should be in; None where people are named by
            their files, which are not renamed.
        evidence: nearest neighbours and figures.
        whose: for kinds that move them to somebody who is there, that person.
    """

    kind: Kind
    files: Sequence[str]
    person: str
    confidence: float
    target: str | None
    evidence: dict[str, Any]
    whose: str | None = None

    @property
    def moves(self) -> bool:
        """Whether accepting it moves images to another folder."""
        return self.kind.moves and self.target is not None

    @property
    def suggestion(self) -> str:
        """What it suggests, in words: `to ann`, `is ann`; "" for nothing."""
        if self.target is None:
            return f"is {self.whose}" if self.whose else ""
        # The top of the tree has no name.
        return f"to {self.target or self.whose}"

    @property
    def id(self) -> str:
        """12 hex digits, stable across runs."""
        key = json.dumps([self.kind.value, sorted(self.files), self.target])
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def to_record(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "person": self.person,
            "files": list(self.files),
            "confidence": round(self.confidence, 4),
            "target": self.target,
            "whose": self.whose,
            "evidence": self.evidence,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Finding:
        """Inverse of `to_record`."""
        names = ("files", "person", "confidence", "target", "evidence")
        # Reports of older versions do not say whose.
        values = [*(record[name] for name in names), record.get("whose")]
        finding = cls(Kind(record["kind"]), *values)
        texts = [*finding.files, finding.person, finding.target or "", finding.whose or ""]
        if isinstance(finding.files, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("a name is no text")
        if not isinstance(finding.confidence, (int, float)):
            raise TypeError("its confidence is no number")
        return finding


def about(
    photos: Photos, kind: Kind, row: int, confidence: float, *, target: str | None = None,
    whose: str | None = None, **evidence: object,
) -> Finding:  # fmt: skip
    """A finding on one image."""
    person = photos.people[photos.person[row]]
    return Finding(kind, [str(photos.file[row])], person, confidence, target, evidence, whose)


def nearest(
    photos: Photos, rows: Rows, vectors: Floats, row: int, among: Rows
) -> list[tuple[str, float]]:
    """The nearest neighbours of an image among some, with their cosines.

    Args:
        rows: the photos' row of each vector.
        vectors: `(N, D) float32`, of which `row` and `among` are rows.
    """
    cosines = vectors[among] @ vectors[row]
    best = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
    return [(str(photos.file[rows[among[n]]]), round(float(cosines[n]), 4)) for n in best]


def beyond(ratio: float) -> float:
    """Confidence by the ratio of a value to its limit: 0.5 at 1, 0.75 at 2, towards 1."""
    return 1.0 - 0.5 / ratio


def write_findings(report: Path, findings: Sequence[Finding]) -> None:
    """Write `findings.jsonl`, atomically."""
    with replacing(report / FINDINGS) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(finding.to_record()) + "\n" for finding in findings)


def read_findings(report: Path) -> list[Finding]:
    """Inverse of `write_findings`.

    Raises:
        MissingError: the file is absent or damaged.
    """
    path = report / FINDINGS
    try:
        lines = read_text(path).splitlines()
        return [Finding.from_record(parse_json(line)) for line in lines]
    except (UsageError, ValueError, KeyError, TypeError) as error:
        raise MissingError(f"{path}: damaged ({error})") from error


def read_decisions(path: Path, findings: Sequence[Finding]) -> dict[str, bool]:
    """Decisions exported from the report: by finding's id, whether it was accepted.

    Raises:
        UsageError: the file is absent, holds no decisions, or decides on findings of another
            report.
    """
    try:
        decisions = parse_json(read_text(path))["decisions"]
        chosen = {name: {"accept": True, "reject": False}[word] for name, word in decisions.items()}
    except MissingError as error:
        raise UsageError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: no decisions that a cleanup report exported") from error
    unknown = chosen.keys() - {finding.id for finding in findings}
    if unknown:
        raise UsageError(f"{path}: belongs to another report (no finding {min(unknown)} here)")
    return chosen
