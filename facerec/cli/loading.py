"""Loading of a command's engine and photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from facerec.cli.console import can_draw, waiting
from facerec.cli.options import standard_input

if TYPE_CHECKING:
    from facerec.engine.engine import Engine
    from facerec.imaging.photos import Photo
    from facerec.profile.loading import Profile


def load_engine(profile: Profile) -> Engine:
    """The engine of a profile, with a spinner: PyTorch takes seconds to import."""
    with waiting("loading models"):
        from facerec.engine.engine import Engine

        return Engine.from_profile(profile)


def list_photos(places: Sequence[str], *, null: bool) -> tuple[Iterable[Photo], int | None]:
    """The photos at some places, `-` for stdin, and how many for a progress bar.

    Counted only on a terminal, and where no archive, URL or stdin must be read for it.
    """
    from facerec.imaging.names import is_archive, is_url
    from facerec.imaging.sources import find_photos

    photos = find_photos(places, stdin=standard_input(), null=null)
    opened = any(place == "-" or is_url(place) or is_archive(place) for place in places)
    if opened or not can_draw():
        return photos, None
    with waiting("counting photos"):
        counted = list(photos)
    return counted, len(counted)
