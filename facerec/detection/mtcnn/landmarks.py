"""MTCNN's third network alone: five landmarks of faces that another detector found.

Detectors place the five points at somewhat different spots of a face, and a template is made for
one detector's. Where all boxes get their landmarks from this network, all chips are alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

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

Turns = NDArray[np.intp]
"""`(N,)`, quarter turns clockwise."""

_BATCH = 8
_MEAN = 127.5
_ROUNDS = 2
"""The network was trained on MTCNN's boxes: its own, of the first round, are such."""


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
        if is_installed():
            build = partial(build_onet, weights["onet"])
            network = Network(build, "f32", threads or torch.get_num_threads())
            self._network = Refinement(ONet.side, ONet.multiple, network)
        else:
            self._network = ONet(weights["onet"], torch.device("cpu"))

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """See `Detector.detect`."""
        found = self._detector.detect(images)
        return [self._located(image, faces) for image, faces in zip(images, found, strict=True)]

    def reduction(self, height: int, width: int) -> int:
        """See `Detector.reduction`."""
        return self._detector.reduction(height, width)

    def reduced(self, factor: int) -> MTCNNLandmarks:
        """See `Detector.reduced`; the network is shared."""
        reduced = copy.copy(self)
        reduced._detector = self._detector.reduced(factor)
        return reduced

    @torch.inference_mode()
    def _located(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        if not faces or min(image.shape[:2]) < 2:
            return list(faces)
        boxes = np.stack([face.box for face in faces])
        turns = np.array([turn_of(face.landmarks) // 90 for face in faces])
        pixels = torch.from_numpy(image.astype(np.float32) - _MEAN)[None]
        for _ in range(_ROUNDS):
            boxes = squared(boxes)
            sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
            shares = self._shares(pixels, boxes, turns)
            landmarks = shares[:, :5] * sides + boxes[:, None, :2] - 1
            corners = shares[:, 5:] * sides + boxes[:, None, :2]
            boxes = np.concatenate([corners.min(1), corners.max(1) - 1], 1)
        return [
            replace(face, landmarks=own.copy()) for face, own in zip(faces, landmarks, strict=True)
        ]

    def _shares(self, pixels: Tensor, boxes: Floats, turns: Turns) -> Floats:
        """Landmarks and two opposite corners of the face `(N, 7, 2)`, as shares of the box."""
        shares: list[Floats] = []
        for some in in_chunks(list(range(len(boxes))), _BATCH):
            rows = pad_to_multiple(np.array(some), ONet.multiple)
            crops = crop(pixels, boxes[rows], np.zeros(len(rows), np.intp), ONet.side)
            upright = [
                torch.rot90(it, -turn, (1, 2))
                for it, turn in zip(crops, turns[rows].tolist(), strict=True)
            ]
            output = self._network(torch.stack(upright)).numpy()[: len(some)]
            corners = output[:, :4].reshape(-1, 2, 2) + np.array([[0, 0], [1, 1]], np.float32)
            points = np.concatenate([output[:, 4:14].reshape(-1, 2, 5).swapaxes(1, 2), corners], 1)
            shares += map(_turned_back, points, turns[some].tolist())
        return np.stack(shares)


def _turned_back(points: Floats, turn: int) -> Floats:
    """Points in a unit square before its quarter turns clockwise."""
    x, y = points.T
    x, y = ((x, y), (y, 1 - x), (1 - x, 1 - y), (1 - y, x))[turn]
    return np.stack([x, y], 1)
