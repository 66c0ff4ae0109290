"""Which XMP file belongs to a photo.

digiKam, darktable and Immich write `photo.jpg.xmp`; Lightroom and Bridge `photo.xmp`, which is the
raw file's where a raw file and its JPEG lie side by side.
"""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".xmp", ".XMP")


def sidecars(photo: Path) -> list[Path]:
    """The XMP files of a photo that are there, the one of its whole name first."""
    names = [photo.name]
    if photo.suffix and not _shares_its_stem(photo):
        names.append(photo.stem)
    found: list[Path] = []
    for name in names:
        for suffix in SUFFIXES:
            path = photo.with_name(name + suffix)
            # Where case does not matter both names are one file.
            if path.is_file() and not any(path.samefile(other) for other in found):
                found.append(path)
    return found


def sidecars_to_write(photo: Path) -> list[Path]:
    """Those that are there, else `photo.jpg.xmp`."""
    return sidecars(photo) or [photo.with_name(f"{photo.name}.xmp")]


def _shares_its_stem(photo: Path) -> bool:
    """Whether another file has its name and another suffix: `IMG_1.CR2` beside `IMG_1.JPG`."""
    try:
        return any(
            other.stem == photo.stem
            and other.name != photo.name
            and other.suffix.lower() not in (".xmp", "")
            for other in photo.parent.iterdir()
        )
    except OSError:
        return True
