"""Gallery search and template features against a plain computation."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.evaluation.folds import normalised
from facerec.evaluation.identification import (
    cumulative_match,
    identify,
    open_set_point,
    search,
    search_record,
    supported_fpirs,
)
from facerec.evaluation.protocols.identification import IdentificationProtocol
from facerec.evaluation.templates import template_features


def unit(rows):
    return normalised(np.asarray(rows, dtype=np.float32))


@pytest.fixture(scope="module")
def crowd():
    generator = np.random.default_rng(0)
    people = generator.normal(size=(60, 8))
    gallery_people = generator.permutation(np.repeat(np.arange(40), 3))
    probe_people = np.repeat(np.arange(60), 5)
    gallery = unit(people[gallery_people] + generator.normal(0, 0.6, (120, 8)))
    probes = unit(people[probe_people] + generator.normal(0, 0.6, (300, 8)))
    return gallery, gallery_people, probes, probe_people


def plain_search(gallery, gallery_people, probes, probe_people):
    for probe, person in zip(probes, probe_people, strict=True):
        best = {}
        for entry, owner in zip(gallery, gallery_people, strict=True):
            best[owner] = max(best.get(owner, -2), float(entry @ probe))
        own = best.get(person)
        rank = 0 if own is None else sum(value >= own for value in best.values())
        yield rank, own, max(best.values())


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_search_agrees_with_a_plain_loop(crowd, block):
    found = search(*crowd, block=block)
    for k, (rank, own, best) in enumerate(plain_search(*crowd)):
        assert found.rank[k] == rank
        assert found.best[k] == pytest.approx(best, abs=1e-6)
        if own is not None:
            assert found.mate[k] == pytest.approx(own, abs=1e-6)


def test_cmc_rises_to_one(crowd):
    found = search(*crowd)
    cmc = cumulative_match(found)
    assert len(cmc) == 40
    assert cmc[-1] == 1
    assert cmc[4] == np.mean(found.rank[found.known] <= 5)


@pytest.mark.parametrize("fpir", [0.1, 0.01, 1.0])
def test_open_set_rates_are_the_best_within_the_allowed_false_positives(crowd, fpir):
    found = search(*crowd)
    strangers, mates = found.best[~found.known], found.mate[found.known]
    first = found.rank[found.known] == 1
    allowed = [
        t for t in np.concatenate((found.best, mates)) if np.mean(strangers >= t) <= fpir + 1e-12
    ]
    point = open_set_point(found, fpir)
    assert point.fpir <= fpir
    assert point.tpir == max(np.mean(mates >= t) for t in allowed)
    assert point.dir == max(np.mean((mates >= t) & first) for t in allowed)


def test_too_few_strangers_for_a_rate_is_an_error(crowd):
    found = search(*crowd)
    assert supported_fpirs(found) == (1e-1, 1e-2)
    with pytest.raises(UsageError, match="needs at least 1000 strangers"):
        open_set_point(found, 1e-3)


def test_probes_without_a_mate_have_no_cmc():
    found = search(unit([[1, 0]]), np.array([0]), unit([[0, 1]]), np.array([5]))
    with pytest.raises(UsageError, match="no probe shows a person of the gallery"):
        cumulative_match(found)


def test_an_equal_similarity_counts_against_the_probe():
    gallery = unit([[1, 0], [1, 0]])
    found = search(gallery, np.array([0, 1]), unit([[1, 0]]), np.array([0]))
    assert found.rank.tolist() == [2]


def test_who_has_no_vector_is_found_at_no_rank():
    vectors = np.full((40, 20), np.nan, np.float32)
    seen = [0, 1, 2, 3, 4]
    vectors[seen] = vectors[[20 + one for one in seen]] = np.eye(20, dtype=np.float32)[seen]
    people, halves = np.arange(20), np.arange(40).reshape(2, 20)
    found = identify(vectors, IdentificationProtocol((), halves[0], people, halves[1], people))
    record = search_record(found, "cosine")
    assert record["people"] == 20
    assert [record[f"rank_{k}"] for k in (1, 5, 10)] == [25.0, 25.0, 25.0]
    assert record["cmc"][-1] == 25.0
    assert found.known.all()


def test_an_empty_gallery_is_refused():
    empty = np.empty((0, 2), dtype=np.float32)
    with pytest.raises(UsageError, match="at least one gallery entry"):
        search(empty, np.empty(0, dtype=np.int64), unit([[1, 0]]), np.array([0]))


def test_each_medium_counts_once_in_a_template():
    embeddings = unit([[1, 0], [0, 1], [0, 1], [0, 1], [-1, 0]])
    names, features = template_features(
        embeddings, np.array([7, 7, 7, 7, 3]), np.array([1, 2, 2, 2, 1])
    )
    assert names.tolist() == [3, 7]
    np.testing.assert_allclose(features, unit([[-1, 0], [1, 1]]), atol=1e-6)
