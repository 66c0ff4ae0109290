"""Fits the weights of `facerec.engine.quality` on LFW's folds 1-5, and shows what discarding the
worst faces does for folds 6-10.

Of each pair drawn, the first photo is also degraded in six ways: blurred, brought down to a face of
20-48 pixels, darkened with noise, overexposed, turned in the plane, squeezed on one side. What a
genuine pair's cosine loses is regressed on the defects of both faces, with weights of at least 0
(Lawson & Hanson 1974).

python -m tests.benchmarks.quality LFW.tar pairs.txt [--per-fold 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from scipy.optimize import nnls

from facerec import Engine
from facerec.alignment.warp import only_central_face
from facerec.engine.quality import DEFECTS, face_quality, measure_defects, quality_chips
from facerec.evaluation.protocols.pairs import PairProtocol, open_protocol
from facerec.faces import Face, Frame, Image
from facerec.imaging.archives import Source, locate
from facerec.imaging.decode import decode_image

Degrade = Callable[[Image, np.random.Generator], Image]
Seen = tuple[Image, Face]
"""A face's chip of `quality_chips`, and the face."""
_FACE = 110
"""Pixels of a face in LFW's photos, about."""
_FAR = 1e-2


def blurred(image: Image, dice: np.random.Generator) -> Image:
    return cv2.GaussianBlur(image, (0, 0), dice.uniform(1.5, 5))


def small(image: Image, dice: np.random.Generator) -> Image:
    scale = dice.uniform(20, 48) / _FACE
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def dark(image: Image, dice: np.random.Generator) -> Image:
    noisy = image * dice.uniform(0.04, 0.25) + dice.normal(0, 2, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def bright(image: Image, dice: np.random.Generator) -> Image:
    return np.clip(image * dice.uniform(1.8, 4), 0, 255).astype(np.uint8)


def turned(image: Image, dice: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    angle = dice.uniform(25, 60) * dice.choice([-1, 1])
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    return cv2.warpAffine(image, matrix, (width, height))


def squeezed(image: Image, dice: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    offset = np.arange(width, dtype=np.float32) - width / 2
    share = dice.uniform(0.35, 0.8)
    columns = np.clip(width / 2 + np.where(offset < 0, offset / share, offset), 0, width - 1)
    if dice.random() < 0.5:
        columns = width - 1 - columns[::-1]
    across = np.repeat(columns[None].astype(np.float32), height, 0)
    down = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, 1)
    return cv2.remap(image, across, down, cv2.INTER_LINEAR)


KINDS: dict[str, Degrade] = {
    "plain": lambda image, _: image,
    **{one.__name__: one for one in (blurred, small, dark, bright, turned, squeezed)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("pairs")
    parser.add_argument("--per-fold", type=int, default=60, help="pairs of each kind")
    arguments = parser.parse_args()
    protocol, source = open_protocol("lfw", arguments.data, arguments.pairs)
    engine = Engine.from_profile("default")
    rows = _draw(protocol, arguments.per_fold)
    firsts, seconds = (np.unique(protocol.pairs[rows, column]) for column in (0, 1))
    plain = _look(engine, protocol, source, seconds, KINDS["plain"])
    scored: list[tuple[int, Seen, Seen]] = []
    undegraded = 0
    for kind, degrade in KINDS.items():
        found = _look(engine, protocol, source, firsts, degrade)
        print(f"{kind}: a face in {len(found)} of {len(firsts)}")
        for row in rows:
            first, second = protocol.pairs[row]
            if first in found and second in plain:
                scored.append((row, found[first], plain[second]))
        undegraded = undegraded or len(scored)
    number = np.array([row for row, *_ in scored])
    same, early = protocol.same[number], protocol.folds[number] < 5
    cosines = np.array([one[1].embedding @ other[1].embedding for _, one, other in scored])
    sides = [[pair[side] for pair in scored] for side in (1, 2)]
    spread = float(np.std(cosines[:undegraded][(same & early)[:undegraded]]))
    _fit(cosines, sides, same & early, spread)
    quality = np.min([face_quality(*_batch(side)) for side in sides], axis=0)
    _show(cosines[~early], quality[~early], same[~early])


def _draw(protocol: PairProtocol, per_fold: int) -> np.ndarray:
    dice = np.random.default_rng(0)
    return np.concatenate(
        [
            dice.permutation(np.flatnonzero((protocol.folds == fold) & (protocol.same == kind)))[
                :per_fold
            ]
            for fold in np.unique(protocol.folds)
            for kind in (True, False)
        ]
    )


def _look(
    engine: Engine, protocol: PairProtocol, source: Source, rows: np.ndarray, degrade: Degrade
) -> dict[int, Seen]:
    """The central face of each image in which one is found, by row."""
    files = locate(source, protocol.keys)

    def frames() -> Iterator[Frame]:
        for row in rows.tolist():
            image = decode_image(source.read(files[protocol.keys[row]]), protocol.keys[row])
            yield Frame(str(row), degrade(image, np.random.default_rng(7 * row + 1)))

    found = {}
    for frame, faces in engine.faces(frames(), select=only_central_face):
        if faces and frame.image is not None:
            (chip,) = quality_chips([(frame.image, faces[0])])
            found[int(frame.source)] = chip, replace(faces[0])
    return found


def _batch(seen: list[Seen]) -> tuple[Image, list[Face]]:
    return np.stack([chip for chip, _ in seen]), [face for _, face in seen]


def _fit(cosines: np.ndarray, sides: list[list[Seen]], genuine: np.ndarray, spread: float) -> None:
    """Print the weights, in units of the spread of undegraded genuine pairs."""
    defects = sum(measure_defects(*_batch(side)) for side in sides)[genuine]
    loss = (cosines[genuine].max() - cosines[genuine]) / spread
    weights, _ = nnls(np.c_[defects, np.ones(len(defects))], loss)
    told = ", ".join(f"{name} {one:.2f}" for name, one in zip(DEFECTS, weights, strict=False))
    print(f"halvings per unit, folds 1-5, of {spread:.4f} of cosine: {told}")


def _show(cosines: np.ndarray, quality: np.ndarray, same: np.ndarray) -> None:
    strangers = np.sort(cosines[~same])[::-1]
    threshold = strangers[int(_FAR * len(strangers))]
    for share in (0, 0.05, 0.1, 0.2):
        kept = quality[same] >= np.quantile(quality[same], share)
        rejects = np.mean(cosines[same][kept] < threshold)
        print(f"folds 6-10, {share:.0%} discarded: {rejects:.2%} false rejects at FAR {_FAR:g}")


if __name__ == "__main__":
    main()
