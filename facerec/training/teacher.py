"""Distillation: a finished model's vectors as targets of the one in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facerec.alignment.templates import ARCFACE, ARCFACE_SIZE
from facerec.alignment.warp import similarity_to_template, warp
from facerec.card import ModelCard
from facerec.engine.building import open_embedder
from facerec.engine.vectors import face_vectors
from facerec.errors import InputError
from facerec.faces import Floats, Image
from facerec.models import unit_vectors
from facerec.profile.loading import Profile
from facerec.profile.schema import ModelSection, TrainSection
from facerec.training.data import Labels
from facerec.training.data.fitting import cut, fit
from facerec.training.data.loader import Batch
from facerec.training.data.opening import TrainingData

_MOST_BYTES = 2**30
_SAMPLE, _PART = 1024, 64


def teacher_of(section: TrainSection) -> str | None:
    """The model that teaches; None without one."""
    return section.initial if section.teacher == "initial" else section.teacher


def imitation(features: Tensor, targets: Tensor) -> Tensor:
    """The loss 1 - cos(student, teacher), `() float32` (Romero et al. 2015, with unit vectors).

    Args:
        features: `(N, D)` of the student, not normalised.
        targets: `(N, D) float32`, see `Teacher.targets`.
    """
    return (1 - F.cosine_similarity(features.float(), targets)).mean()


def relation(features: Tensor, targets: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """How differently student and teacher place an image among others, `() float32`.

    KL(p || q), where p is the softmax over the cosines of the teacher's vector, q of the
    student's, to the teacher's vectors of this image and of the anchors: sum p log(p / q) (Fang et
    al. 2021, "SEED: Self-supervised distillation", whose queue of vectors is fixed here).

    Args:
        features: `(N, D)` of the student, not normalised.
        targets: `(N, D) float32`, see `Teacher.targets`.
        anchors: `(A, D) float32`, see `Teacher.anchors`.
        temperature: above 0, divides the cosines.
    """
    student = F.normalize(features.float())
    own = torch.linalg.vecdot(student, targets)[:, None]
    seen = torch.cat([own, student @ anchors.T], dim=1) / temperature
    known = torch.cat([torch.ones_like(own), targets @ anchors.T], dim=1) / temperature
    return F.kl_div(
        seen.log_softmax(dim=1), known.log_softmax(dim=1), reduction="batchmean", log_target=True
    )


class Teacher:
    """A model's vectors of training images, as they are before augmentation.

    So a student learns to see through its augmentation (Ge et al. 2019 teach faces of low
    resolution so), and each image is embedded once, while there is room to keep its vector. A
    vector is bitwise independent of its batch: a resumed run learns from the same ones.

    Args:
        name: a catalogue name or a model file.
        profile: `runtime` says how the teacher runs, `data.random_crop` whether larger images are
            cut.
        student: card of the model in training.
        device: that the teacher runs on.
        data: the training images.
        centred: take the mean off the vectors. Those of many models lie in a narrow cone
            (strangers' cosines are above 0.9 with dlib's), in which a student that learns the
            direction of the cone alone would have nearly done.
        anchored: have `anchors`.
        most_bytes: of the vectors that are kept.

    Attributes:
        size: dimension of the vectors.
        anchors: `(A, D) float32`, unit vectors of up to 1,024 images spread over the people, less
            the mean; empty without `anchored`.

    Raises:
        MissingError: no such model, or its runtime is missing.
    """

    def __init__(
        self, name: str, profile: Profile, student: ModelCard, device: str, data: TrainingData, *,
        centred: bool, anchored: bool = False, most_bytes: int = _MOST_BYTES,
    ) -> None:  # fmt: skip
        runtime = profile.runtime.model_copy(update={"device": device})
        alone = profile.model_copy(update={"model": ModelSection(name=name), "runtime": runtime})
        vectors = face_vectors(open_embedder(alone), runtime.batch)
        self._vectors = vectors.in_whole_batches(runtime.batch)
        card = self._vectors.card
        self.size = card.embedding_size
        self._card, self._student = card, student
        room = max(1, most_bytes // (self.size * np.dtype(np.float32).itemsize))
        images = len(data.examples.labels)
        self._kept = np.empty((min(images, room), self.size), np.float32)
        self._places = np.full(images, -1, np.int64)
        self._count = 0
        self._mean = np.zeros(self.size, np.float32)
        self.anchors = torch.empty(0, self.size, device=device)
        if centred or anchored:
            sample = self._sample(data, cropped=profile.data.random_crop)
            if centred and sample:
                total = np.sum([part.sum(axis=0) for part in sample], axis=0, dtype=np.float64)
                self._mean = np.asarray(total / sum(map(len, sample)), np.float32)
            if anchored and sample:
                units = unit_vectors(np.concatenate(sample) - self._mean)
                self.anchors = torch.from_numpy(units).to(device)

    def chip(self, index: int, image: Image) -> Image | None:
        """What the teacher sees of an image, `(H, W, 3) uint8`; None: its vector is known.

        Args:
            index: of the image among the examples.
            image: `(H, W, 3) uint8` RGB as it was read.
        """
        return None if self._places[index] >= 0 else self._adapt(image)

    def targets(self, batch: Batch) -> Tensor:
        """The teacher's unit vectors `(N, D) float32` of a batch's images, on the processor.

        Args:
            batch: whose originals are from `chip`.
        """
        fresh = [row for row, chip in enumerate(batch.originals) if chip is not None]
        targets = self._kept[self._places[batch.indices]]
        if fresh:
            chips = [chip for chip in batch.originals if chip is not None]
            targets[fresh] = self._embed(batch.indices[fresh], chips)
        return torch.from_numpy(unit_vectors(targets - self._mean))

    def _sample(self, data: TrainingData, *, cropped: bool) -> list[Floats]:
        """Vectors of up to 1,024 training images, evenly spread over the people, in parts
        `(N, D) float32`."""
        student, found = self._student, data.training.indices
        vectors = []
        rows = np.unique(np.linspace(0, len(found) - 1, min(len(found), _SAMPLE)).astype(int))
        for part in np.array_split(rows, -(-len(rows) // _PART)):
            indices, chips = [], []
            for index in map(int, found[part]):
                try:
                    image = data.examples.image(index)
                except InputError:
                    continue
                if cropped:
                    image = cut(image, (student.input_height, student.input_width), None)
                indices.append(index)
                chips.append(self._adapt(image))
            if indices:
                vectors.append(self._embed(np.array(indices), chips))
        return vectors

    def _embed(self, indices: Labels, chips: Sequence[Image]) -> Floats:
        """Vectors `(N, D) float32` of images' chips, which are kept if there is room."""
        made = self._vectors.of_chips(np.stack(chips)).units
        for index, vector in zip(map(int, indices), made, strict=True):
            # All come equally often: none is worth more than one kept before.
            if self._places[index] < 0 and self._count < len(self._kept):
                self._kept[self._count] = vector
                # Last: other threads read it.
                self._places[index] = self._count
                self._count += 1
        return made

    def _adapt(self, image: Image) -> Image:
        """An image on the teacher's template, from the one that `fit` takes it to lie on."""
        card, student = self._card, self._student
        takes = student.input_height, student.input_width
        if image.shape[0] != image.shape[1] and image.shape[:2] != takes:
            image = fit(image, student.template, takes)
        found, size = image.shape[:2], (card.input_height, card.input_width)
        if found == (ARCFACE_SIZE, ARCFACE_SIZE) != takes:
            points = np.asarray(ARCFACE.points, np.float32)
        else:
            points = np.asarray(student.template.points, np.float32) * (found[1] / takes[1])
        return warp(image, similarity_to_template(points, card.template), size)
