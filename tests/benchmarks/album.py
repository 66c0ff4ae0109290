"""`facerec album group` on an album made of LFW, beside other ways of grouping.

python -m tests.benchmarks.album lfw-deepfunneled-pairs.tar FOLDER HALF [PROFILE]

3,000 of the View 2 images of every other person, those who have several first, are pasted whole
side by side, 2 to 6 people in a photo (seeded); all faces of all photos are found and embedded. The
face in the middle of each image is that person's; bystanders take part and are not scored. Limits
were chosen on half 0, image by image. FOLDER keeps vectors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerec.album.grouping import group
from facerec.album.known import NOBODY, Known
from facerec.card import ModelCard
from facerec.cleanup.linkage import cut, link
from facerec.cleanup.threshold import distance_at
from facerec.engine.engine import Engine
from facerec.faces import Floats, Frame
from facerec.imaging.archives import open_source
from facerec.imaging.decode import decode_image
from facerec.imaging.names import is_photo
from facerec.profile.loading import Profile
from tests.benchmarks import require_arguments
from tests.benchmarks.cleanup_groups import score

FACES, LARGEST, SIDE = 3000, 6, 250
Rows = np.ndarray
DEEPFACE = (0.07, 0.68)
"""deepface's cosine distances for one person: of dlib's network, and of ArcFace."""
IMMICH = (0.5, 0.6, 0.7)
"""Immich's cosine distance for ArcFace's networks, its default first."""


class Album(NamedTuple):
    """All faces of an album; `truth` is -1 for a bystander."""

    card: ModelCard
    vectors: Floats
    photos: Rows
    truth: Rows


def choose(names: list[str], half: int, seed: int = 0) -> list[list[str]]:
    """Images by photo: nobody twice in one."""
    owner = [Path(name).parent.name for name in names]
    people = sorted(set(owner))[half::2]
    of = {person: [name for name, one in zip(names, owner, strict=True) if one == person]
          for person in people}  # fmt: skip
    dice = np.random.default_rng(seed)
    several = [name for images in of.values() if len(images) > 1 for name in images]
    alone = [images[0] for images in of.values() if len(images) == 1]
    chosen = (several + [alone[n] for n in dice.permutation(len(alone))])[:FACES]
    left = [chosen[n] for n in dice.permutation(len(chosen))]
    photos = []
    while left:
        size, shown = int(dice.integers(2, LARGEST + 1)), {}
        for name in left:
            shown.setdefault(Path(name).parent.name, name)
            if len(shown) == size:
                break
        photos.append(list(shown.values()))
        left = [name for name in left if name not in set(shown.values())]
    return photos


def compose(archive: Path, photos: list[list[str]]) -> Iterator[Frame]:
    """The photos' pictures."""
    source = open_source(archive)
    for number, images in enumerate(photos):
        parts = [decode_image(source.read(name), name, 10**7) for name in images]
        yield Frame(str(number), np.concatenate(parts, axis=1))


