"""Values that a shell offers on the tab key, and the choices that help names: without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facerec.errors import FacerecError

if TYPE_CHECKING:
    from facerec.profile.loading import Profile

_REGISTRIES = {"detector.name": "DETECTORS", "train.loss": "LOSSES", "train.backbone": "BACKBONES"}

Completer = Callable[[typer.Context, str], list[Any]]


def choices(key: str) -> tuple[str, ...]:
    """The values that a profile key can have: registered names, else the schema's choices."""
    return registered(_REGISTRIES[key]) if _registers(key) else _fixed(key)


def _registers(key: str) -> bool:
    return key in _REGISTRIES and bool(registered(_REGISTRIES[key]))


def _fixed(key: str) -> tuple[str, ...]:
    from facerec.profile.keys import read_keys

    facts = read_keys().get(key)
    return facts.choices if facts else ()


def registered(registry: str) -> tuple[str, ...]:
    """Names in a registry of `facerec.registry`, such as `DETECTORS`."""
    from facerec import registry as registries

    return tuple(getattr(registries, registry).names())


def completer(names: Callable[[typer.Context], Iterable[str]]) -> Completer:
    """A Typer `autocompletion` of those names that begin as the word does."""

    def complete(ctx: typer.Context, incomplete: str) -> list[Any]:
        try:
            return [name for name in names(ctx) if name.startswith(incomplete)]
        except (FacerecError, OSError):
            # A shell that waits for names has no place for an error.
            return []

    return complete


def one_of(*names: str) -> Completer:
    """Offers fixed names."""
    return completer(lambda ctx: names)


def values_of(key: str) -> Completer:
    """Offers what a profile key can be set to."""
    return completer(lambda ctx: key_values(key))


def key_values(key: str) -> Sequence[str]:
    """What a profile key can be set to, where that is a name; else nothing."""
    if key in ("model.name", "train.initial"):
        from facerec.weights.catalog import catalogue

        return list(catalogue())
    return ("auto", "cpu", "cuda", "mps") if key == "runtime.device" else choices(key)


def complete_setting(incomplete: str) -> list[Any]:
    """Offers `key=`, then the key's values."""
    from facerec.profile.keys import read_keys

    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={name}" for name in key_values(key) if name.startswith(value)]
    return [
        (f"{name}=", facts.documentation)
        for name, facts in read_keys().items()
        if name.startswith(key)
    ]


@completer
def complete_profile(ctx: typer.Context) -> Iterable[str]:
    from facerec.profile.loading import shipped_profiles

    return shipped_profiles()


@completer
def complete_downloadable(ctx: typer.Context) -> Iterable[str]:
    from facerec.weights.catalog import read_catalogue

    known = read_catalogue()
    return (*known.records, *known.groups)


@completer
def complete_model(ctx: typer.Context) -> Iterable[str]:
    return key_values("model.name")


def profile_so_far(ctx: typer.Context, key: str) -> Profile:
    """The profile of the line so far.

    Args:
        key: that one of its options may set.
    """
    from facerec.profile.loading import resolve

    given = ctx.params
    return resolve(
        given.get("profile") or "default",
        settings=given.get("settings") or (),
        flags={key: given.get(key.replace(".", "__"))},
    ).profile


@completer
def complete_person(ctx: typer.Context) -> Iterable[str]:
    """Offers the people of the gallery that the line so far would use."""
    from facerec.gallery.addresses import open_gallery

    return open_gallery(profile_so_far(ctx, "gallery.path").gallery.path).counts()


def complete_camera(incomplete: str) -> list[Any]:
    """Offers the numbers of cameras, with their names."""
    from facerec.video import cameras

    found = []
    for device in sorted(cameras.DEVICES.glob("video*")):
        number = device.name.removeprefix("video")
        name = cameras.SYSFS / device.name / "name"
        if number.isdecimal() and number.startswith(incomplete):
            found.append(
                (number, name.read_text(errors="replace").strip() if name.exists() else "")
            )
    return found


def complete_folder_or_gallery(incomplete: str) -> list[Any]:
    """Offers folders, each with a slash, and galleries in files."""
    parent, slash, start = incomplete.rpartition("/")
    try:
        inside = sorted(Path(parent + slash).iterdir())
    except OSError:
        return []
    names = [f"{path.name}/" for path in inside if path.is_dir()]
    names += [
        path.name for path in inside if path.suffix.lower() in {".h5", ".hdf5"} and path.is_file()
    ]
    return [
        f"{parent}{slash}{name}"
        for name in names
        if name.startswith(start) and (start or not name.startswith("."))
    ]


@completer
def complete_subfolder(ctx: typer.Context) -> Iterable[str]:
    """Offers the people of the folder that `facerec cleanup` is given."""
    # Click leaves arguments unassigned where the line ends in an option without its value.
    folder = Path(ctx.params.get("dirty") or next(iter(ctx.args), ""))
    return sorted(path.name for path in folder.iterdir() if path.is_dir())
