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
    METRIC,
    THRESHOLD,
    WHERE,
    Aligned,
    Json,
    ProfileOptions,
    argument,
    profile_options,
)
from facerec.cli.thresholds import remark_on_threshold
from facerec.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.engine.engine import Engine
    from facerec.faces import Floats
    from facerec.profile.loading import Profile

app = App()


@app.command(
    examples=["facerec compare one.jpg other.jpg", "facerec compare one.jpg obama -g people.h5"]
)
@profile_options(GALLERY, CHIP_TEMPLATE, THRESHOLD, FAR, METRIC, WHERE)
def compare(
    a: Annotated[str, argument("A", help="A photo.")],
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

    Exit code 0: the same person; 1: different people. Of several faces in a photo the largest
    and most central counts.
    """
    loaded = profile.load().looking_again("turns")
    engine = load_engine(loaded)
    from facerec.card import similarity_to_distance
    from facerec.gallery.match import decision_threshold

    in_gallery = profile.given(GALLERY) is not None or Path(loaded.gallery.path).exists()
    with waiting("comparing"):
        # A mistyped name is told before a face is sought.
        is_person = in_gallery and not Path(b).exists()
        person = _person_vector(b, engine, loaded) if is_person else None
        first = _photo_vector(Path(a), engine, loaded, aligned=aligned)
        if person is not None:
            second, card = person
        else:
            second, card = _photo_vector(Path(b), engine, loaded, aligned=aligned), engine.card

    used, limit = decision_threshold(card, loaded.recognize)
    remark_on_threshold(card, loaded.recognize)
    similarity = min(max(float(first @ second), -1.0), 1.0)
    distance = similarity_to_distance(similarity, used)
    same = distance <= limit
    results = Results("same person", "similarity", "distance", "threshold", as_json=as_json)
    results.add(
        {
            "a": a,
            "b": b,
            "same": same,
            "similarity": round(similarity, 6),
            "distance": round(distance, 6),
            "threshold": round(limit, 6),
            "metric": used,
        },
        ("yes" if same else "no", f"{similarity:.4f}", f"{distance:.4f}", f"{limit:.4f}"),
    )
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


def _person_vector(name: str, engine: Engine, profile: Profile) -> tuple[Floats, ModelCard]:
    from facerec.gallery.addresses import open_gallery
    from facerec.gallery.entries import mean_vector
    from facerec.gallery.match import deciding_card

    opened = open_gallery(profile.gallery.path, assume=engine.card)
    card = deciding_card(opened, engine.card, profile.gallery.path)
    where = profile.recognize.where
    people = opened.counts(where)
    if name not in people:
        hint = did_you_mean(name, people)
        raise UsageError(f"{name}: neither a photo nor a person of {profile.gallery.path}{hint}")
    return mean_vector(opened.person(name, where).embeddings), card