def embed(archive: Path, half: int, profile: str) -> Album:
    """Find and embed the faces of all photos."""
    source = open_source(archive)
    names = sorted(name for name in source.names() if is_photo(name, source.read))
    photos = choose(names, half)
    people = {person: n for n, person in enumerate(sorted({Path(name).parent.name
                                                            for name in names}))}  # fmt: skip
    engine = Engine.from_profile(profile)
    vectors, own, truth = [], [], []
    for frame, faces in engine.faces(compose(archive, photos)):
        images = photos[int(frame.source)]
        middle: dict[int, tuple[float, int]] = {}
        for face in faces:
            x, y = (face.box[:2] + face.box[2:]) / 2
            tile = int(np.clip(x // SIDE, 0, len(images) - 1))
            off = float(np.hypot(x - (tile + 0.5) * SIDE, y - SIDE / 2))
            if off < SIDE / 4 and off < middle.get(tile, (SIDE, 0))[0]:
                middle[tile] = off, len(vectors)
            vectors.append(face.embedding)
            own.append(int(frame.source))
            truth.append(-1)
        for tile, (_, row) in middle.items():
            truth[row] = people[Path(images[tile]).parent.name]
    return Album(engine.card, np.stack(vectors), np.array(own), np.array(truth))


def load(archive: Path, folder: Path, half: int, profile: str) -> Album:
    """`embed`, or what it gave before."""
    kept = folder / f"album-{half}-{Path(profile).stem}.npz"
    if not kept.exists():
        made = embed(archive, half, profile)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(kept, card=made.card.to_json(), vectors=made.vectors, photos=made.photos,
                 truth=made.truth)  # fmt: skip
    seen = np.load(kept)
    card = ModelCard.from_json(str(seen["card"]), kept)
    return Album(card, seen["vectors"], seen["photos"], seen["truth"])


def scores(album: Album, found: Rows) -> str:
    """Of the faces that are not bystanders; each face with nobody is a group of its own."""
    alone = found < 0
    found = np.where(alone, found.max() + 1 + np.arange(len(found)), found)
    rows = album.truth >= 0
    got = score(*(np.unique(one[rows], return_inverse=True)[1] for one in (album.truth, found)))
    return "  ".join(f"{name} {value:.3f}" for name, value in got.items())


def grouped(album: Album, photos: Rows) -> tuple[Rows, float]:
    """By `facerec album group`."""
    found = group(album.vectors, Known.of(photos), album.card, 0)
    return found.person, found.threshold


def beside_the_likest(album: Album) -> Album:
    """The faces of the people who have several, each beside one of whom they resemble most, as
    siblings are in a family's photos."""
    rows = np.flatnonzero(album.truth >= 0)
    people, number, sizes = np.unique(album.truth[rows], return_inverse=True, return_counts=True)
    sums = np.zeros((len(people), album.vectors.shape[1]), np.float32)
    np.add.at(sums, number, album.vectors[rows])
    means = sums / sizes[:, None]
    likeness = means @ means.T
    likeness[:, sizes < 2] = likeness[sizes < 2] = -1
    np.fill_diagonal(likeness, -1)
    photos, left = np.arange(len(rows)), sizes > 1
    for one in np.argsort(-likeness.max(1)):
        if not left[one]:
            continue
        left[one] = False
        other = int(np.where(left, likeness[one], -1).argmax())
        if left[other]:
            left[other] = False
            pairs = zip(
                np.flatnonzero(number == one), np.flatnonzero(number == other), strict=False
            )
            for mine, theirs in pairs:
                photos[theirs] = photos[mine]
    several = sizes[number] > 1
    return Album(album.card, album.vectors[rows][several], photos[several], number[several])


def piled(album: Album) -> Rows | None:
    """By `facerec cleanup --unlabelled` on the central faces; None without a calibration."""
    distance = distance_at(album.card, Profile().cleanup.group_far, "cosine")
    if distance is None:
        return None
    rows = np.flatnonzero(album.truth >= 0)
    found = np.full(len(album.truth), NOBODY)
    found[rows] = cut(link(album.vectors[rows], "cosine", "average"), distance)
    return found


def in_twos(vectors: Floats, distance: float) -> Rows:
    """scikit-learn's DBSCAN (Ester et al. 1996) on cosine distance, two faces making a group."""
    from sklearn.cluster import DBSCAN

    return DBSCAN(eps=distance, min_samples=2, metric="cosine").fit_predict(vectors)


def immich(vectors: Floats, distance: float, least: int = 3) -> Rows:
    """Immich's facial recognition: a face with `least` faces within the distance, itself among
    them, joins the person of the nearest that has one, or begins one; the others come last, and
    begin none."""
    cosines = vectors @ vectors.T
    person = np.full(len(vectors), NOBODY)
    near = cosines >= 1 - distance
    core = near.sum(1) >= least
    people = 0
    for rows in (np.flatnonzero(core), np.flatnonzero(~core)):
        for row in rows:
            known = np.flatnonzero(near[row] & (person >= 0))
            if len(known):
                person[row] = person[known[cosines[row, known].argmax()]]
            elif core[row]:
                person[row] = people
                people += 1
    return person


def best(album: Album, way, distances: Rows) -> tuple[str, float]:
    """The scores at the distance that suits these very people best."""
    rows = album.truth >= 0

    def quality(distance: float) -> float:
        found = way(album.vectors, distance)
        alone = np.where(found < 0, found.max() + 1 + np.arange(len(found)), found)
        got = score(*(np.unique(one[rows], return_inverse=True)[1]
                      for one in (album.truth, alone)))  # fmt: skip
        return got["pairs F1"] + got["BCubed F1"]

    distance = float(max(distances, key=quality))
    return scores(album, way(album.vectors, distance)), distance


def main(archive: Path, folder: Path, half: int, profile: str = "default") -> None:
    album = load(archive, folder, half, profile)
    known = album.truth >= 0
    print(f"half {half}, {album.card.name}: {len(known)} faces, {known.sum()} of "
          f"{len(set(album.truth[known]))} people, in {len(set(album.photos))} photos")  # fmt: skip
    for title, photos in (
        ("album group", album.photos),
        ("without the same-photo rule", np.arange(len(album.photos))),
    ):
        found, threshold = grouped(album, photos)
        print(f"  {title:32} {threshold:.4f}  {scores(album, found)}")
    likest = beside_the_likest(album)
    for title, photos in (
        ("beside the likest", likest.photos),
        ("the same, without the rule", np.arange(len(likest.photos))),
    ):
        found, threshold = grouped(likest, photos)
        print(f"  {title:32} {threshold:.4f}  {scores(likest, found)}")
    found = piled(album)
    if found is not None:
        print(f"  {'cleanup --unlabelled':40} {scores(album, found)}")
    own = 1 - float(np.quantile(album.vectors[::7] @ album.vectors[::5].T, 0.9))
    steps = np.linspace(0.2, 1, 41) * own
    for title, way, distances in (
        ("DBSCAN at deepface's threshold", in_twos, DEEPFACE),
        ("Immich's way", immich, IMMICH),
    ):
        for distance in distances:
            print(f"  {title:32} {distance:.4f}  {scores(album, way(album.vectors, distance))}")
    for title, way in (("DBSCAN", in_twos), ("Immich's way", immich)):
        told, distance = best(album, way, steps)
        print(f"  {title + ', at its best':32} {distance:.4f}  {told}")


if __name__ == "__main__":
    require_arguments(__doc__, 3)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
