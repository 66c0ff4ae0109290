"""Rules on names: image suffixes, junk that is never a photo, archives, URLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath, PurePosixPath

from facerec.files.text import counted
from facerec.imaging.contents import image_kind, unread_image


def _suffixes(listed: str) -> frozenset[str]:
    return frozenset(f".{suffix}" for suffix in listed.split())


RAW_SUFFIXES = _suffixes(
    """dng cr2 cr3 crw nef nrw arw sr2 srf raf orf rw2 rwl pef srw 3fr fff
    iiq dcr kdc k25 mrw erf mef mos x3f gpr"""
)
"""Lower-case suffixes of what cameras record before they develop it."""

IMAGE_SUFFIXES = RAW_SUFFIXES | _suffixes(
    """jpg jpeg jpe jfif jif mpo png apng webp gif tif tiff bmp dib
    pnm pbm pgm ppm heic heif hif heics heifs avif avifs jxl
    jp2 j2k j2c jpc jpf jpx"""
)
"""Lower-case suffixes of the photos that are read."""

_UNREAD_SUFFIXES = _suffixes(
    """psd psb xcf kra ora tga exr hdr pcx sgi jxr wdp hdp bpg flif qoi dds pct
    pict pam pfm ras dpx cin djvu djv"""
)
# Files of these suffixes are not opened to see whether they are photos; `.thm` is a video's or a
# raw file's own thumbnail.
_OTHER_SUFFIXES = _suffixes(
    """txt md rst html htm css js json jsonl ndjson xml csv tsv yaml yml toml ini
    cfg log cls pts lst idx rec bin mat npy npz h5 hdf5 parquet pkl pb sqlite db
    py ipynb sh m c h cpp pdf doc docx xls xlsx ppt pptx odt svg ai eps ps
    mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp mts m2ts mjpeg mjpg lrv
    mp3 m4a aac wav flac ogg srt vtt xmp aae thm lnk url exe dll so
    onnx pt pth safetensors md5 sha256 lock"""
)

# macOS, Synology, QNAP, Windows and ext4 keep thumbnails, deleted and recovered files here.
# `._*` and `.thumbnails` are hidden, which excludes them already.
_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx", "network trash folder", "temporary items",
        "@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot",
        "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found",
        "~snapshot", "@synoresource", "lost.dir", "_gsdata_", "ipod photo cache",
    }
)  # fmt: skip
_SYSTEM_HIDDEN = re.compile(
    r"\.(_|thumbnails|@__thumb|appledouble|trash|dtrash|globaltrash|pending-|picasaoriginals"
    r"|stversions|recycle|snapshot|fseventsd|spotlight-|temporaryitems|documentrevisions-)"
)
# chkdsk's.
_FOUND = re.compile(r"found\.\d{3}")
# macOS puts it in the place of a photo that it keeps in iCloud alone.
_ICLOUD = re.compile(r"\.(.+)\.icloud")
_SHOWN = 3
"""Files that a message names."""
_ARCHIVE = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2?|txz|zip)$", re.IGNORECASE)
_UNREAD_ARCHIVE = re.compile(r"\.(7z|rar|cab|lzh|tzst|tar\.(zst|lz4|lzma))$", re.IGNORECASE)
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
# fsspec chains protocols by `::`; without `://` it is a file's name, such as `IMG::1.jpg`.
_URL = re.compile(r"([a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def has_image_suffix(name: str | PurePath) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def has_raw_suffix(name: str | PurePath) -> bool:
    return PurePosixPath(name).suffix.lower() in RAW_SUFFIXES


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden or a system's, so neither a photo nor one's folder."""
    hidden = name.startswith(".") and name != ".."
    return (hidden and not is_icloud_photo(name)) or _is_system_folder(name)


def is_system(name: str) -> bool:
    """Whether a file or folder is a system's, whatever else is hidden: also where it was listed."""
    return _is_system_folder(name) or _SYSTEM_HIDDEN.match(name.lower()) is not None


def is_icloud_photo(name: str) -> bool:
    """Whether a file stands for a photo that is kept in iCloud alone: `.IMG_1.HEIC.icloud`."""
    found = _ICLOUD.fullmatch(name)
    return found is not None and has_image_suffix(found[1])


def _is_system_folder(name: str) -> bool:
    lower = name.lower()
    return lower in _SYSTEM_FOLDERS or _FOUND.fullmatch(lower) is not None


def passed_over(place: str, names: Sequence[str]) -> str:
    """The message that system files named like photos were passed over.

    Args:
        place: where they lie.
        names: their paths, one at least.
    """
    count = counted(len(names), "system file")
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{place}: passed over {count}: {shown}"


def is_photo(key: str, start: Callable[[str], bytes]) -> bool:
    """Whether a file counts as a photo: by its name, or by its content if the name leaves it open.

    `IMG_1234`, `1.jpeg_large` and Yale's `subject01.happy` are photos by their content. Photos of
    kinds that are not read count too, so that they are named and not lost.

    Args:
        key: its path below a root, `/` between folders.
        start: gives the first bytes of a key; empty if they are not at hand.
    """
    if any(map(is_junk, key.split("/"))):
        return False
    path = PurePosixPath(key)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in _UNREAD_SUFFIXES or is_icloud_photo(path.name):
        return True
    # Mail filters make `1.jpg.txt` of `1.jpg`; a caption has such a name too.
    if (suffix in _OTHER_SUFFIXES and not has_image_suffix(path.stem)) or is_packed(key):
        return False
    content = start(key)
    return image_kind(content) is not None or unread_image(content) is not None


def is_archive(name: str) -> bool:
    """Whether a name ends as a tar's or a zip's."""
    return _ARCHIVE.search(name) is not None


def is_packed(name: str) -> bool:
    """Whether a name ends as an archive's, also of a kind that is not read."""
    return is_archive(name) or _UNREAD_ARCHIVE.search(name) is not None


def archive_stem(name: str) -> str:
    """A file's name without an archive's suffix: `photos.tar.gz` is `photos`."""
    return _ARCHIVE.sub("", name)


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def url_file_name(url: str) -> str:
    """The last part of a URL's path: `a.jpg` of `zip://b/a.jpg::https://c/d.zip`."""
    place = next((part for part in url.split("::") if "://" in part), url)
    return place.partition("?")[0].rpartition("/")[2]


def expand_braces(pattern: str) -> list[str]:
    """`faces-{0000..0127}.tar` as 128 names; a pattern without braces as it is."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [
        f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1)
    ]
