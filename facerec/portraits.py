"""Two public-domain portraits that pip packages carry.

Both are NASA's and the US Navy's own photographs and so in the public domain: Eileen Collins
(scikit-image's `astronaut.png`) and Grace Hopper (matplotlib's `grace_hopper.jpg`).
"""

from __future__ import annotations

from pathlib import Path

from facerec.packages import package_file

_PORTRAITS = {
    "eileen_collins": ("skimage", "data/astronaut.png"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


def portrait_files() -> dict[str, Path]:
    """The two people and their photos.

    Raises:
        MissingError: a package that carries one is not installed.
    """
    return {name: package_file(*place) for name, place in _PORTRAITS.items()}
