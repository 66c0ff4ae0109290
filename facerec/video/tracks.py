"""Faces linked over time.

Between detections the five landmarks are followed by pyramidal Lucas-Kanade flow (Bouguet 2001);
a point that does not come back where it began when followed backwards is not believed (Kalal et
al. 2010). Detections are joined to tracks by overlap first, and what is left by the embeddings, so
that somebody who was hidden comes back as the same track. Where the picture changes as a whole, at
a cut, places mean nothing and only embeddings join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from facerec.faces import Face, Floats, Image

_LEAST_OVERLAP = 0.3
_FLOW_SIDE = 640
_FLOW_ERROR = 0.05
"""How far a point may miss its beginning, as a share of the face's width."""
_HALF_LIFE = 3.0
"""Seconds after which a look counts half: a track that went over to somebody else must come to be
theirs."""
_CUT_SIZE = (32, 18)
_CUT = 18.0
"""Mean change of 32 x 18 grey pixels (0-255) that is a cut: in hamilton.mp4 the three cuts change
them by 26 to 30, everything else by less than 13."""


@dataclass(slots=True, eq=False)
class Track:
    """One face over time.

    Attributes:
        number: from 1, in the order of appearance.
        face: where it is now.
        seen: seconds of its last detection.
        embedded: seconds of its last embedding; None before the first.
        quality: of the best picture that was embedded.
        evidence: `(D,) float32` sum of unit vectors times quality, older ones faded.
        weight: the sum of those qualities, faded alike.
        look: the newest of those vectors times its quality, and that.
        name: who it is, as far as decided.
        pending: another name, and how many decisions in a row were for it.
        held: whether `face` is where the face is in the newest frame, detected or followed.
        adrift: whether there was a cut since it was detected.
    """

    number: int
    face: Face
    seen: float
    embedded: float | None = None
    quality: float = 0.0
    evidence: Floats | None = None
    weight: float = 0.0
    look: tuple[Floats, float] | None = None
    name: str | None = None
    held: bool = True
    adrift: bool = False
    pending: tuple[str | None, int] = field(default=(None, 0))

    def vector(self) -> Floats | None:
        """The evidence as a unit vector `(D,) float32`."""
        if self.evidence is None:
            return None
        unit: Floats = self.evidence / max(float(np.linalg.norm(self.evidence)), 1e-12)
        return unit

    def mean(self) -> Floats | None:
        """The evidence's mean `(D,) float32`: its product with a vector is the mean cosine.

        Shorter than 1 by how much the looks differ. A unit vector would have lost the noise of
        single looks and so be nearer to everybody, strangers too, than the pairs of photos that a
        threshold was calibrated on.
        """
        return None if self.evidence is None else self.evidence / np.float32(self.weight)

    def learn(self, vector: Floats, quality: float, seconds: float) -> None:
        """One more look at it, `(D,) float32`, whose weight in all is its quality (above 0)."""
        self._fade(seconds)
        weighted = vector * np.float32(quality)
        self.evidence = weighted if self.evidence is None else self.evidence + weighted
        self.weight += quality
        self.look = (weighted, quality)
        self.quality = max(self.quality, quality)

    def begin_anew(self) -> None:
        """Keep of the evidence only the newest look: the others were of somebody else."""
        if self.look is not None:
            self.evidence, self.weight = self.look

    def take_over(self, other: Track) -> None:
        """Go on where another track of the same person is, with what was learnt from it."""
        self.face, self.seen, self.held, self.adrift = other.face, other.seen, other.held, False
        if other.evidence is None or other.embedded is None:
            return
        self._fade(other.embedded)
        self.evidence = other.evidence if self.evidence is None else self.evidence + other.evidence
        self.weight += other.weight
        self.look = other.look
        self.quality = max(self.quality, other.quality)

    def _fade(self, seconds: float) -> None:
        if self.evidence is not None and self.embedded is not None:
            left = 0.5 ** ((seconds - self.embedded) / _HALF_LIFE)
            self.evidence, self.weight = self.evidence * np.float32(left), self.weight * left
        self.embedded = seconds


