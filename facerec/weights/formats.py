"""Whether a file is what its record says, as far as that shows without a hash."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from facerec.files.parsing import MALFORMED

_PICKLE = b"\x80"
_GZIP = b"\x1f\x8b\x08"


def is_of_format(path: Path, format: str) -> bool:
    """Whether a file is of a `RemoteFile`'s format. ONNX files have no mark: any may be one that is
    not compressed."""
    if format in ("zip", "tar"):
        # They are extracted alike.
        return _is_archive(path)
    if format == "pth":
        with path.open("rb") as file:
            return file.read(1) == _PICKLE or zipfile.is_zipfile(path)
    if format == "safetensors":
        return _has_safetensors_header(path)
    with path.open("rb") as file:
        return file.read(len(_GZIP)) != _GZIP


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except MALFORMED:
        return False


def _has_safetensors_header(path: Path) -> bool:
    with path.open("rb") as file:
        length, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and 8 + length <= path.stat().st_size
