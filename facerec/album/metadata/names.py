"""Names of files, as they are compared: a Mac takes accents apart, other systems do not."""

from __future__ import annotations

import unicodedata
from pathlib import Path


def composed(path: Path | str) -> str:
    """A path's text with accents composed, whatever system wrote it."""
    return unicodedata.normalize("NFC", path.as_posix() if isinstance(path, Path) else path)
