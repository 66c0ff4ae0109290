"""Folders beyond the exact limit, and blocks shared out over processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from facerec.cleanup import neighbours
from facerec.cleanup.examine import PASSES, examine
from facerec.cleanup.findings import Kind
from facerec.cleanup.graph_linkage import link_neighbours
from facerec.cleanup.linkage import cut, link
from facerec.cleanup.neighbours import neighbour_pairs
from facerec.cleanup.survey import open_survey, path_reader, survey
from facerec.errors import UsageError
from facerec.parallel import ranks
from facerec.parallel.products import products, single_threaded_blas
from facerec.parallel.ranks import map_sharded
from facerec.profile.loading import Profile
from facerec.profile.schema import RuntimeSection
from tests.cleanup_data import make_photos, noise_vectors, outputs, person, snapshot

pytestmark = pytest.mark.numeric


def people(dice: np.random.Generator, sizes: list[int]) -> np.ndarray:
    return np.concatenate([person(dice, size) for size in sizes])


def test_on_a_neighbour_graph_the_clusters_are_the_exact_ones():
    dice = np.random.default_rng(0)
    vectors = np.concatenate([people(dice, [120, 90, 40, 40, 7, 3]), noise_vectors(dice, 30)])
    vectors = np.concatenate([vectors, vectors[:5]])  # copies are at distance 0 of each other
    exact = link(vectors, "cosine", "average")
    graph = link_neighbours(vectors, "cosine")
    for threshold in (0.2, 0.4, 0.6, 0.7):
        assert adjusted_rand_score(cut(exact, threshold), cut(graph, threshold)) == 1
    assert graph[-1, 3] == len(vectors)
    assert (np.diff(graph[:, 2]) >= 0).all()


def test_order_does_not_decide_on_a_neighbour_graph():
    dice = np.random.default_rng(1)
    vectors = np.concatenate([people(dice, [30, 30, 30]), noise_vectors(dice, 20)])
    order = dice.permutation(len(vectors))
    one = cut(link_neighbours(vectors, "euclidean"), 0.8)
    two = cut(link_neighbours(vectors[order], "euclidean"), 0.8)
    assert adjusted_rand_score(one[order], two) == 1


@pytest.mark.parametrize("library", ["numpy", "faiss"])
def test_neighbours_are_found_in_blocks(library, monkeypatch):
    if library == "faiss" and find_spec("faiss") is None:
        pytest.skip("faiss is not installed")
    monkeypatch.setattr(neighbours, "_CELLS", 4000)
    monkeypatch.setattr(neighbours, "_FAISS_BLOCK", 100)
    monkeypatch.setattr(neighbours, "_IVF_FROM", 1 if library == "faiss" else 10**9)
    vectors = people(np.random.default_rng(2), [40] * 20)
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    exact = {
        (min(row, other), max(row, other))
        for row, near in enumerate(np.argsort(-cosines, axis=1)[:, :5].tolist())
        for other in near
    }
    found = set(map(tuple, neighbour_pairs(vectors, 5).tolist()))
    assert all(one < two for one, two in found)
    assert len(found & exact) >= (1 if library == "numpy" else 0.97) * len(exact)
    assert len(found) <= 1.03 * len(exact)


def test_beyond_the_exact_limit_the_findings_are_the_same():
    dice = np.random.default_rng(3)
    photos = make_photos(np.concatenate([people(dice, [60, 2]), people(dice, [50])]), [62, 50])
    section = Profile().cleanup
    few = section.model_copy(update={"exact_limit": 40})
    exact = [(found.kind, found.files) for found in examine(photos, section, 0.7)]
    assert (Kind.OUTLIER, ["0/60.jpg"]) in exact
    assert [(found.kind, found.files) for found in examine(photos, few, 0.7)] == exact
    with pytest.raises(UsageError, match="too many for single linkage"):
        examine(photos, few.model_copy(update={"linkage": "single"}), 0.7)


def test_what_is_seen_of_an_image_does_not_depend_on_those_beside_it(dirty, engine, tmp_path):
    def look(name: str, count: int) -> dict[str, bytes]:
        photos = sorted(dirty.rglob("*.png"))[-count:]
        with open_survey(tmp_path / name, "test") as store:
            read = path_reader(RuntimeSection(), store)
            found = survey(
                photos, read, engine, RuntimeSection(), store, aligned=False,
                observe=lambda _: None,
            )  # fmt: skip
        return {sha256: vector.tobytes() for sha256, vector, _ in found if vector is not None}

    together = look("all.sqlite", 100)
    assert len(together) == 6
    for count in (1, 2, 3):
        alone = look(f"{count}.sqlite", count)
        assert len(alone) == count
        assert alone.items() <= together.items()


def test_products_do_not_depend_on_the_number_of_threads():
    dice = np.random.default_rng(4)
    one, other = (noise_vectors(dice, count, size=128) for count in (515, 1501))
    seen = set()
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"), single_threaded_blas():
            found = products(one, other)
        np.testing.assert_allclose(found, one @ other.T, atol=1e-6)
        seen.add(found.tobytes())
    assert len(seen) == 1


def test_what_a_block_shares_out_its_process_does_by_itself(monkeypatch):
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    monkeypatch.setattr(ranks, "gather_shards", lambda own, count: own)
    found = map_sharded([1, 2, 3, 4], lambda block: map_sharded([1, 10], lambda part: block * part))
    assert found == [[2, 20], [4, 40]]


@pytest.mark.parametrize("limit", [20_000, 20])
def test_comparing_tells_how_far_it_is(limit):
    dice = np.random.default_rng(3)
    sizes = [30, 25, 8, 1]
    vectors = np.concatenate([person(dice, size) for size in sizes])
    section = Profile().cleanup.model_copy(update={"exact_limit": limit})
    steps = []
    examine(make_photos(vectors, sizes), section, 0.7, steps.append)
    assert sum(steps) == PASSES * len(vectors)
    assert max(steps) <= PASSES * len(vectors) / 2


def test_two_processes_find_what_one_finds(run, dirty, tmp_path):
    arguments = ["cleanup", dirty, "--exclude", dirty / "grace_hopper/0.png", "--json"]
    code, alone, _ = run(*arguments, *outputs(tmp_path / "one"))
    assert code == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               "-m", "facerec", *arguments, *outputs(tmp_path / "two")]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    findings = [
        sorted((json.loads(line) for line in out.splitlines()), key=lambda found: found["id"])
        for out in (alone, done.stdout)
    ]
    assert findings[0] == findings[1]
    for tree in ("clean", "dirt"):
        assert snapshot(tmp_path / "one" / tree) == snapshot(tmp_path / "two" / tree)
