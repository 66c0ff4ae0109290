"""Average linkage of 8,000 images of one person: seconds and memory beside scikit-learn.

python -m tests.benchmarks.linkage
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import numpy as np

COUNT, SIZE = 8000, 512
TRIANGLE = COUNT * (COUNT - 1) // 2 * 4 / 2**20


def make_vectors() -> np.ndarray:
    """Nine tenths around one centre, the rest anywhere."""
    dice = np.random.default_rng(0)
    vectors = dice.normal(size=(COUNT, SIZE)).astype(np.float32)
    vectors[: COUNT * 9 // 10] += 1.5 * dice.normal(size=SIZE).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str) -> tuple[float, float]:
    """Seconds, and MiB beyond what was there before."""
    vectors = make_vectors()
    if name == "facerec":
        from facerec.cleanup.linkage import link

        link(vectors[:1100], "cosine", "average")
        before, started = peak(), time.perf_counter()
        link(vectors, "cosine", "average")
    else:
        from sklearn.cluster import AgglomerativeClustering

        model = AgglomerativeClustering(
            n_clusters=None, metric="cosine", linkage="average", distance_threshold=0.7
        )
        model.fit(vectors[:1100])
        before, started = peak(), time.perf_counter()
        model.fit(vectors)
    return time.perf_counter() - started, peak() - before


if __name__ == "__main__":
    for name in ("facerec", "scikit-learn"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, memory = pool.apply(measure, (name,))
        print(f"{name:13} {seconds:5.2f} s  {memory:6.0f} MiB, {memory / TRIANGLE:.2f} triangles")
