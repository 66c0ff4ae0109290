"""What an enrolment should tell: photos, people and names that are probably not what was meant."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facerec.card import ModelCard, similarity_to_distance
from facerec.faces import Floats, face_label
from facerec.gallery.base import Batch, GalleryStore

_MOST = 500
"""Faces of one person that are compared with each other."""
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell the user.

    Attributes:
        kind: a fixed word for programs.
        message: one line for people.
        facts: what the message says, as JSON values.
    """

    kind: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"kind": self.kind, "message": self.message, **self.facts}


def remark_on_others(photo: str, faces: int) -> Remark:
    """A photo shows several faces, of which one was taken."""
    message = f"{photo}: {faces} faces, took one (--all-faces takes all)"
    return Remark("took_one", message, {"photo": photo, "faces": faces})


def remark_on_mixtures(
    gallery: GalleryStore, people: Iterable[str], card: ModelCard
) -> Iterator[Remark]:
    """People whose faces do not look like one person's, by the card's loosest threshold.

    One person's faces are linked by pairs within the threshold; where they fall apart, or most
    pairs are farther apart, that is told. A card without thresholds tells nothing.
    """
    limit = _loosest(card)
    if limit is None:
        return
    for person in people:
        rows = gallery.person(person)
        if len(rows) > 1 and (found := _mixture(person, rows, limit, card)):
            yield found


def _loosest(card: ModelCard) -> float | None:
    calibrated = card.calibration.thresholds.values() if card.calibration else ()
    return max(calibrated, default=None)


def _mixture(person: str, rows: Batch, limit: float, card: ModelCard) -> Remark | None:
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).astype(int))
    vectors: Floats = rows.embeddings[chosen]
    cosines = np.clip(vectors @ vectors.T, -1, 1)
    to_distance = np.vectorize(lambda cosine: similarity_to_distance(float(cosine), card.metric))
    one, other = np.triu_indices(len(chosen), 1)
    distances = to_distance(cosines[one, other])
    near = distances <= limit
    if near.mean() >= 0.5 and _linked(len(chosen), one[near], other[near]):
        return None

    def pair(place: int) -> dict[str, Any]:
        photos = [rows.source[chosen[row]] for row in (one[place], other[place])]
        return {"photos": photos, "distance": round(float(distances[place]), 4)}

    nearest, farthest = pair(int(distances.argmin())), pair(int(distances.argmax()))
    apart = [f"{' and '.join(farthest['photos'])} are {farthest['distance']:.4f} apart"]
    if len(distances) > 1:
        apart.append(f"{' and '.join(nearest['photos'])} {nearest['distance']:.4f}")
    message = (
        f"{person}: {len(rows)} faces that do not look like one person: {', '.join(apart)}, one "
        f"person's at most {limit:.4f}; to sort a pile by person: facerec cleanup FOLDER "
        "--unlabelled"
    )
    facts = {"person": person, "faces": len(rows), "nearest": nearest, "farthest": farthest}
    return Remark("not_one_person", message, {**facts, "limit": round(limit, 4)})


def _linked(count: int, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pairs link all of `count` things."""
    seen = np.zeros(count, bool)
    seen[0] = True
    while True:
        reached = seen.copy()
        reached[other[seen[one]]] = True
        reached[one[seen[other]]] = True
        if (reached == seen).all():
            return bool(seen.all())
        seen = reached


def remark_on_names(
    known: Mapping[str, int], people: Iterable[str], unknown: str, address: str
) -> Iterator[Remark]:
    """Names that differ in case, spaces or invisible characters alone, and a stranger's label.

    Args:
        known: faces of all people of the gallery.
        people: those of whom to tell.
        unknown: a stranger's label.
        address: the gallery's.
    """
    alike: dict[str, list[str]] = {}
    for name in known:
        alike.setdefault(fold_name(name), []).append(name)
    for key in dict.fromkeys(map(fold_name, people)):
        names = sorted(alike.get(key, ()), key=lambda name: -known[name])
        if len(names) > 1:
            command = ["facerec", "gallery", "merge", *names[1:], "--into", names[0], "-g", address]
            shown = " and ".join(map(repr, names))
            message = f"{shown} may be one person; to merge them: {shlex.join(command)}"
            yield Remark("names_alike", message, {"people": names})
        for name in names:
            if name.casefold() == unknown.casefold():
                command = ["facerec", "gallery", "rename", name, "NAME", "-g", address]
                message = (
                    f"a person is called {name!r}, as strangers are, and is told from them as "
                    f"{face_label(name, unknown)!r}; to rename: {shlex.join(command)}"
                )
                yield Remark("called_as_strangers", message, {"person": name})


def fold_name(name: str) -> str:
    """A name without case, invisible characters, and spaces, dots and underscores that differ."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return " ".join(re.split(r"[\s._-]+", visible)).strip()


def remark_on_loose(photos: Sequence[tuple[str, str, str]]) -> Iterator[Remark]:
    """Photos that lie beside people's folders, and so are taken for a person of their own.

    Args:
        photos: tree, path below it and person of each.
    """
    mixed = {tree for tree, key, _ in photos if "/" in key}
    loose: dict[tuple[str, str], list[str]] = {}
    for tree, key, person in photos:
        if tree in mixed and "/" not in key:
            loose.setdefault((tree, person), []).append(key)
    for (tree, person), keys in loose.items():
        several = len(keys) > 1
        count = f"{len(keys)} photos lie" if several else f"{keys[0]} lies"
        message = (
            f"{tree}: {count} beside people's folders, and count{'' if several else 's'} as "
            f"{person!r}; put each "
            "into its person's folder, or name people by files: --person-level file"
        )
        yield Remark("loose_photos", message, {"person": person, "photos": keys})
