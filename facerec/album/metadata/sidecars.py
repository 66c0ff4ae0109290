"""Which XMP file belongs to a photo.

digiKam, darktable and Immich write `photo.jpg.xmp`; Lightroom and Bridge `photo.xmp`, which is the
raw file's where a raw file and its JPEG lie side by side. Between several images of that name, none
of which is raw, nobody can tell whose it is. Films, sound and notes of that name have none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facerec.album.metadata.names import composed
from facerec.errors import InputError
from facerec.imaging.names import has_image_suffix, has_raw_suffix
from facerec.imaging.photos import unreadable

SUFFIXES = (".xmp", ".XMP")


def sidecars(photo: Path) -> list[Path]:
    """The XMP files of a photo that are there, the one of its whole name first."""
    return find_sidecars(photo)[0]


def find_sidecars(photo: Path) -> tuple[list[Path], InputError | None]:
    """As `sidecars`, and of an XMP file of which nobody can tell whether it is the photo's: why it
    is not read."""
    beside = _beside(photo)
    if beside is None:
        return _named(photo, [photo.name], []), None
    rivals = _rivals(photo, beside)
    if not rivals:
        return _named(photo, [photo.name, photo.stem], beside), None
    own, doubt = _named(photo, [photo.name], beside), None
    if not any(map(has_raw_suffix, rivals)):
        for path in _named(photo, [photo.stem], beside)[:1]:
            others = " or ".join(sorted([photo.name, *rivals]))
            doubt = unreadable(path, f"is not read: it may be that of {others}")
    return own, doubt


def sidecars_to_write(photo: Path) -> list[Path]:
    """Those that are there, else `photo.jpg.xmp`."""
    return sidecars(photo) or [photo.with_name(f"{photo.name}.xmp")]


def every_sidecar(photo: Path) -> list[Path]:
    """The XMP files that are there and may be the photo's or that of another of its name."""
    return _named(photo, [photo.name, photo.stem], _beside(photo) or [])


def _beside(photo: Path) -> list[str] | None:
    """The names in the photo's folder that begin as its own does; None: it cannot be listed."""
    try:
        with os.scandir(photo.parent) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return None
    stem = composed(photo.stem)
    return [
        name
        for name in names
        if name.startswith(stem) or (not name.isascii() and composed(name).startswith(stem))
    ]


def _rivals(photo: Path, beside: Sequence[str]) -> list[str]:
    """Other images that `photo.xmp` may belong to; none of a raw file, whose it always is."""
    if has_raw_suffix(photo.name):
        return []
    return [
        name
        for name in beside
        if has_image_suffix(name)
        and composed(name) != composed(photo.name)
        and composed(Path(name).stem) == composed(photo.stem)
    ]


def _named(photo: Path, stems: Sequence[str], beside: Sequence[str]) -> list[Path]:
    """The XMP files of these names, with accents as the photo has them or otherwise."""
    found: list[Path] = []
    for name in (f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES):
        same = [other for other in beside if other != name and composed(other) == composed(name)]
        for path in map(photo.with_name, (name, *same)):
            # Where case does not matter both names are one file.
            if path.is_file() and not any(path.samefile(other) for other in found):
                found.append(path)
    return found
