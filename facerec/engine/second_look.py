"""A second look at images in which the first finds no face, or none to be certain of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from facerec.detection import Detector
from facerec.faces import Face, Floats, Image, turn_of
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

_BORDERS = (0.2, 0.5)
"""Widths of the black border, as shares of the image's longer side."""
_BORDERED_SIDE = 160
"""Longer side, in pixels, to which images are downscaled first: a face that fills its image is
large, and a border of half a 50-megapixel photo would take 6 GB."""
_TURNS = (90, 180, 270)
_MARGIN = 3.0
"""Evidence, in log-odds, by which a turned image's face must exceed that of the image as it is,
unless the detector registers another. Of 514 of LFW's images, each turned in all four ways, this
and MTCNN's `certain` of 0.98 leave every upright one as it is, and put 96.7, 90.5 and 94.4 % of
those turned by 90, 180 and 270 degrees upright."""
_STANDING = math.cos(math.radians(60))
"""Cosine of the lean up to which a face that is the surest stands. Of heads that lean by 45 degrees
landmarks tell up to 15 more."""


def with_second_look(detector: Detector, section: DetectorSection) -> Detector:
    """The detector with the second look that `detector.second_look` asks for."""
    if section.second_look == "none":
        return detector
    certain = DETECTORS.fact(section.name, "certain") or 0.0
    margin = DETECTORS.fact(section.name, "turn_margin") or _MARGIN
    turns = section.second_look == "turns"
    return SecondLook(detector, turns=turns, certain=certain, margin=margin)


class SecondLook:
    """Looks again where a detector finds nothing.

    With a black border, since a detector that expects surroundings misses faces that fill their
    image, and with `turns` also at the image turned by 90, 180 and 270 degrees, with and without
    a border; the turn that all views of it together speak for is taken. MTCNN finds one upside-down
    face in four as if it stood upright, with wrong landmarks and a low score, so the turned image
    is also looked at where no score reaches `certain`. So it is where the surest face lies by its
    landmarks: of a group on its side MTCNN finds some faces, and CenterFace most, with landmarks
    that may be upside down. A certain face that stands beside it leaves the image as it is.

    What is found is told in pixels of the image as it was given; with a border it may lie outside.

    Args:
        detector: looks first, and again.
        turns: whether to look at the image turned.
        certain: score above which a face that stands is taken to be upright.
        margin: log-odds by which a turned image's face must be surer than that of the image as it
            is, where that one stands.
    """

    def __init__(
        self, detector: Detector, *, turns: bool, certain: float, margin: float = _MARGIN
    ) -> None:
        self._detector = detector
        self._turns = turns
        self._certain = certain
        self._margin = margin

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """See `Detector.detect`."""
        found = self._detector.detect(images)
        missed = [i for i, faces in enumerate(found) if not faces and images[i].size]
        doubtful = [i for i, faces in enumerate(found) if faces and not self._is_upright(faces)]
        for border in _BORDERS:
            turns = (0, *_TURNS) if self._turns else (0,)
            views = [_View(turn, border) for turn in turns]
            if self._turns and border == _BORDERS[0]:
                views += [_View(turn) for turn in _TURNS]
            self._look_again(images, found, missed, views)
            missed = [i for i in missed if not found[i]]
        if self._turns:
            self._look_again(images, found, doubtful, [_View(turn) for turn in _TURNS])
            return [list(map(_with_turn, faces)) for faces in found]
        return found

    def reduction(self, height: int, width: int) -> int:
        """See `Detector.reduction`."""
        return self._detector.reduction(height, width)

    def reduced(self, factor: int) -> SecondLook:
        """See `Detector.reduced`."""
        reduced = self._detector.reduced(factor)
        return SecondLook(reduced, turns=self._turns, certain=self._certain, margin=self._margin)

    def _is_upright(self, faces: Sequence[Face]) -> bool:
        certain = [face for face in faces if face.score > self._certain]
        return any(turn_of(face.landmarks) == 0 for face in certain) or (
            bool(certain) and _stands(_surest(certain))
        )

    def _look_again(
        self,
        images: Sequence[Image],
        found: list[list[Face]],
        where: Sequence[int],
        views: Sequence[_View],
    ) -> None:
        """Put in the faces of the turn for which the views speak most, together."""
        first = [self._first_evidence(found[i]) for i in where]
        evidence = {i: defaultdict(float, {0: own}) for i, own in zip(where, first, strict=True)}
        faces_of = {i: {0: found[i]} for i in where}
        for view in views:
            seen = self._detector.detect([view.of(images[i]) for i in where])
            for i, faces in zip(where, seen, strict=True):
                # A turn that leaves faces lying is not theirs, though CenterFace is as sure there.
                if faces and (not found[i] or _stands(_surest(faces))):
                    evidence[i][view.turn] += _evidence(faces)
                    faces_of[i][view.turn] = [view.restored(face, images[i]) for face in faces]
        for i in where:
            found[i] = faces_of[i][max(faces_of[i], key=evidence[i].__getitem__)]

    def _first_evidence(self, faces: Sequence[Face]) -> float:
        """That the image as it is stands upright: a face that lies has no margin over others."""
        if not faces:
            return 0.0
        return _evidence(faces) + (self._margin if _stands(_surest(faces)) else 0.0)


