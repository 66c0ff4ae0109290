"""What Ctrl-C does while nothing could catch it: before the command line runs, within the import of
a package, and after it.

Imports nothing that Python has not imported at its start: Ctrl-C meanwhile shows a traceback. So
`_signal`, since `signal` is that and its enumerations.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a process that the signal ends."""

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
"""The file of the frames through which every import of a Python module goes."""

_CLEAR_LINE_SHOW_CURSOR = b"\r\x1b[2K\x1b[?25h"
"""For the terminal, on which a spinner may turn."""


def end_at_once() -> None:
    """From now on Ctrl-C ends the process with one line; `raise_again` takes it back.

    Nothing is changed where Ctrl-C is ignored, as under `nohup`, or handled by somebody else, nor
    in a thread, where Python allows no change.
    """
    _replace(signal.default_int_handler, _end)
    _replace(_raise_or_end, _end)


def raise_again() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as usual in Python."""
    _replace(_end, signal.default_int_handler)


def raise_outside_imports() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, but within an import ends the process as
    `end_at_once` says."""
    _replace(_end, _raise_or_end)


def _replace(old: object, new: object) -> None:
    if signal.getsignal(signal.SIGINT) is old:
        try:
            signal.signal(signal.SIGINT, new)
        except ValueError:
            return


def _raise_or_end(number: int, frame: FrameType | None) -> None:
    """Compiled packages call Python while they are imported, and where that raises they may call
    abort() (pybind11's `terminate called`), as others turn it into an ImportError. What a command
    does has not begun where it imports what it needs for it, so there is nothing to unwind."""
    inner = frame
    while inner is not None:
        if inner.f_code.co_filename == _IMPORT_SYSTEM:
            _end()
        inner = inner.f_back
    signal.default_int_handler(number, frame)


def _end(*_: object) -> None:
    # In one piece: a spinner's thread goes on until the end.
    os.write(2, (_CLEAR_LINE_SHOW_CURSOR if os.isatty(2) else b"") + b"facerec: interrupted\n")
    os._exit(INTERRUPTED)
