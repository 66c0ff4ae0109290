"""Label noise planted in real folders, seeded, and how well a cleanup finds each kind.

python -m tests.cleanup_noise lfw-deepfunneled-pairs.tar FOLDER
"""

from __future__ import annotations

import json
import sys
import tarfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

SWAPPED, SPLIT, MERGED, COPIED = 0.10, 5, 5, 0.03


def unpack_people(archive: Path, folder: Path, least: int) -> dict[str, list[Path]]:
    """People with at least so many images in a tar file."""
    with tarfile.open(archive) as tar:
        members = defaultdict(list)
        for member in tar.getmembers():
            if member.name.endswith(".jpg"):
                members[Path(member.name).parent.name].append(member)
        people: dict[str, list[Path]] = {}
        for person, photos in sorted(members.items()):
            if len(photos) < least:
                continue
            for photo in photos:
                path = folder / person / Path(photo.name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(photo).read())
                people.setdefault(person, []).append(path)
    return people


def plant(people: dict[str, list[Path]], dirty: Path, seed: int) -> dict[str, set]:
    """Write a noisy data set; returns what was planted, by kind of finding.

    10 % of images are moved to another person, 5 people are split in two folders, 5 pairs of
    people merged, and 3 % of images repeated, smaller and compressed again.
    """
    dice = np.random.default_rng(seed)
    names = sorted(people)
    chosen = [names[n] for n in dice.permutation(len(names))]
    split, pairs = chosen[:SPLIT], chosen[SPLIT : SPLIT + 2 * MERGED]
    merged = dict(zip(pairs[::2], pairs[1::2], strict=True))
    owner: dict[Path, str] = {photo: name for name in names for photo in people[name]}
    home = dict(owner)
    for one, two in merged.items():
        home.update(dict.fromkeys(people[two], one))
    for name in split:
        photos = [people[name][n] for n in dice.permutation(len(people[name]))]
        home.update(dict.fromkeys(photos[: len(photos) // 2], f"{name}_again"))
    residents = defaultdict(set)
    for photo, folder in home.items():
        residents[folder].add(owner[photo])
    every = sorted(home)
    swapped = [every[n] for n in dice.choice(len(every), int(SWAPPED * len(every)), False)]
    for photo in swapped:
        others = [name for name in sorted(residents) if owner[photo] not in residents[name]]
        home[photo] = others[dice.integers(len(others))]
    for photo, folder in home.items():
        (dirty / folder).mkdir(parents=True, exist_ok=True)
        (dirty / folder / photo.name).write_bytes(photo.read_bytes())
    copied = set()
    for n in dice.choice(len(every), round(COPIED * len(every)), False):
        photo = every[n]
        image = cv2.imread(str(photo))
        share = dice.uniform(0.5, 0.9)
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        name = f"{home[photo]}/copy_{photo.name}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(dice.integers(50, 90))]
        cv2.imwrite(str(dirty / name), small, quality)
        copied.add(name)
    return {
        "wrong-person": {f"{home[photo]}/{photo.name}" for photo in swapped},
        "merged": set(merged),
        "split": set(split),
        "near-duplicate": copied,
    }


def found_of(findings: list[dict], planted: dict[str, set]) -> dict[str, set]:
    """What was found, in the terms of `plant`; a copy of a swapped image is swapped as well."""
    found: dict[str, set] = {kind: set() for kind in planted}
    for finding in findings:
        kind = finding["kind"]
        if kind in ("merged", "split"):
            folder = finding["files"][0].partition("/")[0]
            found[kind].add(folder.removesuffix("_again"))
        elif kind in found:
            found[kind].update(finding["files"])
    found["wrong-person"] -= planted["near-duplicate"]
    return found


def score(found: set, planted: set) -> dict[str, float]:
    """Precision, recall and F1."""
    right = len(found & planted)
    precision, recall = right / max(len(found), 1), right / max(len(planted), 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def seed_algorithm(report: Path, dirty: Path, thresholds: list[float]) -> dict[float, set]:
    """Images outside the largest cluster of their folder, by scikit-learn itself."""
    from sklearn.cluster import AgglomerativeClustering

    from facerec.cleanup.survey import SURVEY, open_survey
    from facerec.files.hashing import sha256_of

    result: dict[float, set] = {threshold: set() for threshold in thresholds}
    with open_survey(report / SURVEY) as cache:
        for folder in sorted(dirty.iterdir()):
            photos = sorted(folder.iterdir())
            known = [cache.get(sha256_of(photo))[0] for photo in photos]
            vectors = np.stack([vector for vector in known if vector is not None])
            for threshold in thresholds:
                label = AgglomerativeClustering(
                    n_clusters=None, metric="cosine", linkage="average",
                    distance_threshold=threshold,
                ).fit(vectors).labels_  # fmt: skip
                outside = np.flatnonzero(label != np.bincount(label).argmax())
                result[threshold] |= {f"{folder.name}/{photos[n].name}" for n in outside}
    return result


def measure(archive: Path, folder: Path, seed: int = 0) -> dict[str, dict]:
    """Scores by kind, and of the seed's algorithm at its default and its best threshold."""
    import subprocess

    people = unpack_people(archive, folder / "people", 8)
    dirty, report = folder / f"dirty-{seed}", folder / f"report-{seed}"
    planted = plant(people, dirty, seed)
    command = [sys.executable, "-m", "facerec", "cleanup", str(dirty), "--json"]
    for name in ("clean", "dirt", "report"):
        command += [f"--{name}", str(folder / f"{name}-{seed}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    found = found_of(findings, planted)
    scores = {kind: score(found[kind], planted[kind]) for kind in planted}
    steps = [0.7, *(round(0.04 + 0.004 * n, 3) for n in range(30))]
    swapped = planted["wrong-person"]
    by_seed = {
        threshold: score(outside - planted["near-duplicate"], swapped)
        for threshold, outside in seed_algorithm(report, dirty, steps).items()
    }
    best = max(steps, key=lambda threshold: by_seed[threshold]["f1"])
    scores["seed at 0.7"] = by_seed[0.7]
    scores[f"seed at its best, {best}"] = by_seed[best]
    return scores


if __name__ == "__main__":
    for _kind, _score in measure(*map(Path, sys.argv[1:3])).items():
        print(f"{_kind:24} {_score}")
