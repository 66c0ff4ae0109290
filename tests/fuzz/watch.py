"""What a case may not do, watched while it runs: write elsewhere, start a program, connect."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITES = {"os.rename": 2, "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.truncate": 1,
           "os.chmod": 1}  # fmt: skip
_LINKS = {"os.symlink", "os.link"}
"""Events of changes below a folder, and how many of their arguments are paths."""
_RUNS = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile",
         "pty.spawn", "webbrowser.open", "socket.connect", "socket.getaddrinfo"}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_DEVICES = ("/dev/null", "/dev/tty", "/proc/self/")


@dataclass
class Watch:
    """What happened while a case ran.

    Attributes:
        root: the only folder that may be written below.
        broken: promises broken, in words.
        out, err: what was printed, also by C code.
        seconds: of CPU, in all threads.
        grown: MiB of memory at its highest, above what it was before.
    """

    root: Path
    broken: list[str] = field(default_factory=list)
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    grown: float = 0.0


_active: Watch | None = None
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    watch = _active
    if watch is None:
        return
    if event in _RUNS:
        watch.broken.append(f"{event}{arguments!r:.200}")
        raise PermissionError(errno.EPERM, "a case may not do that", event)
    if event == "open":
        path, mode, flags = arguments
        if not isinstance(path, int) and (
            set(mode or "") & set("wax+") or (isinstance(flags, int) and flags & _WRITING)
        ):
            _check(watch, event, path)
    elif event in _LINKS:
        _check(watch, event, arguments[1])
    elif event in _WRITES:
        for path in arguments[: _WRITES[event]]:
            _check(watch, event, path)


def _check(watch: Watch, event: str, path: Any) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    place = os.path.normpath(Path.cwd() / os.fsdecode(path))
    if not (place.startswith(_DEVICES) or f"{place}/".startswith(f"{watch.root}/")):
        watch.broken.append(f"{event} outside of its folder: {place}")
        raise PermissionError(errno.EPERM, "a case may not write there", place)


@contextlib.contextmanager
def watching(root: Path) -> Iterator[Watch]:
    """Watch the block; what it prints is captured at the level of file descriptors."""
    global _active, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    watch = Watch(root)
    with _captured(watch):
        before = _reset_peak()
        started = time.process_time()
        _active = watch
        try:
            yield watch
        finally:
            _active = None
            watch.seconds = time.process_time() - started
            watch.grown = max(0.0, (_peak() - before) / 1024)


@contextlib.contextmanager
def _captured(watch: Watch) -> Iterator[None]:
    saved = sys.stdout, sys.stderr
    for stream in saved:
        stream.flush()
    descriptors = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for number, file in ((1, out), (2, err)):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", write_through=True)
            for number in (1, 2)
        )
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            sys.stdout, sys.stderr = saved
            for number, descriptor in zip((1, 2), descriptors, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
            for name, file in (("out", out), ("err", err)):
                file.seek(0)
                setattr(watch, name, file.read().decode("utf-8", "replace"))


def _reset_peak() -> int:
    """KiB of resident memory now; the peak starts from here, where the kernel allows that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
