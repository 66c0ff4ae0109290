"""Vectors of made people, and what the tests of `facerec cleanup` do with folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facerec.cleanup.photos import Facts, Photos


def person(dice, count, size=64, spread=0.08, near=None):
    centre = dice.normal(size=size) if near is None else near
    vectors = centre / np.linalg.norm(centre) + spread * dice.normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def noise_vectors(dice, count, size=64):
    vectors = dice.normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_photos(vectors: np.ndarray, sizes: list[int]) -> Photos:
    """Images of people, so many of each, without files."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    files = np.array([f"{p}/{n}.jpg" for n, p in enumerate(number)], object)
    digests = np.array([f"{n:04}" for n in range(len(vectors))], object)
    names = [str(n) for n in range(len(sizes))]
    return Photos(files, files, number, names, digests, vectors, [Facts(1)] * len(vectors))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, bit for bit."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def outputs(folder):
    return [part for name in ("clean", "dirt", "report") for part in (f"--{name}", folder / name)]
