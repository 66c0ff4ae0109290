"""What Ctrl-C does while nothing could catch it: before the command line runs, and after it.

Imports nothing that Python has not imported at its start: Ctrl-C meanwhile shows a traceback. So
`_signal`, since `signal` is that and its enumerations.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a process that the signal ends."""


def end_at_once() -> None:
    """From now on Ctrl-C ends the process with one line; `raise_again` takes it back.

    Nothing is changed where Ctrl-C is ignored, as under `nohup`, or handled by somebody else, nor
    in a thread, where Python allows no change.
    """
    _replace(signal.default_int_handler, _end)


def raise_again() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as usual in Python."""
    _replace(_end, signal.default_int_handler)


def _replace(old: object, new: object) -> None:
    if signal.getsignal(signal.SIGINT) is old:
        try:
            signal.signal(signal.SIGINT, new)
        except ValueError:
            return


def _end(*_: object) -> None:
    os.write(2, b"facerec: interrupted\n")
    os._exit(INTERRUPTED)
