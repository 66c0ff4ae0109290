"""The hardest errors of a model, and their thumbnails."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facerec.errors import InputError
from facerec.evaluation.metrics import best_threshold
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import Verification
from facerec.imaging.archives import Source

SHOWN = 12
_SIDE = 160


@dataclass(frozen=True, slots=True)
class HardPair:
    """A wrong decision.

    Attributes:
        first, second: the images, as the protocol names them.
        similarity: their cosine.
        same: whether they show one person.
    """

    first: str
    second: str
    similarity: float
    same: bool


def hardest_pairs(
    result: Verification, protocol: PairProtocol, missing: Mapping[str, str]
) -> list[HardPair]:
    """The wrongly decided pairs farthest beyond the best threshold, of each kind at most 12.

    Pairs with an image that has no vector are skipped: they have no score.
    """
    threshold, _ = best_threshold(result.curve)
    absent = np.array([key in missing for key in protocol.keys])
    usable = ~absent[protocol.pairs].any(axis=1)
    wrong = usable & ((result.similarities >= threshold) != result.same)
    hardest = []
    for kind, order in ((~result.same, -result.similarities), (result.same, result.similarities)):
        rows = np.flatnonzero(wrong & kind)
        for row in rows[np.argsort(order[rows], kind="stable")][:SHOWN]:
            first, second = protocol.pairs[row]
            hardest.append(
                HardPair(
                    protocol.keys[first],
                    protocol.keys[second],
                    float(result.similarities[row]),
                    bool(result.same[row]),
                )
            )
    return hardest


def thumbnail(source: Source, file: str, max_pixels: int) -> str:
    """A thumbnail as a data URI, its longer side at most 160 pixels; empty if it cannot be read."""
    import cv2

    from facerec.imaging.decode import decode_image

    try:
        image = decode_image(source.read(file), file, max_pixels)
    except InputError:
        return ""
    scale = _SIDE / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
