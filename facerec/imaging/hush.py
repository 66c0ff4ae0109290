"""Keep C libraries from writing to the terminal.

libjpeg inside OpenCV reports damage with `fprintf(stderr, …)`, which Python cannot catch.
Moving file descriptor 2 would also swallow the progress bars of other threads; glibc documents
its `stderr` as a variable that a program may set, and Python's own `sys.stderr` does not use it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()
_inside = 0
_own_stderr: int | None = None


@cache
def can_hush() -> bool:
    """Whether the C library is glibc, the one whose `stderr` is known to be settable."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


@contextmanager
def hushed() -> Iterator[None]:
    """Send what C code writes to `stderr` nowhere while the block runs; several threads may.

    Only where `can_hush()`.
    """
    global _inside, _own_stderr
    stderr, nowhere = _streams()
    with _lock:
        if _inside == 0:
            _own_stderr = stderr.value
            stderr.value = nowhere
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                stderr.value = _own_stderr


@cache
def _streams() -> tuple[ctypes.c_void_p, int]:
    """C's `stderr` variable, and a stream that leads nowhere.

    The stream is never closed: a thread that read the variable just before it was restored may
    still write there.
    """
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    return ctypes.c_void_p.in_dll(c, "stderr"), c.fopen(os.devnull.encode(), b"w")
