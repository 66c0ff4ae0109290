"""A gallery beside the folders it is made of: entries without a photo there, photos of two people.

An entry is stale if another content lies where its photo lay. Where nothing lies, only entries are
compared whose photo lay below a folder, archive or URL that is looked at, and only where photos are
found: an empty folder may be a drive that is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facerec.errors import InputError
from facerec.files.text import counted
from facerec.gallery.base import GalleryStore
from facerec.gallery.places import Places, is_below
from facerec.gallery.remarks import Remark
from facerec.imaging.decode import decode_image
from facerec.imaging.photos import FailedPhoto, Photo, normalise_person

Hashes = Mapping[tuple[str, str], str]
"""Of photos that were read, by person and name."""

_NAMED = 3
"""Photos that a message names."""


@dataclass(frozen=True, slots=True, order=True)
class Stale:
    """An enrolled photo that is no longer there, has changed, or is of another person now.

    Attributes:
        person: whose it was, as the gallery names them.
        source: as the gallery names it.
        sha256: of its content.
    """

    person: str
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A gallery and the photos it should be made of.

    Attributes:
        stale: enrolled photos that are not among them, in the gallery's order.
        shared: people by content, of photos that are enrolled for several.
    """

    stale: Sequence[Stale]
    shared: dict[str, dict[str, str]]

    def remarks(self, command: str) -> Iterator[Remark]:
        """What to tell.

        Args:
            command: removes what is stale.
        """
        if self.stale:
            people = len({one.person for one in self.stale})
            count = counted(len(self.stale), "enrolled photo")
            named = ", ".join(f"{one.source} ({one.person})" for one in self.stale[:_NAMED])
            more = f" and {len(self.stale) - _NAMED} more" if len(self.stale) > _NAMED else ""
            message = (
                f"{count} of {counted(people, 'person', 'people')} moved away or to "
                f"another person: {named}{more}; to remove what they gave: {command}"
            )
            photos = [{"person": one.person, "photo": one.source} for one in self.stale]
            yield Remark("stale", message, {"photos": photos})
        for sources in self.shared.values():
            named = " and ".join(f"{person} ({source})" for person, source in sources.items())
            message = f"the same photo is enrolled for {named}"
            yield Remark("two_people", message, {"photos": sources})


class Enrolled:
    """What a gallery holds of photos' people, by place.

    Args:
        people: whose photos they are.
    """

    def __init__(self, gallery: GalleryStore, people: Iterable[str], places: Places) -> None:
        self._places = places
        self._at: dict[tuple[str, str], dict[Stale, None]] = {}
        self._content: set[tuple[str, str]] = set()
        wanted = set(map(normalise_person, people))
        for person, source, sha256 in gallery.photos():
            name = normalise_person(person)
            if name not in wanted:
                continue
            self._content.add((name, sha256))
            for place in places.of_source(source):
                self._at.setdefault((name, place), {})[Stale(person, source, sha256)] = None

    def holds(self, person: str, sha256: str) -> bool:
        """Whether that content is the person's, wherever it lay."""
        return (normalise_person(person), sha256) in self._content

    def at(self, person: str, photo: str) -> Collection[Stale]:
        """What was enrolled of the place where a photo lies."""
        return self._at.get((normalise_person(person), self._places.of_photo(photo)), {})

    def changed(self, person: str, photo: str, sha256: str) -> list[Stale]:
        """Of what was enrolled of a photo's place, that of other content than the photo has now.

        Two galleries that were merged may name photos alike: beside the present content, other
        content of the same name stays.
        """
        found = self.at(person, photo)
        present = {(one.person, one.source) for one in found if one.sha256 == sha256}
        return [
            one
            for one in found
            if one.sha256 not in ("", sha256) and (one.person, one.source) not in present
        ]

    def forget(self, person: str, photo: str) -> None:
        """What was enrolled of a photo's place was removed."""
        self._at.pop((normalise_person(person), self._places.of_photo(photo)), None)


def compare(
    gallery: GalleryStore,
    photos: Sequence[tuple[str, Photo]],
    read: Hashes,
    folder: Path | None,
) -> Comparison:
    """Compare a gallery with the photos it should be made of.

    Args:
        photos: person and photo each.
        read: the hashes of those that were read.
        folder: the gallery's, which sources are relative to; None on a server.
    """
    places = Places(folder)
    enrolled = Enrolled(gallery, (person for person, _ in read), places)
    changed = {
        one
        for (person, photo), sha256 in read.items()
        for one in enrolled.changed(person, photo, sha256)
    }
    here = {(normalise_person(person), places.of_photo(str(photo))) for person, photo in photos}
    trees = {places.of_folder(photo.tree) for _, photo in photos if photo.tree}
    hidden = set(_hidden(photos, trees, places))
    content = set(read.values())
    stale: dict[Stale, None] = {}
    owners: dict[str, dict[str, str]] = {}
    for person, source, sha256 in gallery.photos():
        if sha256 in content:
            owners.setdefault(sha256, {}).setdefault(person, source)
        entry, found = Stale(person, source, sha256), places.of_source(source)
        is_here = any((normalise_person(person), place) in here for place in found)
        looked_for = any(is_below(one, trees) for one in found) and not any(
            is_below(one, hidden) for one in found
        )
        if entry in changed or (looked_for and not is_here):
            stale[entry] = None
    shared = {sha256: found for sha256, found in owners.items() if len(found) > 1}
    return Comparison(list(stale), shared)


def _hidden(
    photos: Sequence[tuple[str, Photo]], trees: Collection[str], places: Places
) -> Iterator[str]:
    """Folders that cannot be listed and archives that end early: what lies below them is not seen,
    but may be there."""
    for _, photo in photos:
        if photo.path is not None and photo.path.is_dir():
            yield places.of_folder(str(photo))
        elif isinstance(photo, FailedPhoto) and (place := places.of_folder(str(photo))) in trees:
            yield place


def plan(
    gallery: GalleryStore, photos: Sequence[tuple[str, Photo]], folder: Path | None
) -> tuple[Sequence[Stale], list[tuple[str, str]]]:
    """What `embed --sync` would do: what it removes, and person and photo of what it enrols if a
    face is found."""
    enrolled = Enrolled(gallery, (person for person, _ in photos), Places(folder))
    read: dict[tuple[str, str], str] = {}
    for person, photo in photos:
        with suppress(InputError):
            data = photo.read()
            sha256 = hashlib.sha256(data).hexdigest()
            if enrolled.changed(person, str(photo), sha256):
                # Of a photo that cannot be read all stays.
                decode_image(data, str(photo))
            read[person, str(photo)] = sha256
    stale = compare(gallery, photos, read, folder).stale
    gone, content = set(stale), set(read.values())
    held = {
        (normalise_person(person), sha256)
        for person, source, sha256 in gallery.photos()
        if sha256 in content and Stale(person, source, sha256) not in gone
    }
    added = []
    for (person, name), sha256 in read.items():
        if (normalise_person(person), sha256) not in held:
            held.add((normalise_person(person), sha256))
            added.append((person, name))
    return stale, added
