"""Packages that cannot be imported, in one line: what it is, and what to do."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

_CALLED = {
    "cv2": "opencv-python-headless", "google": "protobuf", "PIL": "pillow", "yaml": "pyyaml",
    "sklearn": "scikit-learn", "skimage": "scikit-image",
}  # fmt: skip
"""Packages that are installed under another name than they are imported by."""


def explain_import(error: ImportError) -> str:
    """Why a package cannot be imported, and what to do."""
    reason = str(error).splitlines()[0]
    name = (error.name or "a package").partition(".")[0]
    # PyTorch's own library tells no more.
    name = "torch" if name == "_C" else name
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{name} is not installed; pip install {_distribution(name)}"
    if "failed to map segment" in reason or "annot allocate memory" in reason:
        return f"{name} cannot be loaded: not enough memory (see ulimit -v)"
    if "libGL" in reason or name == "cv2":
        return (
            f"OpenCV cannot be loaded: {reason}; apt install libgl1, or pip uninstall "
            "opencv-python and pip install opencv-python-headless"
        )
    remedy = f"pip install --force-reinstall {name}" if error.name else "--debug shows where"
    return f"{name} cannot be loaded: {reason}; {remedy}"


def _distribution(package: str) -> str:
    """What to install for a package: the extra of facerec that brings it, or what it is called."""
    called = _CALLED.get(package, package.replace("_", "-").lower())
    try:
        needed = requires("facerec") or []
    except PackageNotFoundError:
        needed = []
    for line in needed:
        found = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", line)
        if found and found[1].lower() == called and found[2] != "dev":
            return f"'facerec[{found[2]}]'"
    return f"'{called}'"
