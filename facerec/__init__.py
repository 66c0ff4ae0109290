"""Face recognition, whole: detect, align, embed, recognise, over one shared engine.

Public names are imported when first used, so that `import facerec` costs nothing.
"""

from __future__ import annotations

import os
import sys

# Type checkers take it for that of `typing`, whose import lasts long enough for Ctrl-C, which the
# command line can deal with only after this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.engine.engine import Engine
    from facerec.faces import Face, Match
    from facerec.gallery import Gallery
    from facerec.gallery.match import Matcher
    from facerec.imaging.decode import read_image
    from facerec.profile.loading import Profile

# Telemetry of dependencies, off before any of them is imported, in worker processes too. ONNX
# Runtime (from 1.29) reports each session to Microsoft and keeps a device id; OpenVINO reports its
# import to Google Analytics, unless this package does not import: it then takes its own stub.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# PyTorch reads it when it is imported: what it cannot compute on Apple's GPU, the processor does.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__version__ = "0.1.0"
__all__ = [
    "Engine",
    "Face",
    "Gallery",
    "Match",
    "Matcher",
    "ModelCard",
    "Profile",
    "__version__",
    "read_image",
]

_HOMES = {
    "Engine": "engine.engine",
    "Face": "faces",
    "Gallery": "gallery",
    "Match": "faces",
    "Matcher": "gallery.match",
    "ModelCard": "card",
    "Profile": "profile.loading",
    "read_image": "imaging.decode",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"facerec.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'facerec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
