"""A gallery beside the folders it is made of: entries without a photo there, photos of two people.

Only entries whose photo lay below a folder, archive or URL that is looked at are compared, and only
where photos are found: an empty folder may be a drive that is not there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facerec.errors import InputError
from facerec.files.text import counted
from facerec.gallery.base import GalleryStore
from facerec.gallery.remarks import Remark
from facerec.imaging.names import is_url
from facerec.imaging.photos import Photo

_NAMED = 3
"""Photos that a message names."""


@dataclass(frozen=True, slots=True, order=True)
class Stale:
    """An enrolled photo that is no longer there, or is of another person now.

    Attributes:
        person: whose it was.
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


def compare(
    gallery: GalleryStore,
    photos: Sequence[tuple[str, Photo]],
    content: Collection[str],
    folder: Path | None,
) -> Comparison:
    """Compare a gallery with the photos it should be made of.

    Args:
        photos: person and photo each.
        content: the hashes of the photos that were read.
        folder: the gallery's, which sources are relative to; None on a server.
    """
    places = [_place(relative_source(str(photo), folder), folder) for _, photo in photos]
    here = {(person, place) for (person, _), place in zip(photos, places, strict=True)}
    given = {photo.tree for _, photo in photos if photo.tree}
    trees = {_place(relative_source(tree, folder), folder) for tree in given}
    # Photos below a folder that cannot be listed, or in the lost part of an archive, are not seen,
    # but may be there.
    hidden = {
        place
        for (_, photo), place in zip(photos, places, strict=True)
        if place in trees or (photo.path is not None and photo.path.is_dir())
    }
    stale: dict[Stale, None] = {}
    owners: dict[str, dict[str, str]] = {}
    for person, source, sha256 in gallery.photos():
        if sha256 in content:
            owners.setdefault(sha256, {}).setdefault(person, source)
        place = _place(source, folder)
        if (person, place) not in here and _is_below(place, trees) and not _is_below(place, hidden):
            stale[Stale(person, source, sha256)] = None
    shared = {sha256: found for sha256, found in owners.items() if len(found) > 1}
    return Comparison(list(stale), shared)


def plan(
    gallery: GalleryStore, photos: Sequence[tuple[str, Photo]], folder: Path | None
) -> tuple[Sequence[Stale], list[tuple[str, str]]]:
    """What `embed --sync` would do: what it removes, and person and photo of what it enrols."""
    stale = compare(gallery, photos, (), folder).stale
    gone = {(one.person, one.sha256) for one in stale}
    added = []
    for person, photo in photos:
        with suppress(InputError):
            sha256 = hashlib.sha256(photo.read()).hexdigest()
            if (person, sha256) in gone or not gallery.holds(person, sha256):
                added.append((person, str(photo)))
    return stale, added


def relative_source(photo: str, folder: Path | None) -> str:
    """A photo's name as a gallery stores it: relative to the gallery's folder where possible."""
    if is_url(photo):
        return photo
    try:
        relative = photo if folder is None else os.path.relpath(photo, folder)
    except ValueError:  # another drive
        relative = str(Path(photo).resolve())
    return Path(relative).as_posix()


def _place(source: str, folder: Path | None) -> str:
    """A source as an absolute path, or its URL; bytes that are no text are escaped, as Milvus
    stores them."""
    place = source
    if not is_url(source):
        # Not `resolve`: a link is a photo of its own.
        place = Path(os.path.abspath(Path(folder or "", source))).as_posix()  # noqa: PTH100
    return place.encode("utf-8", "backslashreplace").decode().rstrip("/")


def _is_below(place: str, trees: Collection[str]) -> bool:
    while place:
        place = place.rpartition("/")[0]
        if place in trees:
            return True
    return False
