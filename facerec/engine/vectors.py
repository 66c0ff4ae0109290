"""Faces to vectors: each network's own warp and test-time views, fused where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from facerec.alignment.warp import (
    WHOLE,
    enlargement,
    similarity_to_template,
    views_of,
    warp,
    warp_to_template,
)
from facerec.card import ModelCard
from facerec.faces import Face, Floats, Image
from facerec.models import Embedder, mean_vectors, unit_vectors
from facerec.models.embedder import TorchEmbedder
from facerec.models.fusion import Fusion, Part, fuse, fused_card, normalised_weights
from facerec.models.graph_embedder import GraphEmbedder
from facerec.models.whole_batches import WholeBatches

_FIXED_BATCH = 8
"""Chips per pass of another runtime where vectors must be bitwise reproducible."""

Found = Sequence[tuple[Image, Face]]


class FaceVectors(Protocol):
    """What makes vectors of faces.

    Attributes:
        card: of the vectors.
        arithmetic: runtime and precision; see `facerec.models.Embedder`.
        passes: forward passes per face.
        parts: each network's part of a vector.
    """

    card: ModelCard
    arithmetic: str
    passes: int
    parts: tuple[Part, ...]

    def of_found(self, found: Found) -> Floats:
        """Unit vectors `(N, D) float32` of faces, each given with the image it was found in."""
        ...

    def of_chips(self, chips: Image) -> Floats:
        """Unit vectors `(N, D) float32` of chips `(N, H, W, 3) uint8` RGB on the card's template.

        Views, where the card averages them, are taken from the chips themselves.
        """
        ...

    def enlargement(self, landmarks: Floats) -> float:
        """Scale from image to the largest chip; above 1 a chip is upsampled."""
        ...

    def in_whole_batches(self, usual: int) -> FaceVectors:
        """The same with passes of a fixed batch size; see `TorchEmbedder.in_whole_batches`."""
        ...


def face_vectors(model: Embedder | Fusion, batch: int) -> FaceVectors:
    """See `FaceVectors`.

    Args:
        batch: most faces that are warped and embedded together.
    """
    if isinstance(model, Fusion):
        networks = [
            NetworkVectors(member, batch, raw=part.length is not None)
            for member, part in zip(model.members, model.parts, strict=True)
        ]
        return FusedVectors(model, networks)
    return NetworkVectors(model, batch)


class NetworkVectors:
    """Vectors of one network.

    Args:
        raw: give them as long as the network's own, see `Embedder.embed_raw`.
    """

    def __init__(self, embedder: Embedder, batch: int, *, raw: bool = False) -> None:
        self.card, self.arithmetic = embedder.card, embedder.arithmetic
        self.parts: tuple[Part, ...] = (Part(embedder.card.embedding_size, 1.0),)
        self._embedder, self._batch, self._raw = embedder, batch, raw
        self._embed = embedder.embed_raw if raw else embedder.embed
        self._views = views_of(self.card.augment)
        self._size = self.card.input_height, self.card.input_width
        self.passes = len(self._views) * (1 if self.card.augment == "none" else 2)

    def in_whole_batches(self, usual: int) -> NetworkVectors:
        """See `FaceVectors`."""
        whole = _in_whole_batches(self._embedder, usual)
        return NetworkVectors(whole, self._batch, raw=self._raw)

    def raw(self) -> NetworkVectors:
        """The same, as long as the network's own."""
        return NetworkVectors(self._embedder, self._batch, raw=True)

    def enlargement(self, landmarks: Floats) -> float:
        """See `FaceVectors`."""
        return enlargement(landmarks, self.card.template)

    def of_found(self, found: Found) -> Floats:
        """See `FaceVectors`."""
        templates = [view.template(self.card.template, self._size) for view in self._views]
        vectors = [np.empty((0, self.card.embedding_size), np.float32)]
        for start in range(0, len(found), self._batch):
            part = found[start : start + self._batch]
            views = [
                np.concatenate(
                    [warp_to_template(image, [face], template, self._size) for image, face in part]
                )
                for template in templates
            ]
            vectors.append(self._average(views))
        return np.concatenate(vectors)

    def of_chips(self, chips: Image) -> Floats:
        """See `FaceVectors`."""
        if not len(chips):
            return self._embed(chips)
        views = [
            chips
            if view == WHOLE
            else np.stack([warp(chip, view.matrix(self._size), self._size) for chip in chips])
            for view in self._views
        ]
        return self._average(views)

    def of_other_chips(self, chips: Image, card: ModelCard) -> Floats:
        """As `of_chips`, from chips on another card's template."""
        if (card.template, card.input_height, card.input_width) == (
            self.card.template, self.card.input_height, self.card.input_width,
        ):  # fmt: skip
            return self.of_chips(chips)
        points = np.asarray(card.template.points, np.float32)
        matrix = similarity_to_template(points, self.card.template)
        warped = np.empty((len(chips), *self._size, 3), np.uint8)
        for chip, out in zip(chips, warped, strict=True):
            warp(chip, matrix, self._size, out=out)
        return self.of_chips(warped)

    def _average(self, views: Sequence[Image]) -> Floats:
        """Mean vectors over views, each `(N, H, W, 3) uint8` chips of the same N faces."""
        vectors = self._embed(np.concatenate(views))
        if len(views) == 1:
            return vectors
        means = mean_vectors(np.split(vectors, len(views)))
        return means if self._raw else unit_vectors(means)


def _in_whole_batches(embedder: Embedder, usual: int) -> Embedder:
    if isinstance(embedder, TorchEmbedder):
        return embedder.in_whole_batches(usual)
    if isinstance(embedder, GraphEmbedder):
        return embedder.in_whole_batches()
    return WholeBatches(embedder, _FIXED_BATCH)


class FusedVectors:
    """Vectors of several networks, side by side; see `facerec.models.fusion`.

    Args:
        apart: leave the networks' raw vectors as they are.
    """

    def __init__(
        self, fusion: Fusion, networks: Sequence[NetworkVectors], *, apart: bool = False
    ) -> None:
        self.card, self.parts = fusion.card, fusion.parts
        self._apart = apart
        self.arithmetic = " + ".join(network.arithmetic for network in networks)
        self.passes = sum(network.passes for network in networks)
        self._fusion, self._networks = fusion, networks

    def in_whole_batches(self, usual: int) -> FusedVectors:
        """See `FaceVectors`."""
        whole = [network.in_whole_batches(usual) for network in self._networks]
        return FusedVectors(self._fusion, whole, apart=self._apart)

    def enlargement(self, landmarks: Floats) -> float:
        """See `FaceVectors`."""
        return max(network.enlargement(landmarks) for network in self._networks)

    def of_found(self, found: Found) -> Floats:
        """See `FaceVectors`."""
        return self._join([network.of_found(found) for network in self._networks])

    def of_chips(self, chips: Image) -> Floats:
        """See `FaceVectors`."""
        return self._join([net.of_other_chips(chips, self.card) for net in self._networks])

    def apart(self) -> FusedVectors:
        """The networks' raw vectors side by side: not weighted, not normalised."""
        members = self._fusion.members
        weights = normalised_weights([1.0] * len(members))
        lengths = (1.0,) * len(members)
        card = fused_card([member.card for member in members], weights, lengths)
        fusion = Fusion(members, weights, card, lengths)
        return FusedVectors(fusion, [network.raw() for network in self._networks], apart=True)

    def _join(self, vectors: Sequence[Floats]) -> Floats:
        return np.concatenate(vectors, axis=1) if self._apart else fuse(vectors, self.parts)
