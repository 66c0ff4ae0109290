"""facerec's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from facerec.files.home import expand_home


def cache_folder() -> Path:
    """Folder of converted and downloaded files: `FACEREC_HOME`, or the platform's cache."""
    from platformdirs import user_cache_path

    home = os.environ.get("FACEREC_HOME")
    return expand_home(Path(home)) if home else user_cache_path("facerec")
