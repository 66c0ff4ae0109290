"""MTCNN's third network alone: five landmarks of faces that another detector found.

Detectors place the five points at somewhat different spots of a face, and a template is made for
one detector's. Where all boxes get their landmarks from this network, all chips are alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection import Detector
from facerec.detection.mtcnn.arrays import in_chunks, pad_to_multiple
from facerec.detection.mtcnn.boxes import crop, squared
from facerec.detection.mtcnn.networks import Arrays, ONet
from facerec.detection.mtcnn.openvino import Refinement, build_onet
from facerec.faces import Face, Floats, Image, turn_of
from facerec.parallel.openvino import Network, is_installed
from facerec.parallel.threads import TorchThreads

Turns = NDArray[np.intp]
"""`(N,)`, quarter turns clockwise."""

_BATCH = 8
_MEAN = np.float32(127.5)
_ROUNDS = 2
"""The network was trained on MTCNN's boxes: its own, of the first round, are such. The mean of both
rounds' landmarks has less of its jitter, a hundredth of a face: over all pairs of LFW's images TAR
at FAR 1e-3 93.20 instead of 93.09 %."""


class MTCNNLandmarks:
    """A detector whose faces get the landmarks of MTCNN's third network.

    A crop is turned by the multiple of 90 degrees that puts the detector's own landmarks upright,
    as the network knows upright faces alone.

    Args:
        detector: finds the faces; their boxes and scores stay.
        weights: arrays of `onet`, as in the `mtcnn` package's files.
        threads: that call it at a time, at most; None: as many as PyTorch has.
    """

    def __init__(
        self, detector: Detector, weights: Mapping[str, Arrays], threads: int | None = None
    ) -> None:
        self._detector = detector
        self._network: ONet | Refinement
        self._map = TorchThreads(threads or torch.get_num_threads()).map
        if is_installed():
            network = Network(partial(build_onet, weights["onet"]), "f32")
            self._network = Refinement(ONet.side, ONet.multiple, network)
        else:
            self._network = ONet(weights["onet"], torch.device("cpu"))

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """See `Detector.detect`."""
        found = self._detector.detect(images)
        pairs = list(zip(images, found, strict=True))
        apart = [(image, face) for image, faces in pairs if _is_area(image) for face in faces]
        located = chain.from_iterable(self._map(self._located, in_chunks(apart, _BATCH)))
        return [
            list(islice(located, len(faces))) if _is_area(image) else faces
            for image, faces in pairs
        ]

    def reduction(self, height: int, width: int) -> int:
        """See `Detector.reduction`."""
        return self._detector.reduction(height, width)

    def reduced(self, factor: int) -> MTCNNLandmarks:
        """See `Detector.reduced`; the network is shared."""
        reduced = copy.copy(self)
        reduced._detector = self._detector.reduced(factor)
        return reduced

    def _located(self, faces: Sequence[tuple[Image, Face]]) -> list[Face]:
        boxes = np.stack([face.box for _, face in faces])
        turns = np.array([turn_of(face.landmarks) // 90 for _, face in faces])
        rounds = []
        for _ in range(_ROUNDS):
            boxes = squared(boxes)
            sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
            shares = self._shares([image for image, _ in faces], boxes, turns)
            rounds.append(shares[:, :5] * sides + boxes[:, None, :2] - 1)
            corners = shares[:, 5:] * sides + boxes[:, None, :2]
            boxes = np.concatenate([corners.min(1), corners.max(1) - 1], 1)
        return [
            replace(face, landmarks=own)
            for (_, face), own in zip(faces, np.mean(rounds, 0), strict=True)
        ]

    def _shares(self, images: Sequence[Image], boxes: Floats, turns: Turns) -> Floats:
        """Landmarks and two opposite corners of the face `(N, 7, 2)`, as shares of the box."""
        upright = [
            torch.rot90(cut_out(image, box), -turn, (1, 2))
            for image, box, turn in zip(images, boxes, turns.tolist(), strict=True)
        ]
        crops = pad_to_multiple(torch.stack(upright).numpy(), ONet.multiple)
        output = self._network(torch.from_numpy(crops)).numpy()[: len(boxes)]
        corners = output[:, :4].reshape(-1, 2, 2) + np.array([[0, 0], [1, 1]], np.float32)
        points = np.concatenate([output[:, 4:14].reshape(-1, 2, 5).swapaxes(1, 2), corners], 1)
        return np.stack(list(map(_turned_back, points, turns.tolist())))


def _is_area(image: Image) -> bool:
    """Whether there is more than a line of pixels, between which a crop's lie."""
    height, width = image.shape[:2]
    return bool(height > 1 and width > 1)


def cut_out(image: Image, box: Floats) -> Tensor:
    """The crop `(3, 48, 48)` of `boxes.crop` for a box `(4,)` of the image less 127.5.

    Of the image it takes the pixels that the box covers: in a photo of 12 megapixels, a face is a
    small part.
    """
    size = np.array(image.shape[1::-1], np.float32)
    ends = box.reshape(2, 2) * ((size - 1) / size)
    first = np.clip(np.floor(ends[0]), 0, size - 2)
    last = np.clip(np.ceil(ends[1]) + 1, first + 2, size)
    (left, top), (right, bottom) = first.astype(int), last.astype(int)
    pixels = np.subtract(image[top:bottom, left:right], _MEAN, dtype=np.float32)
    inside = (ends - first) * ((last - first) / (last - first - 1))
    alone = np.zeros(1, np.intp)
    return crop(torch.from_numpy(pixels)[None], inside.reshape(1, 4), alone, ONet.side)[0]


def _turned_back(points: Floats, turn: int) -> Floats:
    """Points in a unit square before its quarter turns clockwise."""
    x, y = points.T
    x, y = ((x, y), (y, 1 - x), (1 - x, 1 - y), (1 - y, x))[turn]
    return np.stack([x, y], 1)
