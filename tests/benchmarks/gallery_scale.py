"""What a gallery costs as it grows: `python -m tests.benchmarks.gallery_scale 10000 1000000`.

Simulated galleries of 128 values a face and ten faces a person, each opened in a process of its
own: milliseconds to open, to search by the nearest photo (10 people) and to add a face; memory
beyond that of the bare process, as a multiple of the vectors' size, last its greatest. `--index`
also makes the approximate index.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from facerec import Gallery
from facerec.card import ModelCard
from facerec.faces import Face, Floats
from facerec.gallery.addresses import changing
from facerec.gallery.files import backend as file
from facerec.gallery.files.hdf5 import ALIGNED
from facerec.weights.store import load_card

SIZE, FACES, TOP = 128, 10, 10
BLOCK = 1 << 18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="+", help="faces of each gallery")
    parser.add_argument("--index", action="store_true", help="also the approximate index")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure, indexed=arguments.index)
        return
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.h5"
            write_simulated(path, rows, load_card("dlib_resnet"))
            print(f"\n{rows:,} x {SIZE}: a file of {path.stat().st_size / 1e6:,.0f} MB", flush=True)
            call = [sys.executable, "-m", "tests.benchmarks.gallery_scale", str(rows)]
            subprocess.run([*call, "--measure", str(path)], check=True)
            drop_from_memory(path)
            took("open, read from the disk", lambda place=path: Gallery.open(place))
            if arguments.index:
                began = time.perf_counter()
                made = file.index(path, "exemplar")
                taken, size = time.perf_counter() - began, made.stat().st_size
                print(f"  index: {taken:.0f} s, {size / 1e6:,.0f} MB", flush=True)
                subprocess.run([*call, "--index", "--measure", str(path)], check=True)


def write_simulated(path: Path, rows: int, card: ModelCard) -> None:
    """Write a gallery file of random vectors, block by block."""
    people = -(-rows // FACES)
    with h5py.File(path, "w", **ALIGNED) as raw:
        raw.attrs.update(
            {"facerec_gallery": 1, "card": card.to_json(), "id": "0" * 32, "folds": ""}
        )
        shapes = {"embeddings": (SIZE,), "box": (4,), "landmarks": (5, 2), "score": ()}
        for name, shape in shapes.items():
            raw.create_dataset(name, (rows, *shape), np.float32)
        raw["person"] = np.arange(rows, dtype=np.int32) % people
        raw["meta"], raw["metas"] = np.zeros(rows, np.int32), np.array([b""], "S1")
        raw["people"] = np.array([f"person {number}" for number in range(people)], "S16")
        for name in ("source", "sha256"):
            raw.create_dataset(name, (rows,), "S64")
        sums = np.zeros((people, SIZE), np.float32)
        for first in range(0, rows, BLOCK):
            some = slice(first, min(first + BLOCK, rows))
            vectors = random_unit(some.stop - first, seed=first)
            raw["embeddings"][some] = vectors
            # What is never written is not in the file, and would have to be made up at opening.
            for name in ("box", "landmarks", "score"):
                raw[name][some] = np.zeros((len(vectors), *shapes[name]), np.float32)
            for name in ("source", "sha256"):
                raw[name][some] = np.arange(first, some.stop).astype("S64")
            numbers = np.arange(first, some.stop) % people
            for start in range(0, len(numbers), people):
                part = slice(start, start + people)
                sums[numbers[part]] += vectors[part]
        raw["templates"] = sums / np.linalg.norm(sums, axis=1, keepdims=True)


def drop_from_memory(path: Path) -> None:
    """Have the system read a file from the disk again."""
    with path.open("rb") as raw:
        os.fsync(raw.fileno())
        os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(path: Path, *, indexed: bool) -> None:
    import torch

    queries = random_unit(64, seed=1)
    torch.from_numpy(queries).sum()
    bare = memory()
    opened = took("open", lambda: Gallery.open(path))
    vectors = len(opened) * SIZE * 4

    def search(some: Floats) -> None:
        opened.search(some, TOP, match="exemplar")

    def tell_memory(when: str, used: Callable[[], int] = memory) -> None:
        more = used() - bare
        print(
            f"  {'memory ' + when:36s} {more / 1e6:10,.0f} MB, {more / vectors:.2f} x the vectors"
        )

    took("first query", lambda: search(queries[:1]))
    if indexed:
        turns = [queries[number : number + 1] for number in range(1, 21)]
        took("20 queries by the index, in turn", lambda: [*map(search, turns)], times=3)
        tell_memory("with the index")
        return
    took("a query, exact", lambda: search(queries[:1]), times=3)
    tell_memory("searching in float32")
    took("65 queries, first time", lambda: search(np.concatenate((queries, queries[:1]))))
    took("a query, exact, in bytes", lambda: search(queries[:1]), times=5)
    took("64 queries, exact, in bytes", lambda: search(queries), times=3)
    tell_memory("searching in bytes")
    face = Face(np.zeros(4, np.float32), 1.0, np.zeros((5, 2), np.float32), queries[0])
    with changing(str(path)) as gallery:
        took("add a face, first (sorts names)", lambda: add(gallery, face, "first"))
        took("add a face and commit", lambda: add(gallery, face, "second"))
        tell_memory("after adding")
    tell_memory("at its greatest", most_memory)
    took("open with a journal", lambda: Gallery.open(path))


def add(gallery: Any, face: Face, name: str) -> None:
    gallery.add(name, [face], f"{name}.jpg")
    gallery.commit()


def random_unit(rows: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, SIZE), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def took(name: str, step: Callable[[], Any], times: int = 1) -> Any:
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        result = step()
        best = min(best, time.perf_counter() - began)
    print(f"  {name:36s} {best * 1e3:10,.1f} ms", flush=True)
    return result


def memory() -> int:
    """Bytes of this process in memory, pages of mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def most_memory() -> int:
    """The greatest that `memory` has been."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
