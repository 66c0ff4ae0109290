"""`facerec compare`: compare two photos, or a photo with a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.completing import complete_person
from facerec.cli.console import Results, waiting
from facerec.cli.help import App
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    CHIP_TEMPLATE,
    FAR,
    GALLERY,
    MAX_FALSE_NAMES,
    METRIC,
    THRESHOLD,
    WHERE,
    Aligned,
    Json,
    ProfileOptions,
    argument,
    profile_options,
)
from facerec.cli.thresholds import percent, remark_on_cohort, remark_on_threshold
from facerec.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from facerec.engine.engine import Engine
    from facerec.faces import Floats
    from facerec.gallery.base import GalleryStore
    from facerec.profile.loading import Profile

app = App()


@app.command(
    examples=["facerec compare one.jpg other.jpg", "facerec compare one.jpg obama -g people.h5"]
)
@profile_options(GALLERY, CHIP_TEMPLATE, THRESHOLD, FAR, MAX_FALSE_NAMES, METRIC, WHERE)
def compare(
    a: Annotated[
        str,
        argument("A", help="A photo, or a person of the gallery.", autocompletion=complete_person),
    ],
    b: Annotated[
        str,
        argument("B", help="A photo, or a person of the gallery.", autocompletion=complete_person),
    ],
    aligned: Aligned = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Compare two photos, or a photo with a person of a gallery.

    A person of a gallery that --gallery or the profile names comes before a file of that name.
    Exit code 0: the same person; 1: different people. Of several faces in a photo the largest
    and most central counts.
    """
    loaded = profile.load().looking_again("turns")
    engine = load_engine(loaded)
    from facerec.gallery.addresses import backend_of, open_gallery
    from facerec.gallery.match import comparing, deciding_card
    from facerec.gallery.records import comparison_record

    with waiting("comparing"):
        card = engine.card
        people: list[tuple[Floats, int] | None] = [None, None]
        given, address = profile.given(GALLERY) is not None, loaded.gallery.path
        named = given or address != _default_gallery()
        asked = named or not all(Path(name).is_file() for name in (a, b))
        # A mistyped name is told before a face is sought.
        if given or (asked and backend_of(address).exists(address)):
            opened = open_gallery(address, assume=engine.card)
            people = [_person_vector(name, opened, loaded, named=named) for name in (a, b)]
            if any(people):
                card = deciding_card(opened, engine.card, address)
        else:
            _refuse_names(a, b, address=address)
        (first, of_first), (second, of_second) = (
            known or (_photo_vector(Path(name), engine, loaded, aligned=aligned), 1)
            for name, known in zip((a, b), people, strict=True)
        )

    photos = max(of_first, of_second)
    used, limit, certainty = comparing(card, loaded.recognize, photos)
    remark_on_threshold(card, loaded.recognize, limit)
    remark_on_cohort(card)
    record = comparison_record(a, b, (first, second), used, limit, certainty)
    same = record["same"]
    cells = (f"{record[key]:.4f}" for key in ("similarity", "distance", "threshold"))
    columns = ("same person", "similarity", "distance", "threshold", "probability")
    results = Results(*columns, as_json=as_json, least=("probability",))
    results.add(record, ("yes" if same else "no", *cells, percent(record["probability"])))
    results.close()
    if not same:
        raise typer.Exit(1)


def _photo_vector(path: Path, engine: Engine, profile: Profile, *, aligned: bool) -> Floats:
    from facerec.alignment.warp import only_central_face
    from facerec.imaging.reader import read_frame

    frame, faces = next(
        engine.faces(
            [read_frame(path, profile.runtime.max_pixels)],
            aligned=aligned,
            select=only_central_face,
        )
    )
    if frame.error is not None:
        raise frame.error
    if not faces or faces[0].embedding is None:
        raise InputError(f"{path}: no face found")
    return faces[0].embedding


def _refuse_names(*names: str, address: str) -> None:
    """Refuse what can only be a person's name, where no gallery is looked into."""
    for name in names:
        if not _may_be_photo(name):
            raise UsageError(f"{name}: no such photo, nor a gallery {address}: -g names one")


def _may_be_photo(name: str) -> bool:
    from facerec.imaging.names import has_image_suffix

    return Path(name).exists() or has_image_suffix(name)


def _default_gallery() -> str:
    from facerec.profile.schema import GallerySection

    return GallerySection().path


def _person_vector(
    name: str, opened: GalleryStore, profile: Profile, *, named: bool
) -> tuple[Floats, int] | None:
    """A person's mean vector, and of how many faces; None for a photo.

    Args:
        named: the gallery was named, so its people come before files.

    Raises:
        UsageError: the name is neither a person's nor a file's.
    """
    from facerec.gallery.entries import mean_vector

    if Path(name).is_file() and not named:
        return None
    where = profile.recognize.where
    people = opened.counts(where)
    person = opened.called(name)
    if person in people:
        embeddings = opened.person(person, where).embeddings
        return mean_vector(embeddings), len(embeddings)
    if _may_be_photo(name):
        return None
    hint = did_you_mean(name, people)
    raise UsageError(f"{name}: neither a photo nor a person of {profile.gallery.path}{hint}")