class _View(NamedTuple):
    """An image with a black border, then turned.

    Attributes:
        turn: degrees clockwise, a multiple of 90.
        border: width, as a share of the longer side; 0 leaves the image at full size.
    """

    turn: int = 0
    border: float = 0

    def of(self, image: Image) -> Image:
        """The view of an image."""
        if self.border:
            height, width = _bordered_size(image)
            small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            margin = self._margin(image)
            image = np.pad(small, ((margin, margin), (margin, margin), (0, 0)))
        return np.ascontiguousarray(np.rot90(image, -self.turn // 90))

    def restored(self, face: Face, image: Image) -> Face:
        """A face of the view in pixels of the image."""
        height, width = _bordered_size(image) if self.border else image.shape[:2]
        margin = self._margin(image)
        last = width + 2 * margin - 1, height + 2 * margin - 1

        def restore(points: Floats) -> Floats:
            x, y = points.T
            if self.turn == 90:
                x, y = y, last[1] - x
            elif self.turn == 180:
                x, y = last[0] - x, last[1] - y
            elif self.turn == 270:
                x, y = last[0] - y, x
            points = np.stack([x, y], 1)
            scale = np.array([image.shape[1] / width, image.shape[0] / height])
            restored: Floats = ((points - margin + 0.5) * scale - 0.5).astype(np.float32)
            return restored

        corners = restore(face.box.reshape(2, 2))
        box = np.concatenate([corners.min(0), corners.max(0)])
        return replace(face, box=box, landmarks=restore(face.landmarks), turn=self.turn)

    def _margin(self, image: Image) -> int:
        return math.ceil(max(_bordered_size(image)) * self.border) if self.border else 0


def _bordered_size(image: Image) -> tuple[int, int]:
    """Height and width at which an image gets its border."""
    height, width = image.shape[:2]
    scale = min(1.0, _BORDERED_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _with_turn(face: Face) -> Face:
    """The face with its turn also where the detector found it turned, as CenterFace does."""
    turn = face.turn or turn_of(face.landmarks)
    return replace(face, turn=turn) if turn != face.turn else face


def _stands(face: Face) -> bool:
    """Whether a face leans by at most 60 degrees; true without landmarks."""
    down = face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)
    return not down[1] < _STANDING * np.hypot(*down)


def _surest(faces: Sequence[Face]) -> Face:
    return max(faces, key=lambda face: face.score)


def _evidence(faces: Sequence[Face]) -> float:
    """Of the surest face: minus the logarithm of the chance that it is none.

    For a sure face this is its log-odds. It exceeds 0 for every face, also where a detector's
    threshold lies below 0.5, so that a face counts for more than none.
    """
    return -math.log(1 - min(_surest(faces).score, 1 - 1e-7))
