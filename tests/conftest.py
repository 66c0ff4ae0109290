"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real measuring material, or a skip where it is absent."""
    folder = Path(os.environ.get("FACEREC_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set FACEREC_TEST_DATA")
    return folder
