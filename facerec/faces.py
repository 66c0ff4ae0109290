"""Face, frame, match: the frozen value types that the packages exchange.

Boxes are `x1, y1, x2, y2` and landmarks `x, y`, in pixels of the upright original image with
the origin at its top-left pixel's centre. Arrays inside are read-only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.errors import FacerecError, UsageError

Image = NDArray[np.uint8]
"""`(H, W, 3) uint8`, RGB, upright."""

Floats = NDArray[np.float32]

DownscaleFactor = Callable[[int, int], int]
"""The factor, 1, 2, 4 or 8, by which a JPEG of a height and width may be decoded smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face.

    Attributes:
        box: `(4,) float32`, x1, y1, x2, y2; may reach beyond the image.
        score: detector's confidence in [0, 1].
        landmarks: `(5, 2) float32`: left eye, right eye, nose, left and right mouth corner, as
            the viewer sees them who turns the photo until the face is upright.
        embedding: `(D,) float32` unit vector, or None before embedding.
        turn: degrees, 0, 90, 180 or 270, by which the photo has to be turned clockwise for the
            face to stand upright; 0 unless turned faces were sought.
        among: how many faces its image shows.
        quality: in [0, 1], see `facerec.engine.quality`; None where it was not measured.
        norm: of the vector before normalisation; None before embedding, and where the model's card
            says nothing of it.

    Arrays given are not copied, and stay writable to their owner; lists are taken, too.

    Raises:
        UsageError: box, landmarks or embedding are of another shape.
    """

    box: Floats
    score: float
    landmarks: Floats
    embedding: Floats | None = None
    turn: int = 0
    among: int = 1
    quality: float | None = None
    norm: float | None = None

    def __post_init__(self) -> None:
        _freeze(self, "box", self.box, (4,))
        _freeze(self, "landmarks", self.landmarks, (5, 2))
        if self.embedding is not None:
            _freeze(self, "embedding", self.embedding, None)

    def __reduce__(self) -> tuple[type[Face], tuple[Any, ...]]:
        # By the constructor, as unpickled arrays are writable.
        return type(self), (
            self.box, self.score, self.landmarks, self.embedding, self.turn, self.among,
            self.quality, self.norm,
        )  # fmt: skip

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    def enlarged(self, factor: int) -> Face:
        """The same face in an image `factor` times as high and wide."""
        # The first pixel becomes `factor` pixels, and its centre theirs.
        first = np.float32((factor - 1) / 2)
        box, landmarks = self.box * np.float32(factor), self.landmarks * np.float32(factor)
        return replace(self, box=box + first, landmarks=landmarks + first)

    def to_record(self) -> dict[str, Any]:
        """Box, score and landmarks as JSON values, to a hundredth of a pixel; landmarks are None
        where they are unknown, as of an aligned image. `quality` and `norm` where they were
        measured, `turn` where the photo was turned."""
        known = bool(np.isfinite(self.landmarks).all())
        record: dict[str, Any] = {
            "box": self.box.astype(float).round(2).tolist(),
            "score": round(float(self.score), 4),
            "landmarks": self.landmarks.astype(float).round(2).tolist() if known else None,
        }
        if self.quality is not None:
            record["quality"] = round(float(self.quality), 4)
        if self.norm is not None:
            record["norm"] = round(float(self.norm), 4)
        return {**record, "turn": self.turn} if self.turn else record


def _freeze(face: Face, name: str, values: Floats, shape: tuple[int, ...] | None) -> None:
    """Make an attribute a read-only float32 array of a shape; None: of one dimension."""
    array = np.asarray(values, np.float32)
    if array.shape != shape and (shape is not None or array.ndim != 1):
        wanted = shape or "(D,)"
        raise UsageError(f"the {name} of a face is of shape {wanted}, not {array.shape}")
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    if array is not values:
        object.__setattr__(face, name, array)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The full-size image of which a downscaled version was decoded.

    Attributes:
        encoded: the bytes of the file.
        height: in pixels, upright.
        width: in pixels, upright.
        factor: the downscale factor.
    """

    encoded: bytes
    height: int
    width: int
    factor: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded photo or a moment of video in the engine's stream, or why it is unreadable.

    Attributes:
        source: where it came from, as the user named it.
        image: pixels; None if it could not be read, or was not wanted.
        sha256: hex hash of the encoded bytes; empty if they could not be read.
        error: why it could not be read.
        original: what `image` is a downscaled version of; None at full size.
    """

    source: str
    image: Image | None
    sha256: str = ""
    error: FacerecError | None = None
    original: Original | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at full size, the pixels of faces' boxes and landmarks."""
        assert self.image is not None, "the frame was decoded"
        if self.original is not None:
            return self.original.height, self.original.width
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gallery person and their distance to a face.

    Attributes:
        name: the person.
        similarity: cosine in [-1, 1].
        distance: in the metric of the query; smaller is nearer.
    """

    name: str
    similarity: float
    distance: float


@dataclass(frozen=True, slots=True)
class Match:
    """Who a face is decided to be.

    Attributes:
        name: the person, or None for a stranger.
        nearest: that person, or a stranger's nearest; None in an empty gallery.
        candidates: the nearest people, nearest first; empty for an empty gallery.
        probability: that the face is `nearest`, see `facerec.gallery.certainty`; None where the
            card tells none.
    """

    name: str | None
    nearest: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    probability: float | None = None


def box_iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union `(N, M) float32` of boxes `(N, 4)` and `(M, 4)`, x1, y1, x2, y2."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    overlaps: Floats = shared / np.maximum(union, np.finfo(np.float32).tiny)
    return overlaps


def face_label(name: str | None, unknown: str) -> str:
    """What a face is labelled with: its person's name, marked where strangers are called so.

    Args:
        name: the person, or None for a stranger.
        unknown: a stranger's label.
    """
    if name is None:
        return unknown
    return f"{name} (enrolled)" if name.casefold() == unknown.casefold() else name


def turn_of(landmarks: Floats) -> int:
    """Degrees, 0, 90, 180 or 270, by which a photo has to be turned clockwise for a face to stand
    most upright: `Face.turn`, told by the landmarks.

    Args:
        landmarks: `(5, 2) float32` pixels of the photo; NaN, when unknown, gives 0.
    """
    down = landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)
    if not np.isfinite(down).all():
        return 0
    quarters = round(math.atan2(float(down[0]), float(down[1])) / (math.pi / 2))
    return 90 * (quarters % 4)
