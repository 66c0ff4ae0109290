"""The standard streams, whatever they are: closed, full, of another encoding."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys

from facerec.files.text import escape_unencodable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def occupy_closed_streams() -> None:
    """Where a standard stream is closed, let no file take its number, into which C code prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False)))


def write_any_text() -> None:
    """Let no character of a name end a command: pipes and files get UTF-8, whatever the locale
    says; a terminal gets what it has, and the rest escaped."""
    codecs.register_error("facerec", escape_unencodable)
    for stream in (sys.stdout, sys.stderr):
        encoding = None if stream.isatty() else "utf-8"
        stream.reconfigure(encoding=encoding, errors="facerec")  # type: ignore[union-attr]


def is_of_stdout(error: OSError) -> bool:
    """Whether an error is that of printing: raised by a stream, which has no name, and called by
    the command line itself or its tables. Other files are written elsewhere."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or error.filename is not None or error.errno not in _FULL:
        return False
    return str(last.tb_frame.f_globals.get("__name__")).startswith(("facerec.cli.", "rich."))


def discard_stdout() -> None:
    """Let what is written on go nowhere, also when Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
