"""Swapped images and strangers planted among LFW's people, and how well a cleanup tells them.

python -m tests.benchmarks.cleanup_strangers lfw-deepfunneled-pairs.tar [MODEL CARD.yaml]

The people with at least 8 images are divided into two halves, and so are the strangers, people of
whom there are one or two: limits may be chosen on one half and must hold on the other. 10 % of the
images are moved to another folder, and as many strangers' are added; then each alone. Beside it,
three people of 8 images each with four strangers in each folder. Doubtful images are looked at
again as `facerec cleanup` does, from the same cache.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from facerec.card import ModelCard
from facerec.cleanup.examine import examine
from facerec.cleanup.photos import Facts, Photos
from facerec.cleanup.threshold import choose_threshold, same_person_cosine
from facerec.engine.engine import Engine
from facerec.evaluation.run import Setting, embed_set
from facerec.faces import Floats
from facerec.imaging.archives import open_source
from facerec.imaging.names import is_photo
from facerec.parallel.products import single_threaded_blas
from facerec.profile.loading import Profile
from tests.benchmarks import require_arguments

LEAST, RARE = 8, 2
Home = dict[int, str]
"""The folder of each image."""
Look = Callable[[list[int]], Floats]
"""A second look at images, by their numbers."""


def embed(archive: Path, profile: Profile) -> tuple[ModelCard, list[str], Floats]:
    """The card, the names `Person/file` and the vectors of all images, cached as by `evaluate`."""
    engine, source = Engine.from_profile(profile), open_source(archive)
    names = sorted(name for name in source.names() if is_photo(name, source.read))
    setting = Setting(profile, aligned=False, use_cache=True, fail_on_missing=False)
    files = {name: name for name in names}
    vectors = embed_set(engine, source, names, files, setting, lambda: None).vectors
    found = ~np.isnan(vectors[:, 0])
    kept = [name for name, there in zip(names, found, strict=True) if there]
    return engine.card, kept, vectors[found]


def views_of(archive: Path, profile: Profile, names: list[str]) -> Look:
    """The second look: mean vectors of several views of some of the images, cached as `embed`'s."""
    model = profile.model.model_copy(update={"augment": "views"})
    profile = profile.model_copy(update={"model": model})
    engine, source = Engine.from_profile(profile), open_source(archive)
    setting = Setting(profile, aligned=False, use_cache=True, fail_on_missing=False)

    def look(rows: list[int]) -> Floats:
        chosen = [names[row] for row in rows]
        files = {name: name for name in chosen}
        return embed_set(engine, source, chosen, files, setting, lambda: None).vectors

    return look


def halves(names: list[str], half: int) -> tuple[dict[str, list[int]], list[int]]:
    """Images of the people of a half, and one image of each of its strangers."""
    of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        of[Path(name).parent.name].append(row)
    people = [person for person in sorted(of) if len(of[person]) >= LEAST][half::2]
    strangers = [of[person][0] for person in sorted(of) if len(of[person]) <= RARE][half::2]
    return {person: of[person] for person in people}, strangers


def plant(
    people: dict[str, list[int]], strangers: list[int], seed: int, swaps: float, strange: float
) -> tuple[Home, set[int], set[int]]:
    """Folders with noise, the swapped images, and the strangers."""
    dice = np.random.default_rng(seed)
    home = {row: person for person, rows in people.items() for row in rows}
    every, folders = sorted(home), sorted(people)
    swapped = {int(row) for row in dice.choice(every, int(swaps * len(every)), replace=False)}
    for row in sorted(swapped):
        others = [person for person in folders if person != home[row]]
        home[row] = others[dice.integers(len(others))]
    count = min(int(strange * len(every)), len(strangers))
    added = {int(row) for row in dice.choice(strangers, count, replace=False)}
    home |= {row: folders[dice.integers(len(folders))] for row in sorted(added)}
    return home, swapped, added


def few(
    people: dict[str, list[int]], strangers: list[int], seed: int
) -> tuple[Home, set[int], set[int]]:
    """Three people of `LEAST` images, four strangers in each folder."""
    dice = np.random.default_rng(seed)
    chosen = [sorted(people)[number] for number in dice.choice(len(people), 3, replace=False)]
    home = {row: person for person in chosen for row in people[person][:LEAST]}
    added = sorted(int(row) for row in dice.choice(strangers, 12, replace=False))
    home |= {row: chosen[number // 4] for number, row in enumerate(added)}
    return home, set(), set(added)


def found(home: Home, vectors: Floats, card: ModelCard, look: Look) -> tuple[set[int], set[int]]:
    """Images called another person's, and outliers, by a cleanup's defaults."""
    order = sorted(home, key=lambda row: (home[row], row))
    folders = sorted(set(home.values()))
    files = np.array([f"{home[row]}/{row}.jpg" for row in order], object)
    facts = [Facts(1, 250, 250, 100.0, 0.0, 100.0, 7919 * row) for row in order]
    photos = Photos(
        files, files, np.array([folders.index(home[row]) for row in order]), folders,
        np.array([f"{row:06}" for row in order], object), vectors[order], facts,
    )  # fmt: skip
    section = Profile().cleanup
    threshold = choose_threshold(photos, card, section.metric).threshold
    findings = examine(
        photos, section, threshold, same_person=same_person_cosine(card),
        again=lambda rows: look([order[row] for row in rows]),
    )  # fmt: skip

    def rows(kind: str) -> set[int]:
        return {int(Path(file).stem) for finding in findings if finding.kind.value == kind
                for file in finding.files}  # fmt: skip

    return rows("wrong-person"), rows("outlier")


def f1(told: set[int], planted: set[int]) -> float:
    return 2 * len(told & planted) / max(len(told) + len(planted), 1)


def measure(
    names: list[str], vectors: Floats, card: ModelCard, look: Look, half: int, seeds: int
) -> Iterator[tuple[str, list[float]]]:
    """Each kind of planting with its F1 by seed."""
    people, strangers = halves(names, half)
    plantings = {"both": (0.1, 0.1), "alone": (0.1, 0.0), "strangers alone": (0.0, 0.1)}
    for title, shares in plantings.items():
        outcomes = []
        for seed in range(seeds):
            home, swapped, added = plant(people, strangers, seed, *shares)
            wrong, outliers = found(home, vectors, card, look)
            outcomes.append((f1(wrong, swapped), f1(outliers, added)))
        if shares[0]:
            yield f"swaps, {title}", [swaps for swaps, _ in outcomes]
        if shares[1]:
            yield title if not shares[0] else f"strangers, {title}", [it for _, it in outcomes]


def main() -> None:
    archive, model = Path(sys.argv[1]), sys.argv[2:]
    flags = dict(zip(("model.name", "model.card"), model, strict=False))
    profile = Profile.load(flags=flags)
    card, names, vectors = embed(archive, profile)
    look = views_of(archive, profile, names)
    with single_threaded_blas():
        for half in (0, 1):
            for title, scores in measure(names, vectors, card, look, half, 5):
                listed = " ".join(f"{score:.3f}" for score in scores)
                print(f"half {half}  {title:18} mean {np.mean(scores):.3f}  by seed {listed}")
            people, strangers = halves(names, half)
            outcomes: Counter[tuple[int, int, int]] = Counter()
            for seed in range(12):
                home, _, added = few(people, strangers, seed)
                wrong, outliers = found(home, vectors, card, look)
                outcomes[len(outliers & added), len(outliers - added), len(wrong)] += 1
            print(f"half {half}  three people: (strangers out, others out, named) {outcomes}")


if __name__ == "__main__":
    require_arguments(__doc__, 1)
    main()
