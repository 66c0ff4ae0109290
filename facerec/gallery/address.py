"""Where a gallery's address lies among files."""

from __future__ import annotations

from pathlib import Path


def local_path(address: str) -> Path | None:
    """The file or folder that an address names; None for a gallery on a server."""
    scheme, separator, rest = address.rpartition("://")
    if not separator:
        return Path(address)
    return Path(rest) if scheme == "milvus+lite" else None
