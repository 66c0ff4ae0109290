"""Content hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(*paths: str | Path) -> str:
    """Hex SHA-256 of a file's content, or of several files' one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
