"""Detection metrics (precision, recall, average precision) on FDDB and WIDER FACE.

The detections of an image are matched in descending order of score, each to the unmatched face of
largest IoU. Above an IoU of 0.5 it is a true positive, else a false positive, unless it overlaps an
ignored face, when it does not count. FDDB calls this the discrete score (Jain and Learned-Miller
2010, section 5); WIDER FACE (Yang et al. 2016) follows PASCAL VOC, which differs only where faces
overlap by half. FDDB's evaluation counts pixels, so that what lies outside the image does not
count; WIDER FACE's compares boxes as they are.
"""

from __future__ import annotations

import math
import posixpath
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facerec.detection import Detector
from facerec.errors import FacerecError, InputError
from facerec.faces import Face, Floats, Image
from facerec.files.text import decode_text
from facerec.imaging.archives import Source
from facerec.imaging.names import has_image_suffix
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

MATCHED = 0.5
_CHORDS = 512
_FOLD = re.compile(r"FDDB-fold-\d+-ellipseList\.txt")
FALSE_POSITIVES = (20, 50, 100, 500, 1000)
"""Numbers of false positives at which recall is reported."""
_LEAST = 0.05
"""Score down to which the curve goes."""


class Region(Protocol):
    """An annotated face."""

    @property
    def ignored(self) -> bool:
        """Whether a detection of it does not count."""
        ...

    def overlap(self, box: Floats) -> float:
        """Intersection over union with a box `(4,)` x1, y1, x2, y2."""
        ...

    def within(self, height: int, width: int) -> Region:
        """What is compared of it in an image of that size."""
        ...


@dataclass(frozen=True, slots=True)
class Rectangle:
    """An upright rectangle in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float
    ignored: bool = False

    def overlap(self, box: Floats) -> float:
        """Intersection over union with a box `(4,)` x1, y1, x2, y2."""
        x1, y1, x2, y2 = map(float, box)
        width = max(0.0, min(self.x2, x2) - max(self.x1, x1))
        height = max(0.0, min(self.y2, y2) - max(self.y1, y1))
        shared = width * height
        areas = (self.x2 - self.x1) * (self.y2 - self.y1) + (x2 - x1) * (y2 - y1)
        return shared / (areas - shared) if shared else 0.0

    def within(self, height: int, width: int) -> Rectangle:
        """All of it."""
        return self


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse in pixels.

    Attributes:
        major: radius along the axis that `angle` turns.
        minor: radius across it.
        angle: radians from the x axis towards the y axis (down).
        x, y: centre.
        frame: x1, y1, x2, y2 outside which neither it nor a box counts.
    """

    major: float
    minor: float
    angle: float
    x: float
    y: float
    frame: tuple[float, float, float, float] = (-math.inf, -math.inf, math.inf, math.inf)

    @property
    def ignored(self) -> bool:
        """FDDB ignores no face."""
        return False

    def overlap(self, box: Floats) -> float:
        """Intersection over union with a box, summed over 512 horizontal chords (error < 0.002)."""
        least, most = self.frame[:2] * 2, self.frame[2:] * 2
        x1, y1, x2, y2 = np.clip(np.asarray(box, np.float64), least, most).tolist()
        shared = self._area(x1, y1, x2, y2)
        areas = self._area(*self.frame) + (x2 - x1) * (y2 - y1)
        return shared / (areas - shared) if shared else 0.0

    def within(self, height: int, width: int) -> Ellipse:
        """Its part inside the image: FDDB counts pixels."""
        return replace(self, frame=(0.0, 0.0, float(width), float(height)))

    def _area(self, x1: float, y1: float, x2: float, y2: float) -> float:
        """Area in a rectangle."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        extent = math.hypot(self.major * sine, self.minor * cosine)
        top, bottom = max(y1, self.y - extent), min(y2, self.y + extent)
        if bottom <= top:
            return 0.0
        step = (bottom - top) / _CHORDS
        height = top + (np.arange(_CHORDS) + 0.5) * step - self.y
        # A chord ends at the roots of the ellipse's quadratic in x.
        middle = height * sine * cosine * (self.major**2 - self.minor**2) / extent**2
        half = self.major * self.minor / extent * np.sqrt(1 - np.minimum(1, (height / extent) ** 2))
        left, right = self.x + middle - half, self.x + middle + half
        return float((np.minimum(right, x2) - np.maximum(left, x1)).clip(0).sum()) * step


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image, as the annotations name it, and its faces."""

    key: str
    faces: tuple[Region, ...]


