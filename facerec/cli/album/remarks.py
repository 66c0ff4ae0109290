"""What `facerec album` remarks about people, on stderr: who they may be, where they are twice."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from facerec.cli.console import say
from facerec.cli.thresholds import percent
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.album.records import FaceColumns
    from facerec.album.store import Album

_MOST = 5
"""Remarks of a kind about one person."""


def say_twice(album: Album, person: int) -> None:
    """Say in which photos somebody is more than once: a picture in the picture, or a mistake."""
    from facerec.album.faces import shown_twice
    from facerec.album.people import label_of

    found, label = shown_twice(album, person), label_of(album, person)
    for path, faces in found[:_MOST]:
        numbers = " and ".join(map(str, faces))
        say(f"{path or 'a photo'}: shows {label} {len(faces)} times, as faces {numbers}")
    if len(found) > _MOST:
        more = counted(len(found) - _MOST, "more photo shows", "more photos show")
        say(f"{more} {label} more than once")


def say_suggestions(album: Album, person: int, columns: FaceColumns) -> None:
    """Say who somebody without a name may be, and of somebody named which groups may be theirs, as
    far as the last grouping can tell.

    Args:
        columns: what `read_columns` says of the album.
    """
    from facerec.album.asking import likely_people, suggest
    from facerec.album.certainty import probabilities
    from facerec.album.known import NOBODY
    from facerec.album.people import label_of, read_people
    from facerec.album.records import lasting_id

    shown = next(read_people(album, person), None)
    if shown is None or not shown.faces or album.meta("grouping") is None:
        return
    label = label_of(album, person)
    if shown.name is None:
        own = columns.ids[columns.person == person].tolist()
        for who, similarity in likely_people(album, person, columns=columns)[:_MOST]:
            (chance,) = probabilities(album, columns, who, [own])
            measure = _measure(similarity, chance)
            _say_likely(label, label_of(album, who), shown.faces, measure)
        return
    found = suggest(album, person, columns=columns, limit=_MOST)
    asked = [one for one in found if one.group != person]
    chances = probabilities(album, columns, person, [one.faces for one in asked])
    for one, chance in zip(asked, chances, strict=True):
        measure = _measure(one.similarity, chance)
        if one.group != NOBODY:
            _say_likely(lasting_id(one.group), label, len(one.faces), measure)
            continue
        face, name = one.faces[0], shlex.quote(label)
        say(
            f"face {face} may be {label} ({measure}): "
            f"facerec album confirm {name} {face}; if not: facerec album reject {name} {face}"
        )


def _measure(similarity: float, chance: float | None) -> str:
    told = "" if chance is None else f", probability {percent(chance)}"
    return f"similarity {similarity:.2f}{told}"


def _say_likely(group: str, label: str, faces: int, measure: str) -> None:
    name = shlex.quote(label)
    say(
        f"{group} ({counted(faces, 'face')}) may be {label} ({measure}): "
        f"facerec album merge {group} --into {name}; if not: facerec album reject {name} {group}"
    )
