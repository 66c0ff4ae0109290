"""Cameras by name (V4L2, Linux)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from facerec.errors import MissingError

DEVICES = Path("/dev")
SYSFS = Path("/sys/class/video4linux")


def find_camera(name: str) -> str:
    """The device of the one camera whose name, or name in `/dev/v4l/by-id`, contains `name`.

    Case is ignored; an exact match is preferred.

    Raises:
        MissingError: no camera matches, or several do; lists where was searched and what is there.
    """
    names = _names()
    exact = {device for device, known in names if known.casefold() == name.casefold()}
    found = exact or {device for device, known in names if name.casefold() in known.casefold()}
    if len(found) == 1:
        return found.pop()
    problem = "more than one camera has that name" if found else "no camera has that name"
    raise MissingError(f"{problem} (looked in {SYSFS} and {_by_id()}: {_told(names)})")


def list_cameras() -> str:
    """The cameras of this machine for a message, `name (device), …`, or "none"."""
    return _told(_names()) if sys.platform == "linux" else "not known on this system"


def _told(names: list[tuple[str, str]]) -> str:
    return ", ".join(f"{known} ({device})" for device, known in names) or "none"


def _names() -> list[tuple[str, str]]:
    """`(device, name)`, without the metadata devices that most cameras have beside them."""
    names = [
        (str(DEVICES / entry.name), (entry / "name").read_text(errors="replace").strip())
        for entry in sorted(SYSFS.glob("video*"))
        if _first_of_its_camera(entry)
    ]
    links = sorted(_by_id().glob("*-video-index0"))
    return names + [(os.path.realpath(link), link.name) for link in links]


def _first_of_its_camera(entry: Path) -> bool:
    try:
        return (entry / "index").read_text().strip() == "0"
    except OSError:
        return True


def _by_id() -> Path:
    return DEVICES / "v4l" / "by-id"