def read_fddb(source: Source) -> list[AnnotatedImage]:
    """FDDB's folds, all ten or some: every `FDDB-fold-NN-ellipseList.txt` of a source.

    A face is a line `major minor angle x y 1`. FDDB's angles are radians; a file in which any
    exceeds pi in size is read as degrees. Images are named without their suffix, `.jpg`.

    Raises:
        InputError: there are no such files, or a line is not as above.
    """
    lists: dict[str, str] = {}
    for name in sorted(source.names(), key=lambda name: (name.count("/"), name)):
        if _FOLD.fullmatch(base := posixpath.basename(name)):
            lists.setdefault(base, name)
    if not lists:
        raise InputError(f"{source.name}: no FDDB-folds/FDDB-fold-*-ellipseList.txt")
    pictures = []
    for _, name in sorted(lists.items()):
        records = list(_records(source.read(name), f"{source.name}: {name}", 5))
        degrees = any(abs(row[2]) > math.pi for _, rows in records for row in rows)
        turn = math.pi / 180 if degrees else 1.0
        for image, rows in records:
            faces = tuple(Ellipse(a, b, angle * turn, x, y) for a, b, angle, x, y, *_ in rows)
            key = image if has_image_suffix(image) else f"{image}.jpg"
            pictures.append(AnnotatedImage(key, faces))
    return pictures


def read_wider_face(annotations: str | Path) -> list[AnnotatedImage]:
    """WIDER FACE's `wider_face_val_bbx_gt.txt`.

    A face is a line `x y width height blur expression illumination invalid occlusion pose`; those
    marked invalid, and those without an area, are ignored.

    Raises:
        InputError: the file cannot be read, or a line is not as above.
    """
    try:
        data = Path(annotations).read_bytes()
    except OSError as error:
        raise InputError(f"{annotations}: {error.strerror}") from error
    return [
        AnnotatedImage(
            name,
            tuple(
                Rectangle(
                    x, y, x + w, y + h, ignored=bool(rest[3:] and rest[3]) or w <= 0 or h <= 0
                )
                for x, y, w, h, *rest in rows
            ),
        )
        for name, rows in _records(data, str(annotations), 4)
    ]


def _records(data: bytes, file: str, numbers: int) -> Iterator[tuple[str, list[list[float]]]]:
    """Blocks of a name, a count, and as many lines of at least `numbers` numbers."""
    try:
        lines = decode_text(data, file).splitlines()
    except FacerecError as error:
        raise InputError(str(error)) from error
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        try:
            name, count = lines[at].strip(), int(lines[at + 1])
            faces = lines[at + 2 : at + 2 + max(count, 0)]
            rows = [[float(part) for part in line.split()] for line in faces]
            short = len(rows) != count or any(
                len(row) < numbers or not all(map(math.isfinite, row)) for row in rows
            )
        except (ValueError, IndexError):
            short = True
        if short:
            raise InputError(f"{file}:{at + 1}: not a name, a number of faces and their lines")
        at += 2 + count
        # WIDER FACE writes a line of zeros for an image without faces.
        if count == 0 and at < len(lines) and set(lines[at].split()) == {"0"}:
            at += 1
        yield name, rows


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """A detector's figures.

    Precision and recall are the detector's as it is set; the curve goes on below its score.

    Attributes:
        images: number of images.
        faces: annotated faces, without ignored ones.
        precision: share of true detections.
        recall: share of faces found.
        average_precision: area under the precision-recall curve, precision made monotone (PASCAL
            VOC since 2010, WIDER FACE).
        recall_at: number of false positives in all images → recall at the lowest score with no
            more of them (a point of FDDB's ROC).
        seconds_per_image: mean time of detection alone.
        scores: `(N,) float32`, of all detections that count, highest first.
        true: `(N,) bool`, which of them are true.
    """

    images: int
    faces: int
    precision: float
    recall: float
    average_precision: float
    recall_at: dict[int, float]
    seconds_per_image: float
    scores: Floats
    true: NDArray[np.bool_]

    @property
    def recalls(self) -> NDArray[np.float64]:
        """Recall `(N,)` down to each score."""
        return np.cumsum(self.true) / max(self.faces, 1)

    @property
    def false_positives(self) -> NDArray[np.intp]:
        """Number of false positives `(N,)` down to each score."""
        return np.cumsum(~self.true)


def with_all_scores(section: DetectorSection) -> DetectorSection:
    """The section of a detector that also gives faces of low score, for the curve: FDDB's authors
    order detections by score and ask for all of them."""
    if DETECTORS.fact(section.name, "cascade"):
        first, second, last = section.thresholds
        return section.model_copy(update={"thresholds": (first, second, min(last, _LEAST))})
    own = section.score
    # The points are placed face by face, and not measured here.
    lower = {"score": _LEAST if own is None else min(own, _LEAST), "landmarks": "own"}
    return section.model_copy(update=lower)


def of_every_score(found: Sequence[Face], weak: Sequence[Face]) -> list[Face]:
    """An image's faces down to the lowest score.

    Where a second look found them, the first saw some of the same faces, weakly.

    Args:
        found: what the detector finds as it is set, highest score first.
        weak: what its first look finds with `with_all_scores`, highest score first.
    """
    if not found or (weak and weak[0].score == found[0].score):
        return list(weak)
    known = [Rectangle(*face.box.tolist()) for face in found]
    apart = [face for face in weak if all(one.overlap(face.box) <= MATCHED for one in known)]
    return [*found, *apart]


