"""Silence C libraries' stderr.

libjpeg inside OpenCV reports damage with `fprintf(stderr, …)`, which Python cannot catch.
Redirecting file descriptor 2 would also swallow other threads' progress bars. glibc documents its
`stderr` as a variable that a program may set, and Python's own `sys.stderr` does not use it.
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
    """Whether the C library is glibc, whose `stderr` may be set."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False


@contextmanager
def hushed() -> Iterator[None]:
    """Discard what C code writes to `stderr` while the block runs; safe in several threads.

    Nothing is discarded where `can_hush()` is false: macOS and musl name the variable otherwise or
    keep it constant, and on Windows there is no one C library.
    """
    global _inside, _own_stderr
    if not can_hush():
        yield
        return
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
    """C's `stderr` variable, and a stream to the null device.

    The stream is never closed: a thread that read the variable just before it was restored may
    still write to it.
    """
    c = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    return ctypes.c_void_p.in_dll(c, "stderr"), c.fopen(os.devnull.encode(), b"w")