class Flow:
    """Follows landmarks from frame to frame."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._now: Image | None = None
        self._scale = 1.0

    def look(self, image: Image) -> bool:
        """Take in the next frame; whether it has nothing to do with the one before."""
        self._before = self._now
        self._now, self._scale = _small_grey(image)
        return self._before is not None and _change(self._before, self._now) > _CUT

    def follow(self, faces: Sequence[Face]) -> list[Face | None]:
        """The last frame's faces in this one; None for one that was lost."""
        before, now, scale = self._before, self._now, self._scale
        if before is None or now is None or before.shape != now.shape or not faces:
            return [None] * len(faces)
        points = np.concatenate([face.landmarks for face in faces])[:, None] * np.float32(scale)
        moved, good = _flow(before, now, points)
        back, good_back = _flow(now, before, moved)
        miss = np.linalg.norm(back - points, axis=2)[:, 0]
        found = (good[:, 0] == 1) & (good_back[:, 0] == 1)
        return [
            _moved(face, moved[part, 0] / scale, found[part], miss[part] / scale)
            for face, part in zip(
                faces, (slice(5 * i, 5 * i + 5) for i in range(len(faces))), strict=True
            )
        ]


def _flow(before: Image, now: Image, points: Floats) -> tuple[Floats, np.ndarray]:
    moved, good, _ = cv2.calcOpticalFlowPyrLK(before, now, points, None)  # type: ignore[call-overload]
    return moved, good


def _change(before: Image, now: Image) -> float:
    tiny = [cv2.resize(image, _CUT_SIZE, interpolation=cv2.INTER_AREA) for image in (before, now)]
    return float(cv2.absdiff(*tiny).mean())


def _moved(face: Face, points: Floats, found: np.ndarray, miss: Floats) -> Face | None:
    width = float(face.box[2] - face.box[0])
    trusted = found & (miss < max(_FLOW_ERROR * width, 0.5))
    if trusted.sum() < 3:
        return None
    shift = np.median((points - face.landmarks)[trusted], axis=0).astype(np.float32)
    landmarks = np.where(trusted[:, None], points, face.landmarks + shift).astype(np.float32)
    before = np.linalg.norm(face.landmarks - face.landmarks.mean(0), axis=1).mean()
    grown = np.linalg.norm(landmarks - landmarks.mean(0), axis=1).mean() / max(before, 1e-6)
    if not 0.8 < grown < 1.25:
        return None
    centre = (face.box[:2] + face.box[2:]) / 2 + shift
    half = (face.box[2:] - face.box[:2]) / 2 * np.float32(grown)
    box = np.concatenate((centre - half, centre + half)).astype(np.float32)
    return replace(face, box=box, landmarks=landmarks)


def join(tracks: Sequence[Track], faces: Sequence[Face]) -> list[int | None]:
    """The track (its place) of each detected face by overlap of boxes; None for the others."""
    joined: list[int | None] = [None] * len(faces)
    if not tracks or not faces:
        return joined
    overlap = _overlaps(
        np.stack([face.box for face in faces]), np.stack([track.face.box for track in tracks])
    )
    for face, track in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[face, track] >= _LEAST_OVERLAP:
            joined[face] = int(track)
    return joined


def find_again(lost: Sequence[Track], vector: Floats, least: float) -> Track | None:
    """The lost track whose face this is, by a mean cosine of at least that; None if nobody's."""
    best, cosine = None, least
    for track in lost:
        known = track.mean()
        if known is not None and (similar := float(known @ vector)) > cosine:
            best, cosine = track, similar
    return best


def apart(faces: Sequence[Face], others: Sequence[Face], most: float) -> list[Face]:
    """The faces whose boxes overlap none of the others' by more than that (IoU)."""
    if not faces or not others:
        return list(faces)
    overlap = _overlaps(
        np.stack([face.box for face in faces]), np.stack([face.box for face in others])
    ).max(axis=1)
    return [face for face, most_shared in zip(faces, overlap, strict=True) if most_shared <= most]


def _overlaps(first: Floats, second: Floats) -> Floats:
    """`(N, M) float32` intersections over unions."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    overlaps: Floats = inner / np.maximum(areas[0][:, None] + areas[1][None] - inner, 1e-6)
    return overlaps


def _small_grey(image: Image) -> tuple[Image, float]:
    scale = min(1.0, _FLOW_SIDE / max(image.shape[:2]))
    if scale < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), scale
