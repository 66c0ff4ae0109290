"""Distillation: a finished model's vectors as targets of the one in training."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facerec.alignment.templates import ARCFACE_SIZE
from facerec.alignment.warp import adapt_chip
from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Floats, Image
from facerec.models.factory import create_embedder
from facerec.profile.schema import TrainSection
from facerec.weights.store import load_model


def teacher_of(section: TrainSection) -> str | None:
    """The model that teaches; None without one."""
    return section.initial if section.teacher == "initial" else section.teacher


class Teacher:
    """The loss 1 - cos(student, teacher) of the same chip (Romero et al. 2015, with unit vectors).

    Args:
        name: a catalogue name or a safetensors file.
        student: card of the model in training.
        device: that the teacher runs on.
        remember: embed equal chips once: they come again where nothing is augmented.

    Raises:
        MissingError: no such model.
        UsageError: its vectors have another size than the student's.
    """

    def __init__(self, name: str, student: ModelCard, device: str, *, remember: bool) -> None:
        card, state = load_model(name)
        if card.embedding_size != student.embedding_size:
            raise UsageError(
                f"train.teacher {name}: its vectors have {card.embedding_size} values, those in "
                f"training {student.embedding_size}; --set train.embedding_size="
                f"{card.embedding_size}"
            )
        self._card, self._student = card, student
        self._embedder = create_embedder(card, state, device=device, batch=64)
        self._known: dict[bytes, Floats] | None = {} if remember else None

    def loss(self, features: Tensor, chips: Tensor) -> Tensor:
        """The mean over a batch, `() float32`.

        Args:
            features: `(N, D)` of the student, not normalised.
            chips: `(N, H, W, 3) uint8` RGB, as the student saw them.
        """
        targets = torch.from_numpy(self.vectors(chips.numpy())).to(features.device)
        return (1 - F.cosine_similarity(features.float(), targets)).mean()

    def vectors(self, chips: Image) -> Floats:
        """The teacher's unit vectors `(N, D) float32` of the student's chips."""
        if self._known is None:
            return self._embed(chips)
        keys = [hashlib.sha256(chip.tobytes()).digest() for chip in chips]
        fresh = {key: row for row, key in enumerate(keys) if key not in self._known}
        if fresh:
            made = self._embed(chips[list(fresh.values())])
            self._known.update(zip(fresh, made, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _embed(self, chips: Image) -> Floats:
        card = self._card
        size = card.input_height, card.input_width
        return self._embedder.embed(np.stack([self._adapt(chip, size) for chip in chips]))

    def _adapt(self, chip: Image, size: tuple[int, int]) -> Image:
        """A chip on the student's template, on the teacher's."""
        if self._student.template == self._card.template and chip.shape[:2] == size:
            return chip
        # The student's template is ArcFace's, scaled to its input.
        side = (ARCFACE_SIZE, ARCFACE_SIZE)
        whole = np.asarray(cv2.resize(chip, side, interpolation=cv2.INTER_LINEAR), np.uint8)
        return adapt_chip(whole, self._card.template, size)
