"""What to ask the user about an album's people: is this Anna?"""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from facerec.album.decisions import read_decisions
from facerec.album.faces import read_columns
from facerec.album.known import known_of
from facerec.album.people import named_people
from facerec.album.records import FaceColumns
from facerec.album.store import Album
from facerec.album.suggesting import Suggestion, suggestions
from facerec.parallel.products import products

_LOOKED_AT = 50
"""Faces of a group that say whom it resembles."""
_RESEMBLED = 10
"""People of whom the suggestions' own rule decides."""


def suggest(
    album: Album, person: int, *, columns: FaceColumns | None = None, limit: int = 50
) -> list[Suggestion]:
    """Faces that may be somebody's, see `facerec.album.suggesting.suggestions`; `faces` are ids.

    Args:
        person: one with faces.
        columns: what `read_columns` says of the album; None: it is read.
        limit: suggestions, at most.
    """
    columns = columns or read_columns(album)
    found = suggestions(
        columns.vectors, known_of(columns, read_decisions(album)), columns.person, person,
        named=named_people(album), least=_least(album), limit=limit,
    )  # fmt: skip
    return [
        dataclasses.replace(one, faces=tuple(columns.ids[list(one.faces)].tolist()))
        for one in found
    ]


def likely_people(
    album: Album, group: int, *, columns: FaceColumns | None = None
) -> list[tuple[int, float]]:
    """Named people to whom `suggest` would suggest a group without a name.

    Args:
        columns: as for `suggest`.

    Returns:
        them and how similar the group is, the most similar first.
    """
    columns, named = columns or read_columns(album), named_people(album)
    rows = np.flatnonzero(columns.person == group)
    theirs = np.flatnonzero(np.isin(columns.person, list(named)))
    if not len(rows) or not len(theirs):
        return []
    some = rows[:: -(-len(rows) // _LOOKED_AT)]
    nearest = products(columns.vectors[theirs], columns.vectors[some]).max(1)
    ranked = columns.person[theirs[np.argsort(-nearest, kind="stable")]].tolist()
    looked = _rows(columns, np.concatenate([rows, theirs]))
    known, least = known_of(looked, read_decisions(album)), _least(album)
    found = [
        (person, one.similarity)
        for person in list(dict.fromkeys(ranked))[:_RESEMBLED]
        for one in suggestions(
            looked.vectors, known, looked.person, person,
            named=named, least=least, limit=len(looked.ids),
        )
        if one.group == group
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _least(album: Album) -> float:
    """Similarity of a suggestion, at least: the last grouping's measure, else the card's."""
    stored = album.meta("grouping")
    if stored is not None:
        return float(json.loads(stored)["likely"])
    # SciPy and HDF5, which these bring, are not waited for by who only looks.
    from facerec.album.export import album_card
    from facerec.album.grouping import likely

    return likely(album_card(album), -1.0)


def _rows(columns: FaceColumns, rows: np.ndarray) -> FaceColumns:
    """Some of the faces."""
    return FaceColumns(
        *(getattr(columns, one.name)[rows] for one in dataclasses.fields(FaceColumns))
    )
