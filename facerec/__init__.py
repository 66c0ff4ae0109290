"""Face recognition, whole: detect, align, embed, recognise, over one shared engine.

`Engine`, `Gallery` and `Profile` are imported when first used, so that `import facerec` costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facerec.engine import Engine
    from facerec.gallery import Gallery
    from facerec.profile import Profile

__version__ = "0.1.0"
__all__ = ["Engine", "Gallery", "Profile", "__version__"]

_HOMES = {"Engine": "engine", "Gallery": "gallery", "Profile": "profile"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"facerec.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'facerec' has no attribute {name!r}")
