"""The shared engine: one detector, one aligner, one embedder, built from a profile."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from facerec.alignment.warp import (
    WHOLE,
    adapt_chip,
    enlargement,
    views_of,
    warp,
    warp_to_template,
)
from facerec.card import ModelCard
from facerec.detection import Detector
from facerec.detection.reduction import power_of_two
from facerec.engine.building import build_detector, open_embedder
from facerec.engine.pool import Batch, Batches, Order, Select, divide
from facerec.errors import InputError, UsageError
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.reader import read_again
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.whole_batches import WholeBatches
from facerec.parallel.ahead import map_ahead
from facerec.parallel.devices import choose_device
from facerec.profile.loading import Profile
from facerec.registry import DETECTORS

Item = TypeVar("Item")
_PIXELS = 16_000_000
_WHOLE = 8
"""Chips that another runtime embeds at once where vectors must come out the same to the bit."""
_IN_WORK = 4
"""Batches of a stream that are in work at once: detected, embedded and given out, and one more for
which there is room, so that 32 images make batches of 8, twice what is embedded in one pass."""
_MOST_HELPERS = 8
"""Each takes 0.7 GB."""


class Engine:
    """Detects, aligns and embeds faces, in batches, in order and in bounded memory.

    >>> engine = Engine.from_profile("default")
    >>> [[face.box for face in faces] for faces in engine.detect([image])]
    """

    def __init__(
        self, detector: Detector, embedder: Embedder, *, batch: int,
        profile: Profile | None = None, whole: bool = False,
    ) -> None:  # fmt: skip
        self._detector = detector
        self._embedder = embedder
        self._batch = batch
        self._profile = profile
        self._whole = whole
        self._views = views_of(embedder.card.augment)

    @classmethod
    def from_profile(cls, profile: str | Path | Profile = "default") -> Engine:
        """Build the engine that a profile, or its name or file, describes.

        Raises:
            ProfileError: the profile is invalid.
            MissingError: weights, a package or the device is missing.
        """
        if not isinstance(profile, Profile):
            profile = Profile.load(profile)
        detector, embedder = build_detector(profile), open_embedder(profile)
        return cls(detector, embedder, batch=profile.runtime.batch, profile=profile)

    @property
    def card(self) -> ModelCard:
        """The embedder's model card."""
        return self._embedder.card

    def in_whole_batches(self) -> Engine:
        """This engine for work that must come out the same to the bit however it is divided."""
        whole = (
            self._embedder.in_whole_batches(self._most_frames)
            if isinstance(self._embedder, TorchEmbedder)
            else WholeBatches(self._embedder, _WHOLE)
        )
        return Engine(self._detector, whole, batch=self._batch, profile=self._profile, whole=True)

    @property
    def arithmetic(self) -> str:
        """Runtime and precision of the embedder; see `facerec.models.Embedder`."""
        return self._embedder.arithmetic

    @property
    def passes(self) -> int:
        """How often the network runs for one face."""
        return len(self._views) * (1 if self.card.augment == "none" else 2)

    @property
    def described(self) -> tuple[str, str]:
        """What engines share whose vectors are alike: the card's fingerprint, the arithmetic."""
        return self.card.fingerprint(), self.arithmetic

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each image, highest score first.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
        """
        return self._detector.detect(images)

    def reduction(self, height: int, width: int) -> int:
        """By what factor a picture may be read smaller, see `read_frames`: its faces are found in
        it so, and embedded so where it has as many pixels of them as the model takes."""
        return self._detector.reduction(height, width)

    def align(self, image: Image, faces: Sequence[Face]) -> Image:
        """One chip per face on the model's template, `(N, H, W, 3) uint8` RGB."""
        return warp_to_template(image, faces, self.card.template, self._chip_size)

    def embed_found(self, found: Sequence[tuple[Image, Face]]) -> Floats:
        """Unit vectors `(N, D) float32` of faces, each given with the image it was found in."""
        size = self._chip_size
        templates = [view.template(self.card.template, size) for view in self._views]
        vectors = [np.empty((0, self.card.embedding_size), np.float32)]
        for start in range(0, len(found), self._batch):
            part = found[start : start + self._batch]
            views = [
                np.concatenate(
                    [warp_to_template(image, [face], template, size) for image, face in part]
                )
                for template in templates
            ]
            vectors.append(self._average(views))
        return np.concatenate(vectors)

    def embed_chips(self, chips: Image) -> Floats:
        """Unit vectors `(N, D) float32` of chips `(N, H, W, 3) uint8` RGB.

        Views, where the card averages them, are taken from the chips themselves.
        """
        if not len(chips):
            return self._embedder.embed(chips)
        size = self._chip_size
        views = [
            chips
            if view == WHOLE
            else np.stack([warp(chip, view.matrix(size), size) for chip in chips])
            for view in self._views
        ]
        return self._average(views)

    def embed(
        self, images: Sequence[Image], *, aligned: bool = False, select: Select | None = None
    ) -> list[list[Face]]:
        """Faces of each image with their embeddings.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
            aligned: each image is one aligned face: nothing is detected.
            select: picks which of an image's faces are embedded and returned.

        Raises:
            UsageError: an aligned image has a size that no template is known for.
        """
        if aligned:
            chips = [adapt_chip(image, self.card.template, self._chip_size) for image in images]
            located = [(Frame("", chip), [_whole(chip)]) for chip in chips]
        else:
            located = self._locate([Frame("", image) for image in images], select)
        return [faces for _, faces in self._complete(located, aligned=aligned)]

    def faces_of(
        self, frames: Sequence[Frame], *, select: Select | None, embed: bool
    ) -> list[list[Face]]:
        """Faces of frames that could be read, as `faces` and `detections` find them."""
        located = self._locate(frames, select)
        done = self._complete(located, aligned=False) if embed else _in_whole(located)
        return [faces for _, faces in done]

    def faces(
        self, frames: Iterable[Frame], *, aligned: bool = False, select: Select | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        """Embed a stream of frames, in order.

        While the consumer has one batch, later ones are read, detected and embedded; all of them
        together hold at most `batch` frames. A frame that could not be read, or whose aligned
        image has no known size, passes through with its error and no faces.

        A stream of pictures that lasts is divided among `runtime.processes`, each of which holds
        as many frames again.

        Args:
            select: as in `embed`; called in a thread, and, where it is a module's function, in
                other processes.
        """
        if aligned:
            located: Iterable[Batch] = map(self._take_aligned, self._batches(frames))
            done = _in_turn(located, lambda batch: self._complete(batch, aligned=True))
        else:
            done = self._divided(
                self._batches(frames),
                lambda batches: _in_turn(
                    _in_turn(batches, lambda batch: self._locate(batch, select)),
                    lambda batch: self._complete(batch, aligned=False),
                ),
                select=select, embed=True,
            )  # fmt: skip
        for batch in done:
            yield from batch

    def detections(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """As `faces`, without embedding."""
        done = self._divided(
            self._batches(frames),
            lambda batches: _in_turn(
                batches, lambda batch: _in_whole(self._locate(batch, None))
            ),
            select=None, embed=False,
        )  # fmt: skip
        for batch in done:
            yield from batch

    def _divided(
        self, batches: Batches, alone: Callable[[Batches], Iterator[Batch]], *,
        select: Select | None, embed: bool,
    ) -> Iterator[Batch]:  # fmt: skip
        profile = self._profile
        if profile is None or choose_device(profile.runtime.device) != "cpu":
            return alone(batches)
        if DETECTORS.fact(profile.detector.name, "uses_all_cores"):
            return alone(batches)
        threads = torch.get_num_threads()
        count = profile.runtime.processes or min(threads, _MOST_HELPERS)
        own = {"processes": 1, "threads": max(1, threads // count), "device": "cpu"}
        runtime = profile.runtime.model_copy(update=own)
        helpers = profile.model_copy(update={"runtime": runtime})
        order = Order(helpers, self._whole, self.described, select, embed)
        return divide(batches, alone, order, count)

    @property
    def _most_frames(self) -> int:
        """In a stream's batch."""
        return max(1, self._batch // _IN_WORK)

    @property
    def _chip_size(self) -> tuple[int, int]:
        return self.card.input_height, self.card.input_width

    def _locate(self, frames: Sequence[Frame], select: Select | None) -> Batch:
        """Each frame with its faces in its image, or those of them that `select` picks."""
        found: list[list[Face]] = [[] for _ in frames]
        for factor in {_factor(frame) for frame in frames}:
            of = [i for i, frame in enumerate(frames) if _factor(frame) == factor]
            images = {i: image for i in of if (image := frames[i].image) is not None}
            detector = self._detector if factor == 1 else self._detector.reduced(factor)
            for i, faces in zip(images, detector.detect(list(images.values())), strict=True):
                found[i] = select(images[i], faces) if faces and select is not None else faces
        return list(zip(frames, found, strict=True))

    def _take_aligned(self, frames: Sequence[Frame]) -> Batch:
        """Frames that are one face each, brought to the model's template."""
        adapted = map(self._adapt, frames)
        return [(frame, [] if frame.image is None else [_whole(frame.image)]) for frame in adapted]

    def _adapt(self, frame: Frame) -> Frame:
        if frame.image is None:
            return frame
        try:
            chip = adapt_chip(frame.image, self.card.template, self._chip_size)
        except UsageError as error:
            problem = InputError(f"{frame.source}: {error}")
            return dataclasses.replace(frame, image=None, error=problem)
        return dataclasses.replace(frame, image=chip)

    def _complete(self, located: Batch, *, aligned: bool) -> Batch:
        """The frames' faces with their embeddings."""
        wanted = [found for frame, faces in located for found in self._sharp(frame, faces)]
        vectors = iter(
            self.embed_chips(np.stack([image for image, _ in wanted]))
            if aligned and wanted
            else self.embed_found(wanted)
        )
        return [
            (frame, [dataclasses.replace(face, embedding=next(vectors)) for face in faces])
            for frame, faces in _in_whole(located)
        ]

    def _sharp(self, frame: Frame, faces: Sequence[Face]) -> list[tuple[Image, Face]]:
        """The faces, and a version of the picture that has as many pixels of them as the model
        takes, if there is one."""
        image, factor = frame.image, _factor(frame)
        if image is None:
            return []
        if faces and factor > 1:
            largest = max(enlargement(face.landmarks, self.card.template) for face in faces)
            enough = power_of_two(factor / largest)
            if enough < factor:
                with contextlib.suppress(InputError):  # of what could be read smaller
                    image = read_again(frame, enough)
                    faces = [face.enlarged(factor // enough) for face in faces]
        return [(image, face) for face in faces]

    def _average(self, views: Sequence[Image]) -> Floats:
        """Unit vectors of faces from chips of their views, `(N, H, W, 3) uint8` each."""
        vectors = self._embedder.embed(np.concatenate(views))
        if len(views) == 1:
            return vectors
        means = vectors.reshape(len(views), -1, vectors.shape[1]).mean(axis=0)
        unit: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Runs of frames, so few that `_IN_WORK` of them are at most `batch`, and beyond the first
        frame at most `_PIXELS` pixels."""
        batch: list[Frame] = []
        pixels = 0
        for frame in frames:
            batch.append(frame)
            pixels += frame.image.size // 3 if frame.image is not None else 0
            if len(batch) >= self._most_frames or pixels >= _PIXELS:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch


def _in_turn(items: Iterable[Item], function: Callable[[Item], Batch]) -> Iterator[Batch]:
    """One item after the other, the next while the consumer has the last."""
    return map_ahead(items, function, workers=1, ahead=1)


def _factor(frame: Frame) -> int:
    return 1 if frame.original is None else frame.original.factor


def _in_whole(located: Batch) -> Batch:
    """The faces in pixels of the pictures themselves, of which smaller versions were read."""
    return [
        (frame, faces if _factor(frame) == 1 else [face.enlarged(_factor(frame)) for face in faces])
        for frame, faces in located
    ]


def _whole(image: Image) -> Face:
    height, width = image.shape[:2]
    nowhere = np.full((5, 2), np.nan, np.float32)
    return Face(np.array([0, 0, width, height], np.float32), 1.0, nowhere)
