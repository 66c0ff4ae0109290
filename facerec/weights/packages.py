"""Data files of installed packages, without importing the packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from facerec.errors import MissingError


def package_file(package: str, relative: str, *, install: str | None = None) -> Path:
    """Path of a file inside an installed top-level package.

    Args:
        package: its name.
        relative: the file's path inside it.
        install: what `pip install` is to be given for it; None: the package's name.

    Raises:
        MissingError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(
            f"the package {package} is not installed; try: pip install {install or package}"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise MissingError(
            f"{path}: missing from the package {package}; "
            f"try: pip install --force-reinstall {package}"
        )
    return path
