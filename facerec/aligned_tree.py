"""Align a tree of photos: a tree of chips, a manifest, and failures set aside."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from facerec.alignment.templates import ARCFACE, ARCFACE_SIZE
from facerec.alignment.warp import central_face, crop_box, crop_in_pixels, warp_to_template
from facerec.card import Template
from facerec.engine.engine import Engine
from facerec.errors import InputError, MissingError, UsageError
from facerec.faces import Face, Image
from facerec.files.locking import locked
from facerec.files.output_names import OutputNames, safe_name
from facerec.files.parsing import parse_json
from facerec.files.text import read_text
from facerec.files.writing import check_output, replacing
from facerec.imaging.draw import write_image
from facerec.imaging.photos import Photo
from facerec.imaging.reader import read_frames
from facerec.profile.loading import Profile

MANIFEST = "manifest.jsonl"
Observer = Callable[[str], None]
"""Callback after each photo, with a problem or ""."""


@dataclass(frozen=True, slots=True)
class Crop:
    """How a face is cropped to a chip.

    Attributes:
        template: target landmarks in a chip of `size`; None crops the box instead.
        size: height and width in pixels.
        margin: around the box, as a share of its longer side.
        pixels: as `crop_in_pixels` takes them; None: `margin` counts.
    """

    template: Template | None
    size: tuple[int, int]
    margin: float
    pixels: float | None = None

    @classmethod
    def from_profile(cls, profile: Profile, engine: Engine) -> Crop:
        section, card = profile.alignment, engine.card
        native = (card.input_height, card.input_width)
        template = card.template
        if section.template == "arcface":
            template, native = ARCFACE, (ARCFACE_SIZE, ARCFACE_SIZE)
        size = (section.size, section.size) if section.size else native
        if section.crop == "points" and section.template == "none":
            raise UsageError("--template none: --crop box or --crop seed cuts without a template")
        if section.crop == "seed":
            return cls(None, size, 0.0, section.margin_pixels)
        if section.crop == "box":
            return cls(None, size, section.margin)
        return cls(_scale(template, native, size), size, 0.0)

    def chips(self, image: Image, faces: Sequence[Face]) -> Image:
        """`(N, H, W, 3) uint8` RGB, one per face."""
        if self.template is not None:
            return warp_to_template(image, faces, self.template, self.size)
        if self.pixels is not None:
            return np.stack([crop_in_pixels(image, it, self.size, self.pixels) for it in faces])
        return np.stack([crop_box(image, face, self.size[0], self.margin) for face in faces])

    def settings(self) -> dict[str, Any]:
        """Settings that a rerun must share."""
        return {
            "template": self.template.name if self.template else None,
            "size": list(self.size),
            "margin": self.margin,
            **({} if self.pixels is None else {"pixels": self.pixels}),
        }


@dataclass(slots=True)
class Outcome:
    """Photos aligned, skipped because an earlier run aligned them, and failed.

    Attributes:
        took_one: of the aligned photos, those that show further faces.
    """

    aligned: int = 0
    skipped: int = 0
    failed: int = 0
    took_one: int = 0


def align_tree(
    photos: Mapping[str, Photo],
    out: str | Path,
    aside: str | Path,
    engine: Engine,
    profile: Profile,
    observe: Observer,
) -> Outcome:
    """Write each photo's chip to the same relative path below `out`.

    A photo's most central face is taken (all of them, numbered, with `gallery.faces: all`;
    none of several with `refuse`). Photos without a usable face are copied below `aside`, into
    a folder named after the reason. `out/manifest.jsonl` gets a line per photo; a rerun skips
    photos that the manifest lists, so it resumes an interrupted run.

    Args:
        photos: by path in the tree, `/` between folders.

    Raises:
        UsageError: `out` holds chips made with other settings, or cannot be written.
    """
    out, aside = Path(out), Path(aside)
    crop = Crop.from_profile(profile, engine)
    policy = profile.gallery.faces
    settings = {**crop.settings(), "faces": policy}
    manifest = out / MANIFEST
    check_output(manifest)
    begun = manifest.exists()
    done, written = _read_manifest(manifest, settings)
    waiting = [place for place in photos if place not in done]
    names = OutputNames([MANIFEST, *written])
    # All first, so that no second face of one photo takes the name of another photo's first.
    chips = {place: names.claim(name, place) for place, name in _chip_names(photos, waiting)}
    if not begun:
        _refuse_others_files(out / name for name in chips.values())
        _write_manifest(manifest, json.dumps({"settings": settings}) + "\n")
    outcome = Outcome(skipped=len(photos) - len(waiting))
    frames = read_frames(
        (photos[place] for place in waiting),
        workers=profile.runtime.workers,
        max_pixels=profile.runtime.max_pixels,
    )
    # What is not valid Unicode in a name becomes JSON's own escape.
    with locked(manifest), manifest.open("a", encoding="utf-8", errors="backslashreplace") as log:
        stream = engine.detections(frames, expected=len(waiting))
        for relative, (frame, found) in zip(waiting, stream, strict=True):
            photo = photos[relative]
            record: dict[str, Any] = {"source": relative}
            problem = ""
            if frame.image is None or (reason := _refusal(found, policy)):
                reason = "unreadable" if frame.image is None else reason
                problem = str(frame.error or f"{photo}: {reason}")
                _copy_aside(photo, aside / reason.replace(" ", "-") / _safe_path(relative))
                record["failed"] = problem
                outcome.failed += 1
            else:
                faces = found if policy == "all" else [central_face(frame.image, found)]
                outcome.took_one += len(faces) < len(found)
                record["faces"] = _write_chips(
                    out, chips[relative], names, crop, frame.image, faces
                )
                outcome.aligned += 1
            # ASCII: no name has a line's end for `splitlines`, or is invalid Unicode.
            log.write(json.dumps(record) + "\n")
            log.flush()
            observe(problem)
    return outcome


def _safe_path(relative: str) -> PurePosixPath:
    return PurePosixPath(*map(safe_name, relative.split("/")))


def _refusal(faces: Sequence[Face], policy: str) -> str:
    if not faces:
        return "no face"
    return "several faces" if policy == "refuse" and len(faces) > 1 else ""


def _scale(template: Template, native: tuple[int, int], size: tuple[int, int]) -> Template:
    down, right = size[0] / native[0], size[1] / native[1]
    points = [(x * right, y * down) for x, y in template.points]
    return Template.model_validate({"name": template.name, "points": points})


def _refuse_others_files(chips: Iterable[Path]) -> None:
    for chip in chips:
        if chip.exists():
            raise UsageError(f"{chip}: is there, but not of an earlier run; choose another folder")


def _read_manifest(manifest: Path, settings: dict[str, Any]) -> tuple[set[str], list[str]]:
    """The photos that are done, and all their chips; none of either without a manifest."""
    if not manifest.exists():
        return set(), []
    try:
        text = read_text(manifest)
    except (MissingError, UsageError) as error:
        raise UsageError(f"{manifest}: cannot be read; choose another folder") from error
    whole = text[: text.rfind("\n") + 1]
    if whole.encode() != manifest.read_bytes():
        # A killed run left a partial line; its photo is aligned again. An editor may have added a
        # mark or changed the encoding, in which no line can be added.
        _write_manifest(manifest, whole)
    try:
        records = [parse_json(line) for line in whole.splitlines()]
        same = bool(records) and records[0].get("settings") == settings
        done = {str(record["source"]) for record in records[1:]}
        chips = [str(face["chip"]) for record in records[1:] for face in record.get("faces", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{manifest}: damaged; choose another folder") from error
    if not same:
        raise UsageError(
            f"{manifest}: these chips were made with other settings; choose another folder"
        )
    return done, chips


def _write_manifest(manifest: Path, text: str) -> None:
    with replacing(manifest) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _chip_names(
    places: Iterable[str], waiting: Iterable[str]
) -> Iterator[tuple[str, PurePosixPath]]:
    """The path of each waiting photo with the suffix .png; photos that differ only in their suffix
    keep it in the name."""
    stems = Counter(PurePosixPath(place).with_suffix("") for place in places)
    for place in waiting:
        path = PurePosixPath(place)
        alone = stems[path.with_suffix("")] == 1
        yield place, path.with_suffix(".png") if alone else path.with_name(f"{path.name}.png")


def _write_chips(
    out: Path, name: PurePosixPath, names: OutputNames, crop: Crop, image: Image,
    faces: Sequence[Face],
) -> list[dict[str, Any]]:  # fmt: skip
    records = []
    for number, (chip, face) in enumerate(zip(crop.chips(image, faces), faces, strict=True)):
        chip_name = name
        if number > 0:
            wanted = name.with_name(f"{name.stem}-{number + 1}.png")
            chip_name = names.claim(wanted, f"{name} {number + 1}")
        write_image(out / chip_name, chip)
        records.append({"chip": chip_name.as_posix(), **face.to_record()})
    return records


def _copy_aside(photo: Photo, target: Path) -> None:
    """Copy a photo if it can be read, unless something is there."""
    if target.exists():
        return
    if photo.path is not None:
        if photo.path.is_file():
            with (
                suppress(OSError),
                photo.path.open("rb") as source,
                replacing(target) as temporary,
                temporary.open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy)
        return
    with suppress(InputError):
        content = photo.read()
        with replacing(target) as temporary:
            temporary.write_bytes(content)
