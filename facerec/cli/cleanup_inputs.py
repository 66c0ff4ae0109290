"""Inputs of a cleanup: folders by person, unlabelled photos, a gallery, evaluation sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerec.card import ModelCard
from facerec.cleanup.groups import Rows
from facerec.cleanup.label_noise import Again
from facerec.cleanup.photos import UNREADABLE, Photos, collect
from facerec.cleanup.survey import (
    SURVEY,
    Observe,
    open_survey,
    path_reader,
    source_reader,
    survey,
    survey_known,
)
from facerec.cleanup.unlabelled import UNKNOWN
from facerec.cli.console import progress, say
from facerec.cli.loading import load_engine
from facerec.engine.engine import Engine
from facerec.errors import InputError, NoCardError, UsageError
from facerec.faces import Face, Floats
from facerec.files.output_names import safe_name
from facerec.files.text import counted
from facerec.files.writing import is_stream
from facerec.gallery import Gallery
from facerec.imaging.archives import Source, open_source, photo_names
from facerec.imaging.folders import FolderSource, start_of
from facerec.imaging.labels import Owners
from facerec.imaging.names import is_photo
from facerec.imaging.photos import Photo, is_file
from facerec.imaging.sources import find_photos, list_people
from facerec.parallel.ranks import rank, shard
from facerec.profile.loading import Profile

Item = tuple[str, str, str]
"""Person, path, and place in a tree of folders by person."""


def look_at_people(
    dirty: Path, report: Path, profile: Profile, *, aligned: bool, pile: bool,
    wanted: str | None = None,
) -> tuple[Photos, ModelCard, int]:  # fmt: skip
    """Embed every image of a folder or a gallery; an interrupted run is resumed.

    Args:
        report: where what was seen is kept.
        pile: the images are nobody's yet.
        wanted: a person who must be there; of a pile nobody is known yet.

    Returns:
        the photos, the card of their vectors, and how many folders and links could not be followed,
        which are told.

    Raises:
        UsageError: `dirty` is neither, `pile` is asked of a gallery, or `wanted` is not there.
        InputError: no images are there.
    """
    if _is_gallery(dirty):
        if pile:
            raise UsageError(
                f"{dirty}: a gallery's images have people; --unlabelled needs a folder"
            )
        items, known = _list_gallery(dirty, profile)
        _require(items, [], dirty, wanted)
        with (
            open_survey(report / SURVEY, f"gallery {known.card.fingerprint()}") as cache,
            _looking(items) as observe,
        ):
            found = survey_known(
                [Path(path) for _, path, _ in items], known.faces, known.card, profile.runtime,
                cache, observe,
            )  # fmt: skip
        return collect(items, found, known.card.embedding_size), known.card, 0
    if pile:
        listed = ((UNKNOWN, photo) for photo in find_photos([_folder(dirty)]))
        items, problems = _list_files(listed, f"{UNKNOWN}/")
    else:
        items, problems = _list_folder(dirty, profile.data.person_level)
    _require(items, problems, dirty, None if pile else wanted)
    engine = load_engine(profile)
    with (
        open_survey(report / SURVEY, _origin(engine, profile, aligned)) as cache,
        _looking(items) as observe,
    ):
        found = survey(
            [Path(path) for _, path, _ in items], path_reader(profile.runtime, cache), engine,
            profile.runtime, cache, aligned=aligned, observe=observe,
        )  # fmt: skip
    by_file = profile.data.person_level == "file" and not pile
    photos = collect(items, found, engine.card.embedding_size, by_file=by_file)
    return photos, engine.card, len(problems)


def look_at_excluded(
    paths: Sequence[Path], card: ModelCard, report: Path, profile: Profile, *, aligned: bool
) -> tuple[list[Photos], int]:
    """Embed every image of some evaluation sets, as `look_at_people` does.

    Args:
        card: of the model that embedded the people.

    Returns:
        the photos of each, and how many images, folders and links could not be read.

    Raises:
        MissingError: a set is absent.
        IncompatibleError: the people were embedded by another model than the profile's.
        UsageError: a path is no folder, archive or image.
        InputError: a set has no images.
    """
    sources = [_open_excluded(path) for path in paths]
    engine = load_engine(profile)
    engine.card.require_same_model(card, "the gallery")
    seen, failures = [], 0
    with open_survey(report / "excluded.sqlite", _origin(engine, profile, aligned)) as cache:
        for source, keys, problems in sources:
            _tell(problems)
            owner = Owners(source, keys, profile.data.person_level).owner
            items = [_excluded_item(source, key, owner(key)) for key in keys]
            with _looking(items) as observe:
                found = survey(
                    keys, source_reader(source, profile.runtime, cache), engine, profile.runtime,
                    cache, aligned=aligned, observe=observe,
                )  # fmt: skip
            seen.append(collect(items, found, card.embedding_size))
            failures += len(problems) + sum(facts.faces == UNREADABLE for _, _, facts in found)
    return seen, failures


def second_look(
    dirty: Path, photos: Photos, card: ModelCard, report: Path, profile: Profile, *, aligned: bool
) -> Again | None:
    """How doubtful photos of folders are embedded anew, as the mean of several views of the face.

    Args:
        card: of the photos' vectors.
        report: where what was seen is kept.

    Returns:
        None for a gallery, whose photos may be gone, and for vectors that are means already.
    """
    if _is_gallery(dirty) or card.augment != "none":
        return None
    model = profile.model.model_copy(update={"augment": "views", "fused_card": None})
    several = profile.model_copy(update={"model": model})

    def look(rows: Rows) -> Floats:
        vectors = np.full((len(rows), card.embedding_size), np.nan, np.float32)
        items = [("", str(photos.path[row]), str(photos.file[row])) for row in rows]
        if rank() == 0:
            doubtful = counted(len(items), "doubtful image")
            say(f"{dirty}: looking again at {doubtful}, in several views")
        engine = load_engine(several)
        with (
            open_survey(report / "views.sqlite", _origin(engine, several, aligned)) as cache,
            _looking(items) as observe,
        ):
            found = survey(
                [Path(path) for _, path, _ in items], path_reader(several.runtime, cache), engine,
                several.runtime, cache, aligned=aligned, observe=observe,
            )  # fmt: skip
        for place, (_, vector, _) in enumerate(found):
            if vector is not None:
                vectors[place] = vector
        return vectors

    return look


def _origin(engine: Engine, profile: Profile, aligned: bool) -> str:
    template = profile.alignment.template
    how = (
        f"aligned {template}".removesuffix(" auto")
        if aligned
        else profile.detector.model_dump_json()
    )
    return f"{engine.card.fingerprint()} {how}"


@contextmanager
def _looking(items: Sequence[Item]) -> Iterator[Observe]:
    with progress("looking", len(shard(items))) as advance:

        def observe(problem: str) -> None:
            advance()
            if problem:
                advance.say(problem)

        yield observe


def _require(
    items: Sequence[Item], problems: Sequence[str], dirty: Path, wanted: str | None
) -> None:
    """Tell the problems, and check that there is something to look at.

    Raises:
        UsageError: `wanted` is no person there.
        InputError: there are no images.
    """
    # A folder that is empty or cannot be listed is found in itself.
    _tell([problem for problem in problems if not problem.startswith(f"{dirty}: ")])
    if not items:
        raise InputError(f"{dirty}: no images there")
    if wanted is not None and wanted not in {person for person, _, _ in items}:
        raise UsageError(f"--plot {wanted}: no such person here")


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Faces of a gallery, an item each, and the card of the model that embedded them."""

    card: ModelCard
    faces: list[Face]


