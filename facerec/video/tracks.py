"""Tracks: optical flow between detections, assignment by IoU, re-identification by embedding.

Between detections the five landmarks are followed by pyramidal Lucas-Kanade flow (Bouguet 2001);
points with a large forward-backward error are discarded (Kalal et al. 2010). Detections are
assigned to tracks by IoU, and the others by embedding, so that somebody who was hidden comes back
as the same track. At a cut, where the whole frame changes, only embeddings assign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from facerec.faces import Face, Floats, Image, box_iou

_MIN_IOU = 0.3
_FLOW_SIDE = 640
_MAX_FLOW_ERROR = 0.05
"""Largest forward-backward error, as a fraction of the face's width."""
_HALF_LIFE = 3.0
"""Seconds after which an embedding's weight is halved, so that a track that moved onto another
person takes that person's name."""
_CUT_SIZE = (32, 18)
_CUT = 18.0
"""Mean absolute difference of 32 x 18 grey pixels (0-255) above which two frames are a cut: in
hamilton.mp4 26 to 30 at the three cuts, below 13 elsewhere."""


@dataclass(slots=True, eq=False)
class Track:
    """One face over time.

    Attributes:
        number: from 1, in the order of appearance.
        face: the newest location.
        seen: seconds of its last detection.
        embedded: seconds of its last embedding; None before the first.
        quality: of the best view that was embedded.
        evidence: `(D,) float32` sum of unit vectors times quality, with exponential decay.
        weight: sum of those qualities, with the same decay.
        newest: the newest of those vectors times its quality, and that quality.
        unlike: good views in a row that are unlike the evidence.
        name: the person decided on.
        pending: another name, and how many decisions in a row were for it.
        located: whether `face` is valid in the newest frame, by detection or flow.
        before_cut: whether there was a cut since its last detection.
    """

    number: int
    face: Face
    seen: float
    embedded: float | None = None
    quality: float = 0.0
    evidence: Floats | None = None
    weight: float = 0.0
    newest: tuple[Floats, float] | None = None
    unlike: int = 0
    name: str | None = None
    located: bool = True
    before_cut: bool = False
    pending: tuple[str | None, int] = field(default=(None, 0))

    def vector(self) -> Floats | None:
        """The evidence as a unit vector `(D,) float32`."""
        if self.evidence is None:
            return None
        unit: Floats = self.evidence / max(float(np.linalg.norm(self.evidence)), 1e-12)
        return unit

    def mean(self) -> Floats | None:
        """Weighted mean of the embeddings, `(D,) float32`; its product with a vector is their mean
        cosine.

        Its norm is below 1 as far as the embeddings differ. Normalised, it would have less noise
        than one photo's embedding and so be nearer to everybody, strangers too, than the pairs that
        a threshold was calibrated on.
        """
        return None if self.evidence is None else self.evidence / np.float32(self.weight)

    def mean_before(self) -> Floats | None:
        """`mean` without the newest embedding; None where there is no other."""
        if self.evidence is None or self.newest is None or self.weight <= self.newest[1]:
            return None
        vector, quality = self.newest
        return (self.evidence - vector) / np.float32(self.weight - quality)

    def learn(self, vector: Floats, quality: float, seconds: float) -> None:
        """Add an embedding `(D,) float32`, weighted by its quality, which is above 0."""
        self._decay(seconds)
        weighted = vector * np.float32(quality)
        self.evidence = weighted if self.evidence is None else self.evidence + weighted
        self.weight += quality
        self.newest = (weighted, quality)
        self.quality = max(self.quality, quality)

    def keep_newest(self) -> None:
        """Discard all evidence but the newest embedding: the rest was of somebody else."""
        self.unlike = 0
        if self.newest is not None:
            self.evidence, self.weight = self.newest

    def absorb(self, other: Track) -> None:
        """Continue at another track of the same person, and add its evidence."""
        self.face, self.seen, self.located, self.before_cut = (
            other.face,
            other.seen,
            other.located,
            False,
        )
        if other.evidence is None or other.embedded is None:
            return
        self._decay(other.embedded)
        self.evidence = other.evidence if self.evidence is None else self.evidence + other.evidence
        self.weight += other.weight
        self.newest = other.newest
        self.quality = max(self.quality, other.quality)

    def _decay(self, seconds: float) -> None:
        if self.evidence is not None and self.embedded is not None:
            left = 0.5 ** ((seconds - self.embedded) / _HALF_LIFE)
            self.evidence, self.weight = self.evidence * np.float32(left), self.weight * left
        self.embedded = seconds


class Flow:
    """Follows landmarks from frame to frame by optical flow."""

    def __init__(self) -> None:
        self._before: Image | None = None
        self._now: Image | None = None
        self._scale = 1.0

    def look(self, image: Image) -> bool:
        """Set the next frame; whether there is a cut before it."""
        self._before = self._now
        self._now, self._scale = _small_grey(image)
        return self._before is not None and _change(self._before, self._now) > _CUT

    def follow(self, faces: Sequence[Face]) -> list[Face | None]:
        """The faces of the last frame in this one; None for one that was lost."""
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
    trusted = found & (miss < max(_MAX_FLOW_ERROR * width, 0.5))
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


def assign(tracks: Sequence[Track], faces: Sequence[Face]) -> list[int | None]:
    """Index of each detected face's track by optimal assignment on IoU; None without one."""
    assigned: list[int | None] = [None] * len(faces)
    if not tracks or not faces:
        return assigned
    overlap = box_iou(
        np.stack([face.box for face in faces]), np.stack([track.face.box for track in tracks])
    )
    for face, track in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[face, track] >= _MIN_IOU:
            assigned[face] = int(track)
    return assigned


def reidentify(lost: Sequence[Track], vector: Floats, least: float) -> Track | None:
    """The lost track with the greatest mean cosine above `least`; None without one."""
    best, cosine = None, least
    for track in lost:
        known = track.mean()
        if known is not None and (similar := float(known @ vector)) > cosine:
            best, cosine = track, similar
    return best


def without_duplicates(faces: Sequence[Face], others: Sequence[Face], most: float) -> list[Face]:
    """The faces whose IoU with each of the others is at most `most`."""
    if not faces or not others:
        return list(faces)
    overlap = box_iou(
        np.stack([face.box for face in faces]), np.stack([face.box for face in others])
    ).max(axis=1)
    return [face for face, most_shared in zip(faces, overlap, strict=True) if most_shared <= most]


def _small_grey(image: Image) -> tuple[Image, float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _FLOW_SIDE / max(image.shape[:2]))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8), scale
