"""`facerec cleanup --unlabelled` on LFW's View 2 images: the rate is chosen on every other person,
and measured on the rest. FOLDER keeps the vectors for the next time.

python -m tests.benchmarks.cleanup_groups lfw-deepfunneled-pairs.tar FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix

from facerec.cleanup.groups import Rows
from facerec.cleanup.photos import Photos
from facerec.cleanup.threshold import distance_at
from facerec.cleanup.unlabelled import UNKNOWN, group
from facerec.cli.cleanup_inputs import look_at_people
from facerec.profile.loading import Profile
from tests.benchmarks import require_arguments
from tests.cleanup_noise import unpack_people

RATES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def score(truth: Rows, found: Rows) -> dict[str, float]:
    """Pairwise and BCubed (Bagga and Baldwin 1998) precision, recall and F1."""
    ones = np.ones(len(truth))
    shared = coo_matrix(coo_matrix((ones, (truth, found))).tocsr())
    sizes, groups = np.bincount(truth), np.bincount(found)
    pairs = (shared.data * (shared.data - 1)).sum()
    scores = {}
    for name, precision, recall in (
        ("pairs", pairs / (groups * (groups - 1.0)).sum(), pairs / (sizes * (sizes - 1.0)).sum()),
        ("BCubed", (shared.data**2 / groups[shared.col]).sum() / len(truth),
         (shared.data**2 / sizes[shared.row]).sum() / len(truth)),
    ):  # fmt: skip
        f1 = 2 * precision * recall / (precision + recall)
        scores |= {f"{name} precision": precision, f"{name} recall": recall, f"{name} F1": f1}
    return {name: round(float(value), 3) for name, value in scores.items()}


def measure(photos: Photos, threshold: float) -> dict[str, float]:
    """Scores; each image that stays unknown is a group of its own."""
    grouped, _ = group(photos, Profile().cleanup, threshold)
    owners = [Path(path).parent.name for path in grouped.path]
    found = grouped.person.copy()
    unknown = np.flatnonzero(found == grouped.people.index(UNKNOWN))
    found[unknown] = len(grouped.people) + np.arange(len(unknown))
    return score(
        np.unique(owners, return_inverse=True)[1], np.unique(found, return_inverse=True)[1]
    )


def measure_hdbscan(photos: Photos) -> dict[str, float]:
    """The same scores of HDBSCAN (Campello et al. 2013), which needs no threshold; each image that
    it calls noise is a group of its own."""
    from sklearn.cluster import HDBSCAN

    rows = photos.embedded()
    label = HDBSCAN(min_cluster_size=2, copy=True).fit_predict(photos.vector[rows])
    found = len(rows) + np.arange(len(photos))
    found[rows[label >= 0]] = label[label >= 0]
    owners = [Path(path).parent.name for path in photos.path]
    return score(
        np.unique(owners, return_inverse=True)[1], np.unique(found, return_inverse=True)[1]
    )


def main(archive: Path, folder: Path) -> None:
    unpack_people(archive, folder / "people", 1)
    photos, card, _ = look_at_people(
        folder / "people", folder / "report", Profile(), aligned=False, pile=True
    )
    owner = np.unique([Path(path).parent.name for path in photos.path], return_inverse=True)[1]
    for half, name in enumerate(("chosen on", "measured on")):
        rows = np.flatnonzero(owner % 2 == half)
        part = photos.taken(rows, np.zeros(len(rows), np.intp), [UNKNOWN])
        print(f"{name} {len(rows)} images of {len(np.unique(owner[rows]))} people")
        for rate in RATES if half == 0 else [Profile().cleanup.group_far]:
            threshold = distance_at(card, rate, "cosine")
            print(f"  FAR {rate:.0e}, {threshold:.4f}: {measure(part, threshold)}")
        print(f"  HDBSCAN: {measure_hdbscan(part)}")


if __name__ == "__main__":
    require_arguments(__doc__, 2)
    main(*map(Path, sys.argv[1:3]))
