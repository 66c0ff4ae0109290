"""Running a network's own graph in OpenVINO as an `Embedder`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from facerec.card import ModelCard
from facerec.faces import Floats, Image
from facerec.models import fill_batch, mirror_average, require_chips, unit_and_norms
from facerec.models.embedder import count_multiply_adds, count_parameters
from facerec.parallel.openvino import Spread
from facerec.parallel.threads import TorchThreads

Build = Callable[[nn.Module, ModelCard], Any]
"""Makes OpenVINO's model of a network in evaluation mode and its card's mean and std: `(N, H, W, 3)
uint8` RGB to `(N, D) float32`, not yet unit length. Registered with a backbone as `graph`."""

_PART = 8
"""Chips per pass: their maps stay in a core's cache."""
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class GraphEmbedder:
    """A network in OpenVINO, made from its weights without a file, and its card.

    It fuses bias, activation and addition into the convolutions, so that maps cross the memory
    once: dlib's ResNet takes 0.85 of PyTorch's time, in fp32 and in bf16.

    Args:
        network: in evaluation mode; its weights are used, not copied.
        card: preprocessing and metric.
        build: of the network's architecture.
        precision: `fp32` or `bf16`, of the arithmetic; vectors are float32.
        threads: cores to use.
    """

    def __init__(
        self, network: nn.Module, card: ModelCard, build: Build, *, precision: str, threads: int
    ) -> None:
        self.card = card
        self.arithmetic = f"openvino {precision}"
        self._network = network
        self._threads = threads
        self._pool = TorchThreads(threads)
        make = partial(build, network, card)
        self._run = Spread(make, _HINTS[precision], threads)
        self._whole = False

    def in_whole_batches(self) -> GraphEmbedder:
        """This embedder with a fixed batch size: a vector is bitwise independent of the other chips
        and of the number of threads."""
        whole = copy.copy(self)
        whole._whole = True
        return whole

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`.

        Raises:
            ValueError: the chips are not of the card's input size.
        """
        return self.embed_with_norms(chips)[0]

    def embed_with_norms(self, chips: Image) -> tuple[Floats, Floats]:
        """See `Embedder.embed_with_norms`; raises what `embed` does."""
        require_chips(chips, self.card)
        if not len(chips):
            return np.empty((0, self.card.embedding_size), np.float32), np.empty(0, np.float32)
        if self._whole:
            size, filled = _PART, fill_batch(chips, _PART)
        else:
            size, filled = min(_PART, math.ceil(len(chips) / self._threads)), chips
        parts = [filled[first : first + size] for first in range(0, len(filled), size)]
        passes = self._pool.map(partial(self._forward, alone=len(filled) == 1), parts)
        units, norms = zip(*passes, strict=True)
        return np.concatenate(units)[: len(chips)], np.concatenate(norms)[: len(chips)]

    def _forward(self, chips: Image, *, alone: bool) -> tuple[Floats, Floats]:
        if self.card.colour == "BGR":
            chips = chips[..., ::-1]
        raw = self._run(np.ascontiguousarray(chips), alone)
        if self.card.augment == "none":
            return unit_and_norms(raw)
        return mirror_average(raw, self._run(np.ascontiguousarray(chips[:, :, ::-1]), alone))

    def parameters(self) -> int:
        """Learned parameters."""
        return count_parameters(self._network)

    def multiply_adds(self) -> int:
        """See `TorchEmbedder.multiply_adds`."""
        return count_multiply_adds(self._network, self.card)
