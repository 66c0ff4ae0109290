"""What a file's journal keeps: small, and every byte comes back."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.album.metadata.patches import earlier_bytes, is_before, make_patch
from tests.album.metadata.writers import picture

DICE = np.random.default_rng(3)


def noise(count: int) -> bytes:
    return DICE.integers(0, 256, count, np.uint8).tobytes()


def test_strips_that_lie_elsewhere_are_not_kept() -> None:
    head, strips = noise(500), [noise(70_000) for _ in range(5)]
    before = head + strips[0] + noise(90) + b"".join(strips[1:]) + b"end"
    after = noise(4000) + b"".join([*strips[3:], noise(33), *strips[:3]]) + noise(700)
    patch = make_patch(before, after)
    assert earlier_bytes(patch, after) == before
    assert len(patch.old) < 1000
    assert len(patch.copies) <= 6
    assert is_before(patch, before)
    assert earlier_bytes(patch, after + b"x") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"x"),
        (b"x", b""),
        (noise(200_000), noise(200_000)),
        (bytes(300_000), noise(10) + bytes(200_000) + noise(10)),
        (noise(64) * 3000, noise(64) + noise(64) * 2999),
        (b"ab" * 100_000, b"ba" * 90_000),
    ],
)
def test_any_two_versions(before: bytes, after: bytes) -> None:
    patch = make_patch(before, after)
    assert earlier_bytes(patch, after) == before
    assert len(patch.old) < len(before) + 200


def test_random_edits() -> None:
    base = noise(150_000)
    for _ in range(60):
        parts = [base[slice(*sorted(DICE.integers(0, len(base), 2)))] for _ in range(4)]
        after = b"".join(part + noise(int(DICE.integers(0, 300))) for part in parts)
        patch = make_patch(base, after)
        assert earlier_bytes(patch, after) == base


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "webp", "lossless"])
def test_a_picture_that_exiv2_writes_anew_costs_little(compression: str) -> None:
    pytest.importorskip("exiv2")
    from facerec.album.metadata.containers import put_packet
    from facerec.album.metadata.xmp import Xmp

    opened, stream = picture(1200, 900), io.BytesIO()
    grain = Pillow.fromarray(np.frombuffer(noise(1200 * 900 * 3), np.uint8).reshape(900, 1200, 3))
    if compression in ("webp", "lossless"):
        options = {"lossless": compression == "lossless", "quality": 90}
        Pillow.blend(opened, grain, 0.3).save(stream, "WEBP", **options)
    else:
        options = {} if compression == "raw" else {"compression": compression}
        Pillow.blend(opened, grain, 0.3).save(stream, "TIFF", **options)
    before = stream.getvalue()
    xmp = Xmp(None, "made")
    xmp.set_text("Xmp.dc.source", "somewhere")
    after = put_packet(before, xmp.encode(sidecar=False), "made")
    patch = make_patch(before, after)
    assert earlier_bytes(patch, after) == before
    assert len(before) > 200_000
    assert len(patch.old) + 20 * len(patch.copies) < 4000
