"""The clean and the dirt tree: made from a manifest, and undone by it.

The manifest is on disk before the first image is placed, and placing is idempotent. So a killed run
is finished by the same command, or undone.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, get_args

from facerec.cleanup.plan import Placement
from facerec.errors import InputError, MissingError, UsageError
from facerec.files.hashing import sha256_of
from facerec.files.parsing import parse_json
from facerec.files.text import read_text
from facerec.files.writing import exists, replacing

Means = Literal["hardlink", "copy", "symlink"]
MANIFEST = "manifest.jsonl"
NEXT = "manifest.next.jsonl"
UNDONE = "undone.jsonl"
LEFT = "left there: it was changed, or its original is gone"
# What a run writes before its manifest: caches of what was seen, the plot, hidden temporary files.
_UNFINISHED = ("survey.sqlite", "excluded.sqlite", "views.sqlite", "plot.svg", ".")
_VERSION = 1
_TREES = ("clean", "dirt")
_BLOCK = 1 << 20
# Across file systems, or on one that does not support or permit hard links.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a cleanup placed, or is about to place.

    Attributes:
        clean, dirt: absolute paths of the two trees.
        means: how images are placed.
        folders: folders created, outermost first.
        placements: one per image.
    """

    clean: str
    dirt: str
    means: Means
    folders: Sequence[str]
    placements: Sequence[Placement]

    def target(self, placement: Placement) -> Path:
        """The file that an image is placed at."""
        return Path(self.clean if placement.decision == "clean" else self.dirt) / placement.to

    def write(self, path: Path) -> None:
        """Write the manifest as JSON lines, atomically."""
        header = {
            "facerec_cleanup": _VERSION,
            "clean": self.clean,
            "dirt": self.dirt,
            "means": self.means,
            "folders": list(self.folders),
        }
        # ASCII: names that are not valid Unicode are escaped.
        with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
            file.write(json.dumps(header) + "\n")
            file.writelines(json.dumps(asdict(place)) + "\n" for place in self.placements)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Inverse of `write`.

        Raises:
            MissingError: the file is absent, damaged or no manifest.
        """
        try:
            first, *lines = read_text(path).splitlines()
            header = parse_json(first)
            if header["facerec_cleanup"] != _VERSION:
                raise ValueError("another version")
            placements = [Placement(**parse_json(line)) for line in lines]
            manifest = cls(
                header["clean"], header["dirt"], header["means"], header["folders"], placements
            )
            manifest._check()
        except (UsageError, ValueError, KeyError, TypeError) as error:
            raise MissingError(f"{path}: damaged or no cleanup manifest ({error})") from error
        return manifest

    def _check(self) -> None:
        """That every value is of its type, and every image placed within its tree.

        Raises:
            TypeError, ValueError: one is not.
        """
        texts = [self.clean, self.dirt, *self.folders]
        for placement in self.placements:
            texts += [placement.path, placement.sha256, placement.file, placement.to]
            place = PurePath(placement.to)
            if place.is_absolute() or ".." in place.parts or placement.decision not in _TREES:
                raise ValueError(f"{placement.to!r} lies in no tree")
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise TypeError("a path is no text")
        if self.means not in get_args(Means):
            raise ValueError(f"images are placed by {self.means!r}")


def prepare(clean: Path, dirt: Path, means: Means, placements: Sequence[Placement]) -> Manifest:
    """The manifest of placing images in two empty trees.

    Raises:
        UsageError: a tree is not empty.
    """
    for tree in (clean, dirt):
        require_empty(tree)
    return renew(
        Manifest(str(clean.absolute()), str(dirt.absolute()), means, [], placements), placements
    )


def require_empty(tree: Path) -> None:
    """Check that a tree can be made in a folder.

    Raises:
        UsageError: the folder is not empty.
    """
    if tree.exists() and (not tree.is_dir() or any(tree.iterdir())):
        raise UsageError(f"{tree}: is not empty; choose another folder, or undo what made it")


def has_manifest(report: Path) -> bool:
    """Whether a report folder holds a cleanup's manifest; if not, no report is written among
    somebody's files.

    Raises:
        UsageError: it holds other files than those of an unfinished or undone cleanup.
        MissingError: its manifest is damaged or another program's.
    """
    if (report / MANIFEST).exists():
        Manifest.read(report / MANIFEST)
        return True
    if not report.exists() or (report / UNDONE).exists():
        return False
    others = [path.name for path in report.iterdir() if not path.name.startswith(_UNFINISHED)]
    if others:
        raise UsageError(
            f"{report}: holds other files, such as {min(others)}; choose another --report"
        )
    return False


def renew(manifest: Manifest, placements: Sequence[Placement]) -> Manifest:
    """A manifest with other placements; folders that it created stay listed."""
    wanted = Manifest(manifest.clean, manifest.dirt, manifest.means, [], placements)
    folders = set(manifest.folders)
    for parent in {wanted.target(placement).parent for placement in placements}:
        while str(parent) not in folders and not parent.exists():
            folders.add(str(parent))
            parent = parent.parent
    return Manifest(
        manifest.clean, manifest.dirt, manifest.means, sorted(folders, key=len), placements
    )


def place_all(manifest: Manifest, advance: Callable[[int], None] = lambda _: None) -> list[str]:
    """Place every image that is not placed yet; returns the problems.

    Args:
        advance: progress callback, with the number of images placed.

    Raises:
        UsageError: another file is in an image's place, or it cannot be written.
    """
    problems = []
    for placement in manifest.placements:
        try:
            _place(placement, manifest.target(placement), manifest.means)
        except InputError as error:
            problems.append(str(error))
        advance(1)
    return problems


def _place(placement: Placement, target: Path, means: Means) -> None:
    source = Path(placement.path)
    if os.path.lexists(target):
        if _is_ours(placement, target):
            return
        raise UsageError(f"{target}: something else is there; move it away")
    try:
        source.stat()
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise InputError(f"{source}: {cause}, so it cannot be placed at {target}") from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if means == "symlink":
            target.symlink_to(source.resolve())
            return
        if means == "hardlink":
            try:
                os.link(source.resolve(), target)
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    # A source that cannot be read stops nothing; opened first, as `replacing` takes its errors for
    # the target's.
    with _reading(source) as original, replacing(target) as temporary, temporary.open("wb") as copy:
        while block := _read(original, source):
            copy.write(block)


@contextmanager
def _reading(source: Path) -> Iterator[BinaryIO]:
    try:
        original = source.open("rb")
    except OSError as error:
        raise _unreadable(source, error) from error
    with original:
        yield original


def _read(original: BinaryIO, source: Path) -> bytes:
    try:
        return original.read(_BLOCK)
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> InputError:
    return InputError(f"{source}: cannot be copied: {error.strerror or error}")


def _is_ours(placement: Placement, target: Path) -> bool:
    """Whether a file is unchanged since it was placed."""
    with suppress(OSError):
        if target.samefile(placement.path):
            return True
    if target.is_symlink():
        return str(target.readlink()) == str(Path(placement.path).resolve())
    source = Path(placement.path)
    with suppress(OSError):
        if target.is_file() and (placement.sha256 or source.is_file()):
            return sha256_of(target) == (placement.sha256 or sha256_of(source))
    return False


def count_copies(manifest: Manifest) -> int:
    """How many images there are copies, where hard links were wanted and could not be made."""
    copies = 0
    for placement in manifest.placements if manifest.means == "hardlink" else ():
        with suppress(OSError):
            copies += not manifest.target(placement).samefile(placement.path)
    return copies


def change(path: Path, new: Manifest, advance: Callable[[int], None] = lambda _: None) -> list[str]:
    """Replace a manifest's placements; returns the problems.

    New files are placed before old ones are removed, but for those whose place another image gets.
    Of these, what was changed since or has no original is left, is a problem, and stays in the
    manifest. A killed or failed change is finished by the same command, replaced by a change to
    other placements, or undone by `undo`.

    Args:
        path: the present manifest.
        new: what to change to.
        advance: progress callback, with the number of images placed.

    Raises:
        UsageError: a place cannot be written.
    """
    old = Manifest.read(path)
    coming = path.with_name(NEXT)
    if coming.exists():
        old = _joined(old, Manifest.read(coming))
        old.write(path)
    new = replace(new, folders=sorted({*old.folders, *new.folders}, key=len))
    new.write(coming)
    wanted = {new.target(placement): placement.path for placement in new.placements}
    stale = [place for place in old.placements if wanted.get(old.target(place)) != place.path]
    left = _remove(old, [place for place in stale if old.target(place) in wanted])
    problems = place_all(new, advance)
    left += _remove(old, [place for place in stale if old.target(place) not in wanted])
    kept = [place for place in stale if str(old.target(place)) in left]
    replace(new, placements=[*new.placements, *kept]).write(path)
    coming.unlink()
    return problems + [f"{file}: {LEFT}" for file in left]


def _joined(manifest: Manifest, other: Manifest) -> Manifest:
    """What either of two manifests of the same trees may have placed."""
    folders = sorted({*manifest.folders, *other.folders}, key=len)
    placements = list(dict.fromkeys([*manifest.placements, *other.placements]))
    return replace(manifest, folders=folders, placements=placements)


def undo(path: Path, advance: Callable[[int], None] = lambda _: None) -> list[str]:
    """Remove what a manifest placed; returns the files left: changed since, or without original.

    Removes only unchanged files, and folders that it created and that are empty. A manifest of the
    files left stays, for another undo once their originals are back; without any it is renamed, so
    that a second undo reports it missing.

    Args:
        advance: progress callback, with the number of images removed.

    Raises:
        MissingError: there is no manifest.
        UsageError: something cannot be removed.
    """
    manifest = Manifest.read(path)
    coming = path.with_name(NEXT)
    if coming.exists():
        manifest = _joined(manifest, Manifest.read(coming))
    left = _remove(manifest, manifest.placements, advance)
    for folder in reversed(manifest.folders):
        with suppress(OSError):  # not empty, or never made
            Path(folder).rmdir()
    if left:
        kept = [place for place in manifest.placements if str(manifest.target(place)) in left]
        replace(manifest, placements=kept).write(path)
    coming.unlink(missing_ok=True)
    if not left:
        path.replace(path.with_name(UNDONE))
    return left


def _remove(
    manifest: Manifest,
    placements: Iterable[Placement],
    advance: Callable[[int], None] = lambda _: None,
) -> list[str]:
    left = []
    for placement in placements:
        advance(1)
        target = manifest.target(placement)
        if not os.path.lexists(target):
            continue
        # Without its original the placed file may be the only copy.
        if not exists(Path(placement.path)) or not _is_ours(placement, target):
            left.append(str(target))
            continue
        try:
            target.unlink()
        except OSError as error:
            raise UsageError(f"{target}: cannot be removed: {error.strerror}") from error
    return left
