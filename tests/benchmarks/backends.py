"""A gallery in HDF5 and the same one in Milvus Lite: `python -m tests.benchmarks.backends`.

Simulated people of three photos each. Prints seconds to add and commit all entries, to open the
gallery and answer one query, then milliseconds a query (median of 20), and whether the answers of
100 queries are the same.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.base import Batch
from tests.conftest import make_card

SIZE, PHOTOS, CHUNK = 128, 3, 4095


def simulate(entries: int) -> Iterator[Batch]:
    generator = np.random.default_rng(0)
    for first in range(0, entries, CHUNK):
        count = min(CHUNK, entries - first)
        centres = generator.normal(size=(-(-count // PHOTOS), SIZE)).repeat(PHOTOS, axis=0)[:count]
        vectors = (centres + generator.normal(size=centres.shape)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = range(first, first + count)
        yield Batch(
            [f"person {row // PHOTOS}" for row in rows],
            [f"{row}.jpg" for row in rows],
            [f"{row:064x}" for row in rows],
            [{} for _ in rows],
            vectors,
            np.zeros((count, 4), np.float32),
            np.zeros((count, 5, 2), np.float32),
            np.ones(count, np.float32),
            np.ones(count, np.float32),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=30_000)
    arguments = parser.parse_args()
    queries = next(iter(simulate(100 * PHOTOS))).embeddings[::PHOTOS]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        addresses = {
            "HDF5": str(Path(folder) / "g.h5"),
            "Milvus Lite": f"milvus+lite://{folder}/g.db",
        }
        for name, address in addresses.items():
            start = time.perf_counter()
            with changing(address, create=make_card(SIZE)) as store:
                for batch in simulate(arguments.entries):
                    store.append(batch)
            adding = time.perf_counter() - start
            start = time.perf_counter()
            opened = open_gallery(address)
            opened.search(queries[:1], 3)
            opening = time.perf_counter() - start
            taken = {}
            for match in ("template", "exemplar"):
                times = []
                for query in queries[:20]:
                    start = time.perf_counter()
                    opened.search(query[None], 3, match=match)  # type: ignore[arg-type]
                    times.append(time.perf_counter() - start)
                taken[match] = 1000 * statistics.median(times)
            found[name] = [[hit.name for hit in hits] for hits in opened.search(queries, 3)]
            print(
                f"{name}: {arguments.entries:,} entries added in {adding:.1f} s, opened and asked "
                f"in {opening:.2f} s, a query {taken['template']:.1f} ms (people's means), "
                f"{taken['exemplar']:.1f} ms (nearest photo)"
            )
    print(f"the same answers: {found['HDF5'] == found['Milvus Lite']}")


if __name__ == "__main__":
    main()
