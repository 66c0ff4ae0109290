"""A cleanup of synthetic 512-d embeddings, 50 images per identity, 2 % in a wrong folder: findings,
placements, manifest and report, everything but the images themselves.

python -m tests.benchmarks.cleanup_scale 10000 100000 1000000
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from facerec.cleanup.photos import Facts, Photos
from tests.benchmarks import require_arguments

PER_PERSON, SIZE, WRONG = 50, 512, 0.02


def make_photos(count: int) -> tuple[Photos, int]:
    """Photos without files, and how many are in a wrong folder."""
    dice = np.random.default_rng(0)
    people = count // PER_PERSON
    person = np.repeat(np.arange(people), PER_PERSON)
    truth = person.copy()
    wrong = dice.choice(count, int(WRONG * count), False)
    truth[wrong] = (truth[wrong] + dice.integers(1, people, len(wrong))) % people
    centres = dice.normal(size=(people, SIZE)).astype(np.float32)
    vectors = centres[truth]
    for rows in np.array_split(np.arange(count), max(1, count // 50_000)):
        vectors[rows] += dice.standard_normal((len(rows), SIZE), np.float32)
        vectors[rows] /= np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    names = np.array([f"{p}/{n}.jpg" for n, p in enumerate(person)], object)
    hashes = np.array([f"{n:x}" for n in range(count)], object)
    looks = dice.integers(1, 1 << 63, count).tolist()
    facts = [Facts(1, 250, 250, 120.0, 0.1, 100.0, look) for look in looks]
    return Photos(names, names, person, [str(p) for p in range(people)], hashes, vectors, facts), (
        len(wrong)
    )


def measure(count: int) -> str:
    from facerec.cleanup.examine import examine
    from facerec.cleanup.findings import Kind, write_findings
    from facerec.cleanup.page import write_page
    from facerec.cleanup.plan import plan
    from facerec.cleanup.survey import SURVEY, open_survey
    from facerec.cleanup.trees import MANIFEST, prepare
    from facerec.parallel.products import single_threaded_blas
    from facerec.profile.loading import Profile

    photos, planted = make_photos(count)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder)
        open_survey(report / SURVEY, "").close()
        started = time.perf_counter()
        with single_threaded_blas():
            findings = examine(photos, Profile().cleanup, 0.7)
        placements = plan(photos.images(), findings, {})
        prepare(report / "clean", report / "dirt", "copy", placements).write(report / MANIFEST)
        write_findings(report, findings)
        write_page(report, photos, findings)
        seconds = time.perf_counter() - started
    wrong = sum(finding.kind is Kind.WRONG_PERSON for finding in findings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{count:>9,} images {seconds:7.1f} s {peak:7.0f} MiB, {wrong} of {planted} found"


if __name__ == "__main__":
    require_arguments(__doc__, 1)
    for argument in sys.argv[1:]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (int(argument),)), flush=True)
