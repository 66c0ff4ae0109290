"""facerec's cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder of converted and downloaded files: `FACEREC_HOME`, or the platform's cache."""
    from platformdirs import user_cache_path

    home = os.environ.get("FACEREC_HOME")
    return Path(home) if home else user_cache_path("facerec")
