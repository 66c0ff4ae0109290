"""How well a cohort of some of LFW's people holds for the others: FPIR and calibration error.

Fits on the people of folds 1-5 and measures on those of folds 6-10, whom the fit never saw, and
the other way round. Galleries are drawn at random; a stranger is anybody else. Vectors come from
`facerec evaluate lfw`'s cache.

python -m tests.benchmarks.open_set LFW.tar pairs.txt [--profile default]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from facerec import Engine
from facerec.card import Cohort
from facerec.evaluation.cohort import measure_cohort
from facerec.evaluation.folds import pair_similarities
from facerec.evaluation.protocols.pairs import open_protocol
from facerec.evaluation.reliability import calibration_error
from facerec.evaluation.run import Setting, embed_set
from facerec.faces import Floats
from facerec.gallery.certainty import Certainty
from facerec.imaging.archives import locate
from facerec.profile.loading import Profile

SIZES, RATES, DRAWS = (10, 100, 1000), (1e-2, 3e-3, 1e-3), 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("pairs")
    parser.add_argument("--profile", default="default")
    arguments = parser.parse_args()
    protocol, source = open_protocol("lfw", arguments.data, arguments.pairs)
    profile = Profile.load(arguments.profile).looking_again("turns")
    setting = Setting(profile, aligned=False, use_cache=True, fail_on_missing=False)
    files = locate(source, protocol.keys)
    engine = Engine.from_profile(profile)
    vectors = embed_set(engine, source, protocol.keys, files, setting, lambda: None).vectors
    assert protocol.people is not None
    fold_of = np.zeros(len(vectors), int)
    for column in (0, 1):
        fold_of[protocol.pairs[:, column]] = protocol.folds
    similarities = pair_similarities(vectors, protocol.pairs)
    for first in (True, False):
        fitted, shown = (fold_of < 5) == first, (fold_of < 5) != first
        people = np.array(protocol.people)
        cohort = measure_cohort(vectors[fitted], people[fitted].tolist())
        assert cohort is not None
        print(f"fitted on folds {'1-5' if first else '6-10'}, shown on the others")
        held = (protocol.folds < 5) != first
        probability = Certainty(cohort, {1: 1}).probability(similarities[held])
        error = calibration_error(probability, protocol.same[held])
        print(f"  pairs: {held.sum()}, calibration error {error:.4f}")
        albums = [np.flatnonzero(shown & (people == one)) for one in np.unique(people[shown])]
        for size in SIZES:
            _show(vectors, albums, size, cohort)


def _show(vectors: Floats, albums: Sequence[np.ndarray], size: int, cohort: Cohort) -> None:
    """FPIR at each rate with its spread over galleries, and the calibration error of the nearest
    person's probability with as many known faces as strangers, of people with two photos."""
    certainty = Certainty(cohort, {1: size})
    rates: dict[float, list[float]] = {rate: [] for rate in RATES}
    probabilities, rights = [], []
    several = [number for number, album in enumerate(albums) if len(album) > 1]
    known_people = min(size, len(several))
    of_known = Certainty(cohort, {1: known_people})
    for draw in range(DRAWS * max(1, 200 // size)):
        dice = np.random.default_rng(draw)
        enrolled = dice.choice(len(albums), size, replace=False)
        others = np.setdiff1d(np.arange(len(albums)), enrolled)
        gallery = vectors[[dice.choice(albums[number]) for number in enrolled]]
        strangers = vectors[np.concatenate([albums[number] for number in others])]
        nearest = (strangers @ gallery.T).max(axis=1)
        for rate, found in rates.items():
            found.append(float(np.mean(nearest >= certainty.threshold(rate))))
        enrolled = dice.choice(several, known_people, replace=False)
        drawn = np.array([dice.permutation(albums[number])[:2] for number in enrolled])
        others = dice.permutation(np.setdiff1d(np.arange(len(albums)), enrolled))[:known_people]
        asked = np.concatenate([drawn[:, 1], [dice.choice(albums[number]) for number in others]])
        cosines = vectors[asked] @ vectors[drawn[:, 0]].T
        first, second = np.sort(cosines, axis=1)[:, :-3:-1].T
        probabilities.append(of_known.probability(first, second))
        known = np.concatenate([np.arange(known_people), np.full(len(others), -1)])
        rights.append(cosines.argmax(axis=1) == known)
    told = "".join(
        f"; {rate:g}: {np.mean(found):.5f} (x{np.mean(found) / rate:.2f}, galleries "
        f"{np.percentile(found, 10):.5f}-{np.percentile(found, 90):.5f})"
        for rate, found in rates.items()
    )
    error = calibration_error(np.concatenate(probabilities), np.concatenate(rights))
    print(
        f"  {size} people, FPIR asked: measured{told}; calibration error {error:.4f} "
        f"({known_people} people)"
    )


if __name__ == "__main__":
    main()
