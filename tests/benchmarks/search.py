"""How long searching takes: `python -m tests.benchmarks.search [--faces lfw.h5]`.

Without `--faces`: 500,000 random vectors of 512 values, exact search by facerec, NumPy and FAISS,
beside the time to read the matrix once. With the gallery of real faces (LFW: `facerec embed lfw/ -o
lfw.h5`): of each person's photos one is the query and the others lie among a million distractors
(or `--distractors`) drawn from the real vectors' mean and covariance; the approximate index's
recall at 1 and its time.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facerec import Gallery
from facerec.faces import Floats
from facerec.gallery.base import Batch
from facerec.gallery.files import backend as file
from facerec.gallery.search.exact import Best, ExactSearch

ROWS, SIZE, TOP, ROUNDS = 500_000, 512, 10, 5
DISTRACTORS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="a gallery of real faces")
    parser.add_argument("--distractors", type=int, default=DISTRACTORS)
    parser.add_argument("--seed", type=int, default=0, help="of the distractors")
    arguments = parser.parse_args()
    if arguments.faces is None:
        exact()
    else:
        approximate(arguments.faces, arguments.distractors, arguments.seed)


def exact() -> None:
    """Print milliseconds, the best of five rounds in which all take turns."""
    import faiss
    import torch

    dice = np.random.default_rng(0)
    vectors, queries = random_unit(dice, ROWS), random_unit(dice, 64)
    groups = np.arange(ROWS, dtype=np.int32)
    fresh, asked = ExactSearch(vectors), ExactSearch(vectors)

    def search(searcher: ExactSearch, count: int) -> None:
        searcher.search(queries[:count], Best.of_none(count, TOP, -np.inf), groups)

    flat = faiss.IndexFlatIP(SIZE)
    flat.add(vectors)
    print(f"{ROWS:,} x {SIZE}, the {TOP} nearest")
    search(asked, 64)
    began = time.perf_counter()
    search(asked, 64)
    print(f"  {'facerec, making the bytes (once)':36s} {time.perf_counter() - began:10.2f} s")
    steps: dict[str, Callable[[], Any]] = {
        "the matrix read once (torch sum)": lambda: torch.from_numpy(vectors).sum(),
        "NumPy, 1 query": lambda: numpy_search(vectors, queries[:1]),
        "NumPy, 64 queries": lambda: numpy_search(vectors, queries),
        "FAISS flat, 1 query": lambda: flat.search(queries[:1], TOP),
        "FAISS flat, 64 queries": lambda: flat.search(queries, TOP),
        "facerec, 1 query, before bytes": lambda: search(fresh, 1),
        "facerec, 1 query": lambda: search(asked, 1),
        "facerec, 64 queries": lambda: search(asked, 64),
    }
    best = dict.fromkeys(steps, math.inf)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            step()  # what another's threads still do is over then
            began = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - began)
    for name, seconds in best.items():
        print(f"  {name:36s} {seconds * 1e3:10.1f} ms")


def approximate(faces: Path, distractors: int, seed: int) -> None:
    """Print the index's recall at 1 against exact search, and milliseconds a query."""
    entries, card = Gallery.open(faces).entries, Gallery.open(faces).card
    # A person's last photo asks, where there are several.
    asks = np.diff(entries.person, append=-1).astype(bool) & (
        np.diff(entries.person, prepend=-1) == 0
    )
    held, queries = entries.embeddings[~asks], np.ascontiguousarray(entries.embeddings[asks])
    dice = np.random.default_rng(seed)
    mean, covariance = entries.embeddings.mean(axis=0), np.cov(entries.embeddings.T)
    spread = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean))).astype(np.float32)
    made = mean + dice.standard_normal((distractors, len(mean)), np.float32) @ spread.T
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    vectors = np.concatenate((held, made))
    rows = len(vectors)
    gallery = Gallery(card)
    gallery.append(
        Batch(
            [*(f"real {number}" for number in entries.person[~asks]), *map(str, range(len(made)))],
            [""] * rows,
            [""] * rows,
            [{}] * rows,
            vectors,
            np.zeros((rows, 4), np.float32),
            np.zeros((rows, 5, 2), np.float32),
            np.ones(rows, np.float32),
            np.ones(rows, np.float32),
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.h5"
        gallery.save(path)
        truth = [hits[0] for hits in Gallery.open(path).search(queries, 1, match="exemplar")]
        began = time.perf_counter()
        made_at = file.index(path, "exemplar")
        built, size = time.perf_counter() - began, made_at.stat().st_size
        opened = Gallery.open(path)
        opened.search(queries[:1], 1, match="exemplar")
        began = time.perf_counter()
        found = [opened.search(query[None], 1, match="exemplar")[0][0] for query in queries]
        taken = time.perf_counter() - began
    recall = np.mean([one == other for one, other in zip(found, truth, strict=True)])
    people = [f"real {number}" for number in entries.person[asks]]
    right = np.mean([hit.name == person for hit, person in zip(truth, people, strict=True)])
    print(f"{rows:,} x {len(mean)}, {len(queries):,} real queries, one at a time")
    print(f"  index made in {built:.1f} s, {size / 1e6:.0f} MB")
    print(f"  {taken / len(queries) * 1e3:.2f} ms a query, recall at 1: {recall:.4f}")
    print(f"  the nearest is the query's own person: {right:.4f} by exact search")


def random_unit(dice: np.random.Generator, rows: int) -> Floats:
    vectors = dice.standard_normal((rows, SIZE), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def numpy_search(vectors: Floats, queries: Floats) -> None:
    products = queries @ vectors.T
    np.argpartition(products, -TOP, axis=1)[:, -TOP:]


if __name__ == "__main__":
    main()
