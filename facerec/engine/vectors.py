"""Faces to vectors: each network's own warp and test-time views, fused where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

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
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.fusion import Fusion, Part, fuse, fused_card, normalised_weights
from facerec.models.graph_embedder import GraphEmbedder
from facerec.models.whole_batches import WholeBatches

_FIXED_BATCH = 8
"""Chips per pass of another runtime where vectors must be bitwise reproducible."""

Found = Sequence[tuple[Image, Face]]


class Vectors(NamedTuple):
    """Vectors of N faces.

    Attributes:
        units: `(N, D) float32`, each of norm 1.
        norms: `(N,) float32` before normalisation, the mean over the views averaged; None where the
            card has no `norms` and nothing else asked for them.
    """

    units: Floats
    norms: Floats | None


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

    def of_found(self, found: Found) -> Vectors:
        """Vectors of faces, each given with the image it was found in."""
        ...

    def of_chips(self, chips: Image) -> Vectors:
        """Vectors of chips `(N, H, W, 3) uint8` RGB on the card's template.

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
            NetworkVectors(member, batch, norms=part.norm is not None)
            for member, part in zip(model.members, model.parts, strict=True)
        ]
        return FusedVectors(model, networks)
    return NetworkVectors(model, batch)


class NetworkVectors:
    """Vectors of one network.

    Args:
        norms: hand them out though the card has no `norms`.
    """

    def __init__(self, embedder: Embedder, batch: int, *, norms: bool = False) -> None:
        self.card, self.arithmetic = embedder.card, embedder.arithmetic
        self.parts: tuple[Part, ...] = (Part(embedder.card.embedding_size, 1.0),)
        self._embedder, self._batch = embedder, batch
        self._norms = norms or embedder.card.norms is not None
        self._views = views_of(self.card.augment)
        self._size = self.card.input_height, self.card.input_width
        self.passes = len(self._views) * (1 if self.card.augment == "none" else 2)

    def in_whole_batches(self, usual: int) -> NetworkVectors:
        """See `FaceVectors`."""
        whole = _in_whole_batches(self._embedder, usual)
        return NetworkVectors(whole, self._batch, norms=self._norms)

    def with_norms(self) -> NetworkVectors:
        """The same, with norms whatever the card has."""
        return NetworkVectors(self._embedder, self._batch, norms=True)

    def enlargement(self, landmarks: Floats) -> float:
        """See `FaceVectors`."""
        return enlargement(landmarks, self.card.template)

    def of_found(self, found: Found) -> Vectors:
        """See `FaceVectors`."""
        if not found:
            return self._nothing()
        templates = [view.template(self.card.template, self._size) for view in self._views]
        parts = []
        for start in range(0, len(found), self._batch):
            part = found[start : start + self._batch]
            views = [
                np.concatenate(
                    [warp_to_template(image, [face], template, self._size) for image, face in part]
                )
                for template in templates
            ]
            parts.append(self._average(views))
        units = np.concatenate([part.units for part in parts])
        norms = [part.norms for part in parts if part.norms is not None]
        return Vectors(units, np.concatenate(norms) if norms else None)

    def of_chips(self, chips: Image) -> Vectors:
        """See `FaceVectors`."""
        if not len(chips):
            return self._nothing()
        views = [
            chips
            if view == WHOLE
            else np.stack([warp(chip, view.matrix(self._size), self._size) for chip in chips])
            for view in self._views
        ]
        return self._average(views)

    def of_other_chips(self, chips: Image, card: ModelCard) -> Vectors:
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

    def _nothing(self) -> Vectors:
        norms = np.empty(0, np.float32) if self._norms else None
        return Vectors(np.empty((0, self.card.embedding_size), np.float32), norms)

    def _average(self, views: Sequence[Image]) -> Vectors:
        """Mean unit vectors over views, each `(N, H, W, 3) uint8` chips of the same N faces."""
        chips, norms = np.concatenate(views), None
        if self._norms:
            vectors, each = self._embedder.embed_with_norms(chips)
            norms = each.reshape(len(views), -1).mean(axis=0)
        else:
            vectors = self._embedder.embed(chips)
        if len(views) == 1:
            return Vectors(vectors, norms)
        means = vectors.reshape(len(views), -1, vectors.shape[1]).mean(axis=0)
        return Vectors(means / np.linalg.norm(means, axis=1, keepdims=True), norms)


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
        self.arithmetic = " + ".join(network.arithmetic for network in networks)
        self.passes = sum(network.passes for network in networks)
        self._fusion, self._networks, self._apart = fusion, networks, apart

    def in_whole_batches(self, usual: int) -> FusedVectors:
        """See `FaceVectors`."""
        whole = [network.in_whole_batches(usual) for network in self._networks]
        return FusedVectors(self._fusion, whole, apart=self._apart)

    def enlargement(self, landmarks: Floats) -> float:
        """See `FaceVectors`."""
        return max(network.enlargement(landmarks) for network in self._networks)

    def of_found(self, found: Found) -> Vectors:
        """See `FaceVectors`."""
        return self._join([network.of_found(found) for network in self._networks])

    def of_chips(self, chips: Image) -> Vectors:
        """See `FaceVectors`."""
        return self._join([net.of_other_chips(chips, self.card) for net in self._networks])

    def apart(self) -> FusedVectors:
        """The networks' raw vectors side by side: not weighted, not normalised."""
        members = self._fusion.members
        weights = normalised_weights([1.0] * len(members))
        norms = (1.0,) * len(members)
        card = fused_card([member.card for member in members], weights, norms)
        fusion = Fusion(members, weights, card, norms)
        return FusedVectors(fusion, [net.with_norms() for net in self._networks], apart=True)

    def _join(self, vectors: Sequence[Vectors]) -> Vectors:
        raw = [units if norms is None else units * norms[:, None] for units, norms in vectors]
        joined = np.concatenate(raw, axis=1) if self._apart else fuse(raw, self.parts)
        return Vectors(joined, None)
