"""An album of faked photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from facerec.album.store import Album, open_album


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    """A new album."""
    with open_album(tmp_path / "album.db", create=True) as opened:
        yield opened
