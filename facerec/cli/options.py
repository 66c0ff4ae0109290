"""Options that several commands share, and how they become a profile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from facerec.errors import UsageError
from facerec.registry import BACKBONES, DETECTORS, LOSSES, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from facerec.profile.loading import Profile

# Importing facerec.profile.loading builds its models, which help and completion need not wait for.


_NAMES = {"detector.name": DETECTORS, "train.backbone": BACKBONES, "train.loss": LOSSES}
"""Keys whose values are registered names."""


def complete_profile(incomplete: str) -> list[str]:
    from facerec.profile.loading import shipped_profiles

    return [name for name in shipped_profiles() if name.startswith(incomplete)]


def complete_names(registry: Registry[Any]) -> Callable[[str], list[tuple[str, str]]]:
    """Completion of registered names, with their help lines."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [item for item in registry.summaries().items() if item[0].startswith(incomplete)]

    return complete


def _complete_key(incomplete: str) -> list[tuple[str, str]]:
    from facerec.profile.loading import known_keys

    key, equals, value = incomplete.partition("=")
    if equals and key in _NAMES:
        named = complete_names(_NAMES[key])(value)
        return [(f"{key}={name}", help_) for name, help_ in named]
    return [
        (f"{key}=", documentation)
        for key, documentation in known_keys().items()
        if key.startswith(incomplete)
    ]


ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME|FILE",
        envvar="FACEREC_PROFILE",
        help="A shipped profile, or a YAML file.",
        autocompletion=complete_profile,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Override one value of the profile; repeatable.",
        autocompletion=_complete_key,
    ),
]
Json = Annotated[
    bool | None,
    typer.Option(
        "--json/--table",
        help="JSON lines or a table; by default a table on a terminal, JSON lines in a pipe.",
        show_default=False,
    ),
]
NullSeparated = Annotated[
    bool, typer.Option("--null", "-0", help="Paths on stdin end in NUL, as from find -print0.")
]
GalleryPath = Annotated[
    str | None,
    typer.Option("--gallery", "-g", metavar="ADDRESS", help="The gallery. [gallery.path]"),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Threads that decode images. [runtime.workers]")
]
Batch = Annotated[int | None, typer.Option(min=1, help="Images at once. [runtime.batch]")]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0, help="Largest distance that is still the same person. [recognize.threshold]"
    ),
]
Far = Annotated[
    float | None,
    typer.Option(help="Use the threshold calibrated for this false-accept rate. [recognize.far]"),
]
Metric = Annotated[
    str | None, typer.Option(metavar="cosine|euclidean", help="Distance. [recognize.metric]")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only faces enrolled with this metadata; repeatable. [recognize.where]",
    ),
]


def parse_pairs(pairs: list[str] | None, option: str) -> dict[str, str] | None:
    """`KEY=VALUE` texts as a dictionary; None where there are none.

    Raises:
        UsageError: one has no key or no `=`.
    """
    parsed = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {pair}: give KEY=VALUE, such as team=red")
        parsed[key] = value
    return parsed or None


def standard_input() -> BinaryIO | None:
    """Stdin as bytes, for lists of paths; None where it is closed."""
    return sys.stdin.buffer if sys.stdin else None


def load_profile(name: str, settings: list[str] | None, **flags: Any) -> Profile:
    """The profile with the command's own flags on top; `section__key=value`, None left out."""
    from facerec.profile.loading import resolve

    given = {key.replace("__", ".", 1): value for key, value in flags.items()}
    return resolve(name, settings=settings or (), flags=given).profile
