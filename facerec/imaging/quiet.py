"""Pillow without warnings and without its own bound of pixels."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image as Pillow

_settings = threading.RLock()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence warnings and lift Pillow's own pixel bound, for one thread at a time: both are global
    to the process, and of two threads the later one would restore what the earlier one set."""
    with _settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = Pillow.MAX_IMAGE_PIXELS
        Pillow.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = bound
