"""Retention: what was enrolled over HTTP is removed after a time (`--keep-faces`)."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta, timezone

from facerec.errors import FacerecError, UsageError
from facerec.serving.answers import log
from facerec.serving.service import Service

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST_PAUSE, _SHORTEST_PAUSE = 3600.0, 1.0
_SHARE = 100
"""Looks in the time that faces are kept."""


def parse_duration(text: str) -> timedelta:
    """`30d`, `12h`, `90m` or `4w`.

    Raises:
        UsageError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if found is None or not int(found[1]):
        raise UsageError(f"--keep-faces {text}: give a number and m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


async def keep_faces(service: Service, age: timedelta) -> None:
    """Remove faces that were enrolled over HTTP longer ago than `age`: now, then again and again,
    at least every hour, until this is cancelled.

    Their vectors are gone from the gallery's file too: it is written anew. One that cannot be
    written is tried again.
    """
    pause = min(max(age.total_seconds() / _SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
    while True:
        try:
            await service.expire(datetime.now(timezone.utc) - age)
        except Exception as error:  # noqa: BLE001  (what must go is tried again, whatever happened)
            told = error if isinstance(error, FacerecError) else repr(error)
            log.error("--keep-faces: %s", told)
        await asyncio.sleep(pause)
