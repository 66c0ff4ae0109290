"""What can be wrong with images, and what follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

Usually = Literal["dirt", "moved", "kept"]


class Kind(str, Enum):
    """A kind of finding, in the order in which reasons are given."""

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
        """What becomes of an image unless a person decides."""
        if self is Kind.PERSON:
            return "moved"
        return "dirt" if self in _DIRT else "kept"

    @property
    def moves(self) -> bool:
        """Whether accepting it moves images to another folder instead of to the dirt."""
        return self in _MOVES


_DIRT = {
    Kind.UNREADABLE, Kind.NO_FACE, Kind.OVERLAP, Kind.EXACT_DUPLICATE, Kind.WRONG_PERSON,
    Kind.OUTLIER,
}  # fmt: skip
_MOVES = {Kind.WRONG_PERSON, Kind.MERGED, Kind.SPLIT, Kind.PERSON}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    Attributes:
        kind: what.
        files: the images concerned, by their place in the tree.
        person: whose folder they are in.
        confidence: in [0, 1]; 0.5 where the decision could as well fall the other way.
        target: for kinds that move, the folder they should be in.
        evidence: nearest neighbours and figures.
    """

    kind: Kind
    files: Sequence[str]
    person: str
    confidence: float
    target: str | None
    evidence: dict[str, Any]

    @property
    def id(self) -> str:
        """12 hex digits that the same finding has in every run."""
        key = json.dumps([self.kind.value, sorted(self.files), self.target])
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def to_record(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "person": self.person,
            "files": list(self.files),
            "confidence": round(self.confidence, 4),
            "target": self.target,
            "evidence": self.evidence,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Finding:
        """Inverse of `to_record`."""
        names = ("files", "person", "confidence", "target", "evidence")
        return cls(Kind(record["kind"]), *(record[name] for name in names))
