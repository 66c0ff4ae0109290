"""The shared engine: one detector, one aligner, one embedder, built from a profile."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import torch

from facerec.alignment.warp import adapt_chip, warp_to_template
from facerec.card import ModelCard
from facerec.detection import Detector
from facerec.detection.creation import points_of
from facerec.detection.reduction import power_of_two
from facerec.engine.building import build_detector, open_model
from facerec.engine.images import require_image, require_images
from facerec.engine.pool import Batch, Batches, Select, WorkerConfig, map_in_workers
from facerec.engine.quality import (
    adapt_chips,
    face_quality,
    norm_quality,
    quality_chips,
    upsampling,
)
from facerec.engine.second_look import with_second_look
from facerec.engine.vectors import FaceVectors, FusedVectors, Vectors, face_vectors
from facerec.errors import ArgumentError, InputError, UsageError
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.reader import read_again
from facerec.models import Embedder
from facerec.models.fusion import Fusion, Part, fuse
from facerec.parallel.ahead import map_ahead
from facerec.parallel.devices import choose_device
from facerec.profile.loading import Profile
from facerec.registry import DETECTORS

Item = TypeVar("Item")
_BATCH_PIXELS = 16_000_000
_IN_FLIGHT = 4
"""Batches of a stream in memory at once: one detected, one embedded, one consumed, one queued."""
_MAX_WORKERS = 8
"""Each takes 0.15 to 0.5 GB."""


class Engine:
    """Detects, aligns and embeds faces, in batches, in order and in bounded memory.

    >>> engine = Engine.from_profile("default")
    >>> [[face.box for face in faces] for faces in engine.detect([image])]
    """

    def __init__(
        self, detector: Detector, model: Embedder | Fusion, *, batch: int,
        profile: Profile | None = None,
    ) -> None:  # fmt: skip
        self._detector = detector
        self._vectors: FaceVectors = face_vectors(model, batch)
        self._batch = batch
        self._profile = profile
        self._whole_batches = self._apart = False

    @classmethod
    def from_profile(cls, profile: str | Path | Profile = "default") -> Engine:
        """Build the engine that a profile, or its name or file, describes.

        Raises:
            ProfileError: the profile is invalid.
            MissingError: weights, a package or the device is missing.
        """
        if not isinstance(profile, Profile):
            profile = Profile.load(profile)
        detector = with_second_look(build_detector(profile), profile.detector)
        return cls(detector, open_model(profile), batch=profile.runtime.batch, profile=profile)

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "an Engine cannot be pickled or deeply copied: it holds networks and threads; make one "
            "in each process, by Engine.from_profile(profile): a Profile can be pickled"
        )

    def __copy__(self) -> Engine:
        """An engine of the same networks."""
        same = object.__new__(type(self))
        vars(same).update(vars(self))
        return same

    @property
    def card(self) -> ModelCard:
        """The card of the vectors."""
        return self._vectors.card

    def in_whole_batches(self) -> Engine:
        """This engine with passes of a fixed batch size: vectors do not depend, to the bit, on how
        a stream is divided."""
        whole = copy.copy(self)
        whole._vectors = self._vectors.in_whole_batches(self._batch_frames)
        whole._whole_batches = True
        return whole

    def apart(self) -> Engine:
        """This engine with fused networks' raw vectors side by side, neither weighted nor
        normalised, so that what is kept of them serves any weights; see `fuse`."""
        if not isinstance(self._vectors, FusedVectors):
            return self
        apart = copy.copy(self)
        apart._vectors, apart._apart = self._vectors.apart(), True
        return apart

    def fuse(self, vectors: Floats) -> Floats:
        """This engine's unit vectors, from those of `apart`, `(N, D) float32`."""
        if not isinstance(self._vectors, FusedVectors):
            return vectors
        ends = np.cumsum([part.size for part in self.networks])[:-1]
        return fuse(np.split(vectors, ends, axis=1), self.networks)

    @property
    def arithmetic(self) -> str:
        """Runtime and precision of the embedder; see `facerec.models.Embedder`."""
        return self._vectors.arithmetic

    @property
    def passes(self) -> int:
        """Forward passes per face."""
        return self._vectors.passes

    @property
    def networks(self) -> list[Part]:
        """Each network's part of a vector; one part unless fused."""
        return list(self._vectors.parts)

    @property
    def described(self) -> tuple[str, str]:
        """The card's fingerprint and the arithmetic; engines that agree in both give the same
        vectors."""
        return self.card.fingerprint(), self.arithmetic

    def points(self, *, aligned: bool = False) -> str:
        """By whose five points faces are aligned, see `facerec.detection.creation.points_of`;
        `none` for images that are aligned faces, `unknown` for an engine made without a profile."""
        if aligned:
            return "none"
        return "unknown" if self._profile is None else points_of(self._profile.detector)

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each image, highest score first.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.

        Raises:
            UsageError: one is no such array, as `read_image` reads them.
        """
        return self._detector.detect(require_images(images))

    def reduction(self, height: int, width: int) -> int:
        """JPEG downscale factor at which the smallest face sought stays detectable; see
        `read_frames`. A face with too few pixels for the model is decoded again before embedding.
        """
        return self._detector.reduction(height, width)

    def align(self, image: Image, faces: Sequence[Face]) -> Image:
        """One chip per face on the model's template, `(N, H, W, 3) uint8` RGB.

        A face without landmarks, such as of `embed` with `aligned`, is the whole image.

        Raises:
            UsageError: the image is no `(H, W, 3) uint8` array, as `read_image` reads it; or a
                face has no landmarks, and the image is neither square nor of the model's size.
        """
        require_image(image)
        template, size = self.card.template, self._chip_size
        chips = np.empty((len(faces), *size, 3), np.uint8)
        for chip, face in zip(chips, faces, strict=True):
            pixels, located = self._with_points(image, face)
            chip[:] = warp_to_template(pixels, [located], template, size)[0]
        return chips

    def quality(self, found: Sequence[tuple[Image, Face]]) -> Floats:
        """Quality `(N,) float32` in [0, 1] of faces, each given with the image it was found in, by
        its pixels and landmarks alone.

        Raises:
            UsageError: as `align` does.
        """
        require_images(image for image, _ in found)
        located = [self._with_points(image, face) for image, face in found]
        return face_quality(quality_chips(located), [face for _, face in found])

    def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
        """Unit vectors `(N, D) float32` of faces, each given with the image it was found in.

        Raises:
            UsageError: as `align` does.
        """
        require_images(image for image, _ in found)
        return self._vectors.of_found([self._with_points(*one) for one in found]).units

    def embed_chips(self, chips: Image) -> Floats:
        """Unit vectors `(N, D) float32` of chips `(N, H, W, 3) uint8` RGB.

        Views, where the card averages them, are taken from the chips themselves.

        Raises:
            UsageError: one is no such array.
            ArgumentError: one is not of the model's size.
        """
        height, width = self._chip_size
        for chip in (images := require_images(chips)):
            if chip.shape[:2] != (height, width):
                raise ArgumentError(
                    f"a chip of {chip.shape[1]}x{chip.shape[0]}, but {self.card.name} takes "
                    f"{width}x{height}; `embed` with `aligned` takes squares of any size"
                )
        if not isinstance(chips, np.ndarray):
            chips = np.array(images, np.uint8).reshape(-1, height, width, 3)
        return self._vectors.of_chips(chips).units

    def embed(
        self, images: Sequence[Image], *, aligned: bool = False, select: Select | None = None
    ) -> list[list[Face]]:
        """Faces of each image with their embeddings and quality.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
            aligned: each image is one aligned face: nothing is detected.
            select: picks which of an image's faces are embedded and returned.

        Raises:
            UsageError: an image is no `(H, W, 3) uint8` array, as `read_image` reads it; or an
                aligned one is neither square nor of the model's size.
        """
        images = require_images(images)
        if aligned:
            chips = [self._chip_of(image) for image in images]
            located = [(Frame("", chip), [_whole(chip)]) for chip in chips]
        else:
            located = self.locate([Frame("", image) for image in images], select)
        return [faces for _, faces in self._complete(located, aligned=aligned)]

    def faces_of(
        self, frames: Sequence[Frame], *, select: Select | None, embed: bool
    ) -> list[list[Face]]:
        """Faces of frames with an image, as `faces` and `detections` give them."""
        return self.complete(self.locate(frames, select), embed=embed)

    def locate(self, frames: Sequence[Frame], select: Select | None = None) -> Batch:
        """The first half of `faces_of`: each frame with the faces that `select` picks, in pixels of
        its image as it was decoded. One thread may locate while another completes."""
        found: list[list[Face]] = [[] for _ in frames]
        for factor in {_factor(frame) for frame in frames}:
            of = [i for i, frame in enumerate(frames) if _factor(frame) == factor]
            images = {i: image for i in of if (image := frames[i].image) is not None}
            detector = self._detector if factor == 1 else self._detector.reduced(factor)
            for i, faces in zip(images, detector.detect(list(images.values())), strict=True):
                picked = select(images[i], faces) if faces and select is not None else faces
                found[i] = [dataclasses.replace(face, among=len(faces)) for face in picked]
        return list(zip(frames, found, strict=True))

    def complete(self, located: Batch, *, embed: bool) -> list[list[Face]]:
        """The second half of `faces_of`: faces in pixels of the original images, with their
        quality, and embedded if `embed`."""
        done = self._complete(located, aligned=False) if embed else self._measure(located)
        return [faces for _, faces in done]

    def faces(
        self, frames: Iterable[Frame], *, aligned: bool = False, select: Select | None = None,
        expected: int | None = None,
    ) -> Iterator[tuple[Frame, list[Face]]]:  # fmt: skip
        """Embed a stream of frames, in order.

        While the consumer has one batch, later ones are read, detected and embedded; together they
        hold at most `batch` frames. A frame that could not be read, or whose aligned image is not
        square, passes through with its error and no faces.

        A long stream of photos is divided among `runtime.processes` workers, each of which holds
        as many frames again.

        Args:
            select: as in `embed`; called in a thread, or in worker processes if it is a module's
                function.
            expected: how many frames there are, if known: workers then start as soon as they pay
                off, or not at all.
        """
        if aligned:
            located: Iterable[Batch] = map(self._take_aligned, self._batches(frames))
            done = _pipelined(located, lambda batch: self._complete(batch, aligned=True))
        else:
            done = self._shared(
                self._batches(frames),
                lambda batches: _pipelined(
                    _pipelined(batches, lambda batch: self.locate(batch, select)),
                    lambda batch: self._complete(batch, aligned=False),
                ),
                select=select, embed=True, expected=expected,
            )  # fmt: skip
        for batch in done:
            yield from batch

    def detections(
        self, frames: Iterable[Frame], *, expected: int | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        """As `faces`, without embedding."""
        done = self._shared(
            self._batches(frames),
            lambda batches: _pipelined(
                batches, lambda batch: self._measure(self.locate(batch, None))
            ),
            select=None, embed=False, expected=expected,
        )  # fmt: skip
        for batch in done:
            yield from batch

    def _shared(
        self, batches: Batches, local: Callable[[Batches], Iterator[Batch]], *,
        select: Select | None, embed: bool, expected: int | None,
    ) -> Iterator[Batch]:  # fmt: skip
        """The stream, shared with worker processes where these would speed it up."""
        profile = self._profile
        if profile is None or choose_device(profile.runtime.device) != "cpu":
            return local(batches)
        if DETECTORS.fact(profile.detector.name, "uses_all_cores"):
            return local(batches)
        threads = torch.get_num_threads()
        count = profile.runtime.processes or min(threads, _MAX_WORKERS)
        own = {"processes": 1, "threads": max(1, threads // count), "device": "cpu"}
        runtime = profile.runtime.model_copy(update=own)
        workers = profile.model_copy(update={"runtime": runtime})
        config = WorkerConfig(
            workers, self._whole_batches, self._apart, self.described, select, embed
        )
        return map_in_workers(batches, local, config, count, expected)

    @property
    def _batch_frames(self) -> int:
        """Most frames in a batch of a stream."""
        return max(1, self._batch // _IN_FLIGHT)

    @property
    def _chip_size(self) -> tuple[int, int]:
        return self.card.input_height, self.card.input_width

    def _take_aligned(self, frames: Sequence[Frame]) -> Batch:
        """Aligned frames, warped from their template to the model's."""
        adapted = map(self._adapt, frames)
        return [(frame, [] if frame.image is None else [_whole(frame.image)]) for frame in adapted]

    def _adapt(self, frame: Frame) -> Frame:
        if frame.image is None:
            return frame
        try:
            chip = self._chip_of(frame.image)
        except UsageError as error:
            problem = InputError(f"{frame.source}: {error}")
            return dataclasses.replace(frame, image=None, error=problem)
        return dataclasses.replace(frame, image=chip)

    def _chip_of(self, image: Image) -> Image:
        """An aligned image on the model's template."""
        given = self._profile.alignment.template if self._profile is not None else "auto"
        return adapt_chip(image, self.card.template, self._chip_size, given)

    def _with_points(self, image: Image, face: Face) -> tuple[Image, Face]:
        """The face with landmarks, and an image to warp it from: without them the image is an
        aligned one of the face, whose landmarks are the template's points."""
        if not image.size:
            raise UsageError(f"an image of {image.shape[1]}x{image.shape[0]} pixels shows no face")
        if np.isfinite(face.landmarks).all():
            return image, face
        points = np.asarray(self.card.template.points, np.float32)
        return self._chip_of(image), dataclasses.replace(face, landmarks=points)

    def _complete(self, located: Batch, *, aligned: bool) -> Batch:
        """The frames' faces with their embeddings and quality."""
        enlargement = self._vectors.enlargement
        wanted = [
            found for frame, faces in located for found in _with_pixels(frame, faces, enlargement)
        ]
        if aligned and wanted:
            images = np.stack([image for image, _ in wanted])
            vectors = self._vectors.of_chips(images)
            chips = adapt_chips(images, self.card.template)
        else:
            vectors, chips = self._vectors.of_found(wanted), quality_chips(wanted)
        return _with_vectors(_rate(_at_full_size(located), chips), vectors, self.card)

    def _measure(self, located: Batch) -> Batch:
        """The frames' faces with their quality."""
        wanted = [
            found for frame, faces in located for found in _with_pixels(frame, faces, upsampling)
        ]
        return _rate(_at_full_size(located), quality_chips(wanted))

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Batches of at most `_batch_frames` frames and, beyond the first frame, `_BATCH_PIXELS`
        pixels."""
        batch: list[Frame] = []
        pixels = 0
        for frame in frames:
            batch.append(frame)
            pixels += frame.image.size // 3 if frame.image is not None else 0
            if len(batch) >= self._batch_frames or pixels >= _BATCH_PIXELS:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch


def _pipelined(items: Iterable[Item], function: Callable[[Item], Batch]) -> Iterator[Batch]:
    """One item at a time in a thread, the next while the consumer has the last."""
    return map_ahead(items, function, workers=1, ahead=1)


def _factor(frame: Frame) -> int:
    return 1 if frame.original is None else frame.original.factor


def _with_pixels(
    frame: Frame, faces: Sequence[Face], enlargement: Callable[[Floats], float]
) -> list[tuple[Image, Face]]:
    """The faces, each with an image of enough resolution: decoded again if the frame was downscaled
    too far.

    Args:
        enlargement: scale from image to chip by a face's landmarks; above 1 a chip is upsampled.
    """
    image, factor = frame.image, _factor(frame)
    if image is None:
        return []
    if faces and factor > 1:
        upscaling = max(enlargement(face.landmarks) for face in faces)
        wanted = power_of_two(factor / upscaling)
        if wanted < factor:
            with contextlib.suppress(InputError):  # keep the image already decoded
                image = read_again(frame, wanted)
                faces = [face.enlarged(factor // wanted) for face in faces]
    return [(image, face) for face in faces]


def _rate(located: Batch, chips: Image) -> Batch:
    """Faces with their quality.

    Args:
        chips: of all of them, in order, see `quality_chips`.
    """
    qualities = iter(face_quality(chips, [face for _, faces in located for face in faces]).tolist())
    return [
        (frame, [dataclasses.replace(face, quality=next(qualities)) for face in faces])
        for frame, faces in located
    ]


def _with_vectors(rated: Batch, vectors: Vectors, card: ModelCard) -> Batch:
    """Faces with their vectors and, where the card says what norms mean, these and what they tell
    of quality."""
    units, norms = iter(vectors.units), vectors.norms
    if norms is None:
        return [
            (frame, [dataclasses.replace(face, embedding=next(units)) for face in faces])
            for frame, faces in rated
        ]
    measured = iter(zip(vectors.units, norms.tolist(), norm_quality(norms, card), strict=True))

    def complete(face: Face) -> Face:
        (unit, norm, factor), quality = next(measured), face.quality
        quality = None if quality is None else quality * float(factor)
        return dataclasses.replace(face, embedding=unit, norm=norm, quality=quality)

    return [(frame, [complete(face) for face in faces]) for frame, faces in rated]


def _at_full_size(located: Batch) -> Batch:
    """Faces in pixels of the original images, of which downscaled versions were decoded."""
    return [
        (frame, faces if _factor(frame) == 1 else [face.enlarged(_factor(frame)) for face in faces])
        for frame, faces in located
    ]


def _whole(image: Image) -> Face:
    height, width = image.shape[:2]
    nowhere = np.full((5, 2), np.nan, np.float32)
    return Face(np.array([0, 0, width, height], np.float32), 1.0, nowhere)