def _is_gallery(path: Path) -> bool:
    """Whether a path names a gallery's file, not a folder."""
    return path.is_file() and path.suffix.lower() in {".h5", ".hdf5"}


def _tell(problems: Sequence[str]) -> None:
    if rank() == 0:
        for problem in problems:
            say(problem)


def _list_folder(dirty: Path, level: str) -> tuple[list[Item], list[str]]:
    """The images in a folder of folders by person, and problems, as of `_list_files`.

    Raises:
        UsageError: it is no folder.
    """
    return _list_files(list_people([_folder(dirty)], level=level))


def _list_files(
    photos: Iterable[tuple[str, Photo]], folder: str = ""
) -> tuple[list[Item], list[str]]:
    """The images in files, and what is wrong with the folders and links that lead to none.

    Named pipes and devices are passed over.

    Args:
        photos: with their people.
        folder: where the images lie in the tree.
    """
    items, problems = [], []
    for person, photo in photos:
        if photo.path is None or is_file(photo.path):
            items.append((person, photo.name, f"{folder}{photo.key}"))
        elif not is_stream(photo.path):
            try:
                photo.read()
            except InputError as error:
                problems.append(str(error))
    return items, problems


def _folder(dirty: Path) -> str:
    if not dirty.is_dir():
        raise UsageError(f"{dirty}: neither a folder nor a gallery (.h5)")
    return str(dirty)


def _list_gallery(path: Path, profile: Profile) -> tuple[list[Item], _Known]:
    """The images of a gallery; of a photo with several faces, the surest.

    One of the seed's layouts was made with the profile's model.
    """
    try:
        gallery = Gallery.open(path)
    except NoCardError:
        gallery = Gallery.open(path, assume=load_engine(profile).card)
    rows, people = gallery.entries, gallery.people
    best: dict[tuple[int, str], int] = {}
    for row in range(len(rows)):
        key = (int(rows.person[row]), str(rows.source[row]))
        if key not in best or rows.score[row] > rows.score[best[key]]:
            best[key] = row
    items, faces, taken = [], [], set()
    for (person, source), row in best.items():
        # A gallery may hold any name; the images are placed below a folder.
        folder = safe_name(people[person])
        name, number = Path(source).name, 2
        while (file := f"{folder}/{safe_name(name)}").casefold() in taken:
            name, number = f"{Path(source).stem}-{number}{Path(source).suffix}", number + 1
        taken.add(file.casefold())
        items.append((people[person], str(path.parent / source), file))
        faces.append(
            Face(rows.box[row], float(rows.score[row]), rows.landmarks[row], rows.embeddings[row])
        )
    return items, _Known(gallery.card, faces)


def _open_excluded(path: Path) -> tuple[Source, list[str], list[str]]:
    """An evaluation set (a folder, a tar, a zip or one image), its images, and what is wrong with
    the folders and links that lead to none.

    Raises:
        MissingError: there is nothing.
        UsageError: it is none of these.
        InputError: no images are there.
    """
    if path.is_file() and is_photo(path.name, lambda _: start_of(path)):
        return FolderSource(path.parent), [path.name], []
    source = open_source(path)
    keys = sorted(photo_names(source))
    if not keys:
        raise InputError(f"{path}: no images there")
    problems = _list_files(("", photo) for photo in find_photos([path]))[1] if path.is_dir() else []
    return source, keys, problems


def _excluded_item(source: Source, key: str, owner: str) -> Item:
    """An image of the person that its folders name; without a folder, of its own."""
    person = owner if "/" in key else key
    return f"{source.name}/{person}", f"{source.name}/{key}", key
