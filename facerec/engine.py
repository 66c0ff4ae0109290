"""The shared engine: one detector, one aligner, one embedder, built from a profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from facerec.alignment import adapt_chip, warp_to_template
from facerec.card import ModelCard
from facerec.detection import Detector
from facerec.detection.factory import create_detector
from facerec.errors import InputError, MissingError, UsageError
from facerec.faces import Face, Floats, Frame, Image
from facerec.models import Embedder
from facerec.models.factory import create_embedder
from facerec.models.onnx import embedded_card, load_onnx, onnx_sha256
from facerec.models.whole_batches import WholeBatches
from facerec.profile import ModelSection, Profile, RuntimeSection
from facerec.weights.cards import read_card
from facerec.weights.catalog import catalogue
from facerec.weights.downloads import find_download, require_download
from facerec.weights.mtcnn import load_mtcnn_weights
from facerec.weights.store import load_model

Select = Callable[[Image, list[Face]], list[Face]]
_BATCH_PIXELS = 64_000_000


class Engine:
    """Detects, aligns and embeds faces, in batches, in order and in bounded memory.

    >>> engine = Engine.from_profile("default")
    >>> [[face.box for face in faces] for faces in engine.detect([image])]
    """

    def __init__(self, detector: Detector, embedder: Embedder, *, batch: int) -> None:
        self._detector = detector
        self._embedder = embedder
        self._batch = batch

    @classmethod
    def from_profile(cls, profile: str | Profile = "default") -> Engine:
        """Build the engine that a profile (or its name) describes.

        Raises:
            ProfileError: the profile is invalid.
            MissingError: weights, a package or the device is missing.
        """
        if isinstance(profile, str):
            profile = Profile.load(profile)
        return cls(build_detector(profile), open_embedder(profile), batch=profile.runtime.batch)

    @property
    def card(self) -> ModelCard:
        """The embedder's model card."""
        return self._embedder.card

    def in_whole_batches(self) -> Engine:
        """This engine for work that must come out the same to the bit however it is divided."""
        whole = WholeBatches(self._embedder, self._batch)
        return Engine(self._detector, whole, batch=self._batch)

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each image, highest score first.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
        """
        return self._detector.detect(images)

    def align(self, image: Image, faces: Sequence[Face]) -> Image:
        """One chip per face on the model's template, `(N, H, W, 3) uint8` RGB."""
        return warp_to_template(image, faces, self.card.template, self._chip_size)

    def embed_chips(self, chips: Image) -> Floats:
        """Unit vectors `(N, D) float32` of chips `(N, H, W, 3) uint8` RGB."""
        return self._embedder.embed(chips)

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
            found = [[_whole(image)] for image in images]
            chips = [
                adapt_chip(image, self.card.template, self._chip_size)[None] for image in images
            ]
        else:
            found = self.detect(images)
            if select is not None:
                found = [
                    select(image, faces) if faces else []
                    for image, faces in zip(images, found, strict=True)
                ]
            chips = [self.align(image, faces) for image, faces in zip(images, found, strict=True)]
        vectors = iter(self.embed_chips(np.concatenate(chips)) if chips else ())
        return [
            [dataclasses.replace(face, embedding=next(vectors)) for face in faces]
            for faces in found
        ]

    def faces(
        self, frames: Iterable[Frame], *, aligned: bool = False, select: Select | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        """Embed a stream of frames in batches, in order.

        A frame that could not be read, or whose aligned image has no known size, passes
        through with its error and no faces.
        """
        for batch in self._batches(frames):
            if aligned:
                batch = [self._adapt(frame) for frame in batch]
            images = [frame.image for frame in batch if frame.image is not None]
            found = iter(self.embed(images, aligned=aligned, select=select))
            for frame in batch:
                yield frame, [] if frame.image is None else next(found)

    def detections(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """As `faces`, without embedding."""
        for batch in self._batches(frames):
            found = iter(self.detect([frame.image for frame in batch if frame.image is not None]))
            for frame in batch:
                yield frame, [] if frame.image is None else next(found)

    @property
    def _chip_size(self) -> tuple[int, int]:
        return self.card.input_height, self.card.input_width

    def _adapt(self, frame: Frame) -> Frame:
        if frame.image is None:
            return frame
        try:
            chip = adapt_chip(frame.image, self.card.template, self._chip_size)
        except UsageError as error:
            problem = InputError(f"{frame.source}: {error}")
            return dataclasses.replace(frame, image=None, error=problem)
        return dataclasses.replace(frame, image=chip)

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Runs of at most `batch` frames and, beyond the first, `_BATCH_PIXELS` pixels."""
        batch: list[Frame] = []
        pixels = 0
        for frame in frames:
            batch.append(frame)
            pixels += frame.image.size // 3 if frame.image is not None else 0
            if len(batch) >= self._batch or pixels >= _BATCH_PIXELS:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch


def open_embedder(profile: Profile) -> Embedder:
    """The embedder that a profile describes.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    return _open_embedder(profile.model, profile.runtime, choose_device(profile.runtime.device))


def _open_embedder(section: ModelSection, runtime: RuntimeSection, device: str) -> Embedder:
    path = Path(section.name)
    if path.suffix == ".onnx":
        card = (
            embedded_card(path)
            if section.card is None
            else read_card(section.card, onnx_sha256(path))
        )
        return _open_onnx(path, card, section, runtime, device)
    if path.suffix == ".ts":
        from facerec.models.torchscript import load_torchscript

        return load_torchscript(path, device=device, batch=runtime.batch, flip=section.flip)
    if path.suffix == ".xml":
        from facerec.models.openvino import load_openvino

        return load_openvino(path, threads=runtime.threads, batch=runtime.batch, flip=section.flip)
    record = catalogue().get(section.name)
    if record is not None and record.file.format == "onnx":
        path = require_download(section.name, record)
        card = record.card.model_copy(update={"sha256": onnx_sha256(path)})
        return _open_onnx(path, card, section, runtime, device)
    card, state = load_model(section.name)
    if section.card is not None:
        card.require_same_model(given := read_card(section.card), str(section.card))
        card = given
    return create_embedder(_adjusted(card, section), state, device=device, batch=runtime.batch)


def _open_onnx(
    path: Path, card: ModelCard, section: ModelSection, runtime: RuntimeSection, device: str
) -> Embedder:
    return load_onnx(
        path,
        _adjusted(card, section),
        device=device,
        threads=runtime.threads,
        batch=runtime.batch,
    )


def _adjusted(card: ModelCard, section: ModelSection) -> ModelCard:
    return card if section.flip is None else card.model_copy(update={"flip": section.flip})


def build_detector(profile: Profile) -> Detector:
    """The detector that a profile describes.

    Raises:
        MissingError: its weights, its package or the device is missing.
    """
    device = choose_device(profile.runtime.device)
    if profile.runtime.threads:
        torch.set_num_threads(profile.runtime.threads)
    section = profile.detector
    if section.name == "yunet" and section.weights is None:
        section = section.model_copy(update={"weights": find_download("yunet")})
    return create_detector(section, device=device, load_mtcnn_weights=load_mtcnn_weights)


def choose_device(name: str) -> str:
    """The torch device for a `runtime.device` value.

    Raises:
        MissingError: the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MissingError(
            f"runtime.device {name}: {str(error).splitlines()[0]}; try auto or cpu"
        ) from error
    return name


def _whole(image: Image) -> Face:
    height, width = image.shape[:2]
    nowhere = np.full((5, 2), np.nan, np.float32)
    return Face(np.array([0, 0, width, height], np.float32), 1.0, nowhere)