def match_detections(
    detections: Sequence[Face], faces: Sequence[Region]
) -> list[tuple[float, bool]]:
    """Score and truth of an image's detections that count, highest score first."""
    free = [face for face in faces if not face.ignored]
    ignored = [face for face in faces if face.ignored]
    outcome = []
    for detection in sorted(detections, key=lambda face: -face.score):
        overlaps = [face.overlap(detection.box) for face in free]
        best = max(range(len(free)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] > MATCHED:
            del free[best]
            outcome.append((detection.score, True))
        elif not any(face.overlap(detection.box) > MATCHED for face in ignored):
            outcome.append((detection.score, False))
    return outcome


def average_precision(true: NDArray[np.bool_], faces: int) -> float:
    """Area under the precision-recall curve, all points, precision made monotone.

    Args:
        true: `(N,)`, whether each detection is true, highest score first.
        faces: number of annotated faces.
    """
    if not faces or not len(true):
        return 0.0
    precision = np.cumsum(true) / np.arange(1, len(true) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[true].sum() / faces)


def recall_at_false_positives(
    scores: Floats, true: NDArray[np.bool_], faces: int, allowed: int
) -> float:
    """Recall at the lowest score that gives at most `allowed` false positives in all.

    Args:
        scores: `(N,)`, highest first; detections of equal score are accepted together.
        true: `(N,)`, whether each detection is true.
        faces: number of annotated faces.
        allowed: false positives.
    """
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    usable = np.flatnonzero(last_of_score & (np.cumsum(~true) <= allowed))
    if not faces or not len(usable):
        return 0.0
    return float(true[: usable[-1] + 1].sum() / faces)


def evaluate_detectors(
    detectors: Mapping[str, Detector],
    pictures: Iterable[AnnotatedImage],
    read: Callable[[str], Image],
    *,
    curves: Mapping[str, Detector] | None = None,
    false_positives: Sequence[int] = FALSE_POSITIVES,
    seen: Callable[[], object] = lambda: None,
    unreadable: Callable[[InputError], object] | None = None,
) -> dict[str, DetectionReport]:
    """Run detectors side by side over annotated images, each read once.

    Args:
        detectors: name → detector.
        curves: name → the same detector of `with_all_scores`, without a second look, for the
            curve; without one it ends at the detector's own score.
        pictures: annotated images.
        read: gives the `(H, W, 3) uint8` RGB image of a key.
        false_positives: numbers of false positives at which recall is reported.
        seen: callback after each image.
        unreadable: callback for an image that `read` cannot read, whose faces count as not found;
            None: it is raised.
    """
    curves = curves or {}
    outcomes: dict[str, list[tuple[float, bool]]] = {name: [] for name in detectors}
    ordered: dict[str, list[tuple[float, bool]]] = {name: [] for name in curves}
    seconds = dict.fromkeys(detectors, 0.0)
    images = faces = 0
    for picture in pictures:
        images += 1
        faces += sum(not face.ignored for face in picture.faces)
        try:
            image = read(picture.key)
        except InputError as error:
            if unreadable is None:
                raise
            unreadable(error)
            seen()
            continue
        regions = [face.within(*image.shape[:2]) for face in picture.faces]
        for name, detector in detectors.items():
            start = time.perf_counter()
            found = detector.detect([image])[0]
            seconds[name] += time.perf_counter() - start
            outcomes[name] += match_detections(found, regions)
            if name in curves:
                every = of_every_score(found, curves[name].detect([image])[0])
                ordered[name] += match_detections(every, regions)
        seen()
    return {
        name: _report(
            outcome, ordered.get(name, outcome), images, faces, seconds[name] / max(images, 1),
            false_positives,
        )
        for name, outcome in outcomes.items()
    }  # fmt: skip


def _report(
    found: list[tuple[float, bool]],
    outcome: list[tuple[float, bool]],
    images: int,
    faces: int,
    seconds_per_image: float,
    false_positives: Sequence[int],
) -> DetectionReport:
    outcome.sort(key=lambda pair: -pair[0])
    hits = sum(truth for _, truth in found)
    scores = np.array([score for score, _ in outcome], np.float32)
    true = np.array([truth for _, truth in outcome], bool)
    return DetectionReport(
        images=images,
        faces=faces,
        precision=hits / len(found) if found else 0.0,
        recall=hits / faces if faces else 0.0,
        average_precision=average_precision(true, faces),
        recall_at={
            allowed: recall_at_false_positives(scores, true, faces, allowed)
            for allowed in false_positives
        },
        seconds_per_image=seconds_per_image,
        scores=scores,
        true=true,
    )
