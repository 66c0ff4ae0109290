"""`facerec gallery`: look at and change a gallery."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from facerec.cli.asking import confirmed
from facerec.cli.completing import complete_person
from facerec.cli.console import Results, progress, say, waiting
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import (
    GALLERY,
    MATCH,
    WHERE,
    Json,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.errors import NoCardError, UsageError
from facerec.files.text import counted
from facerec.files.writing import check_output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facerec.gallery import Gallery
    from facerec.gallery.base import GalleryStore, Where

app = App(
    no_args_is_help=True,
    examples=["facerec gallery list -g people.h5", "facerec gallery remove obama -g people.h5"],
)


@app.callback()
def gallery() -> None:
    """Look at and change a gallery."""


Person = Annotated[str, argument(help="A person.", autocompletion=complete_person)]


@app.command(
    "list",
    examples=[
        "facerec gallery list -g people.h5",
        "facerec gallery list -g people.h5 --where team=red",
    ],
)
@profile_options(GALLERY, WHERE)
def list_people(
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """List the people and how many faces each has."""
    loaded = profile.load()
    from facerec.gallery.addresses import open_gallery

    address = loaded.gallery.path
    results = Results("person", "faces", as_json=as_json)
    for person, faces in open_gallery(address).counts(loaded.recognize.where).items():
        results.add({"person": person, "faces": faces}, (person, str(faces)))
    results.close(title=address)


@app.command(
    examples=[
        "facerec gallery show obama -g people.h5",
        "facerec gallery show obama -g people.h5 --where team=red",
    ]
)
@profile_options(GALLERY, WHERE)
def show(
    person: Person,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Show a person's photos and how near each is to their mean vector."""
    from facerec.card import similarity_to_distance
    from facerec.faces import turn_of
    from facerec.gallery.addresses import open_gallery
    from facerec.gallery.entries import mean_vector
    from facerec.gallery.points import points_recorded
    from facerec.gallery.records import entry_record

    loaded = profile.load()
    opened = open_gallery(loaded.gallery.path)
    where = loaded.recognize.where
    rows = opened.person(person, where)
    if not len(rows):
        raise UsageError(f"{person} has no face with {_pairs(where or {})}")
    person = rows.person[0]
    cosines = rows.embeddings @ mean_vector(rows.embeddings)
    # Few galleries have any.
    told = ("metadata",) if any(rows.meta) else ()
    results = Results("photo", "distance", "score", "quality", *told, as_json=as_json)
    for row, source in enumerate(rows.source):
        distance = similarity_to_distance(float(cosines[row]), opened.card.metric)
        score, quality, meta = float(rows.score[row]), float(rows.quality[row]), rows.meta[row]
        results.add(
            entry_record(
                person, source, distance, score, quality, meta, turn_of(rows.landmarks[row])
            ),
            (
                source,
                f"{distance:.4f}",
                "" if math.isnan(score) else f"{score:.3f}",
                "" if math.isnan(quality) else f"{quality:.2f}",
                *([_pairs(meta)] if told else ()),
            ),
        )
    results.close(title=f"{person}, aligned by: {', '.join(points_recorded(opened.card))}")


def _pairs(meta: Where) -> str:
    """Metadata as `--meta` and `--where` take it."""
    return " ".join(f"{key}={value}" for key, value in meta.items())


@app.command(examples=["facerec gallery rename barack obama -g people.h5"])
@profile_options(GALLERY)
def rename(
    person: Person,
    name: Annotated[str, argument(help="The new name.")],
    *,
    profile: ProfileOptions,
) -> None:
    """Give a person another name."""
    from facerec.gallery.addresses import changing

    with changing(profile.load().gallery.path) as opened:
        opened.rename(person, name)
    say(f"{person} is now {name}")


@app.command(
    examples=[
        "facerec gallery remove obama -g people.h5",
        "facerec gallery remove obama --photo obama/3.jpg -g people.h5",
    ]
)
@profile_options(GALLERY)
def remove(
    person: Person,
    photo: Annotated[
        str | None,
        option("--photo", panel=INPUT, help="Only what this photo, as `show` names it, gave."),
    ] = None,
    force: Annotated[bool, force_option("Remove without asking.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Remove a person, or one of their photos, from the gallery (asks, unless --force)."""
    from facerec.gallery.addresses import changing, open_gallery

    address = profile.load().gallery.path
    known = open_gallery(address).person(person).source
    if photo is not None and photo not in known:
        raise UsageError(f"{person} has no photo {photo}; see: facerec gallery show {person}")
    what = f"{photo} of {person}" if photo else person
    if not force and not confirmed(f"Remove {what} from {address}?"):
        raise UsageError("nothing was removed")
    with changing(address) as opened:
        count = opened.remove_source(person, photo) if photo else opened.remove(person)
    say(f"{what}: {counted(count, 'face')} removed")


@app.command(
    examples=[
        "facerec gallery merge barack b_obama --into obama -g people.h5",
        "facerec gallery merge other.h5 -g people.h5",
    ]
)
@profile_options(GALLERY)
def merge(
    sources: Annotated[
        list[str],
        argument(help="People to merge, or gallery files to add.", autocompletion=complete_person),
    ],
    into: Annotated[
        str | None,
        option(
            "--into",
            panel=OUTPUT,
            help="The person they become, who may be a new one.",
            autocompletion=complete_person,
        ),
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Merge people into one (--into), or add other galleries' people to this one."""
    from facerec.gallery.addresses import changing, extend, open_gallery

    address = profile.load().gallery.path
    if into is not None:
        with changing(address) as opened:
            _merge_people(opened, dict.fromkeys(sources), into)
        say(f"{', '.join(sources)} merged into {into}")
        return
    others = [open_gallery(source) for source in sources]
    with changing(address) as opened:
        before = len(opened)
        for other, source in zip(others, sources, strict=True):
            extend(opened, other, source)
        added = len(opened) - before
    say(f"{address}: {counted(added, 'face')} added")


def _merge_people(opened: GalleryStore, people: Iterable[str], into: str) -> None:
    """Make people one; `into` may be one of them, another person, or a new name.

    Raises:
        UsageError: one of them is unknown, or `into` is no usable name; nothing is changed.
    """
    from facerec.gallery.people import unknown_person

    target = opened.called(into)
    called = {name: opened.called(name) for name in people}
    for name, person in called.items():
        if person is None:
            raise unknown_person(name, opened.counts())
    sources = [person for person in dict.fromkeys(called.values()) if person not in (None, target)]
    if target is None:
        opened.rename(sources.pop(0), into)
    for person in sources:
        opened.merge(person, into)


@app.command(examples=["facerec gallery convert old.h5 -g people.h5"])
@profile_options(GALLERY)
def convert(
    old: Annotated[Path, argument(help="A gallery in one of the seed's older layouts.")],
    force: Annotated[bool, force_option("Replace the gallery.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Convert an older gallery, made with the profile's model, to the present format."""
    loaded = profile.load()
    from facerec.gallery import Gallery
    from facerec.gallery.copying import append_all, replacing

    address = loaded.gallery.path
    _refuse_to_replace(address, force=force)
    with waiting("loading models"):
        from facerec.engine.building import open_embedder

        card = open_embedder(loaded).card  # the seed had no vectors of several networks
    converted = Gallery.open(old, assume=card)
    held = replacing(address, converted.card)
    with held as store, progress("converting", len(converted)) as advance:
        append_all(store, converted, advance)
        store.commit()
    say(f"{address}: {_size(converted)}")


class Format(str, Enum):
    """A format of `facerec gallery export`."""

    PROTOBUF = "protobuf"
    NPZ = "npz"
    CSV = "csv"
    PARQUET = "parquet"
    SEED_H5 = "seed-h5"


class Per(str, Enum):
    """What an entry of an exported gallery is of."""

    FACE = "face"
    PERSON = "person"


@app.command("export", examples=["facerec gallery export --to csv -g people.h5"])
@profile_options(GALLERY)
def export_to(
    to: Annotated[Format, option("--to", panel=OUTPUT, help="The format.")],
    per: Annotated[
        Per | None,
        option(
            "--per",
            panel=OUTPUT,
            help="An entry for each face, or one for each person with the mean.",
            default="face; of seed-h5 person",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            panel=OUTPUT,
            metavar="FILE",
            help="The file.",
            default="the gallery's name, with the format's ending",
        ),
    ] = None,
    force: Annotated[bool, force_option("Replace the exported file.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Write the gallery as protobuf (the seed's message and the card), npz, CSV, Parquet, or HDF5
    as egcode/facerec reads it: means of people for recognition, faces for its cleanup."""
    from facerec.gallery.addresses import local_path, open_gallery
    from facerec.gallery.copying import in_memory
    from facerec.gallery.exchange import (
        ENDINGS,
        OTHER_ENDINGS,
        SEED_ENDINGS,
        export_gallery,
    )

    endings = {**ENDINGS, **SEED_ENDINGS}
    seeds = to.value in SEED_ENDINGS
    address = profile.load().gallery.path
    path = local_path(address) or Path(address.rpartition("/")[2])
    named = path.with_name(f"{path.stem}-seed.h5") if seeds else path.with_suffix(endings[to.value])
    target = out or named
    if endings[to.value] != target.suffix and OTHER_ENDINGS.get(target.suffix) != to.value:
        raise UsageError(f"{target}: a {to.value} file ends in {endings[to.value]}")
    check_output(target, force=force, inputs=[path])
    source = open_gallery(address)
    with progress("reading", len(source)) as advance:
        opened = in_memory(source, advance)
    with progress("exporting", len(opened)) as advance:
        per_person = seeds if per is None else per is Per.PERSON
        export_gallery(opened, target, to.value, advance, per_person=per_person)
    say(f"{target}: {_size(opened, len(opened.people) if per_person else len(opened))}")


@app.command("import", examples=["facerec gallery import people.npz -g people.h5"])
@profile_options(GALLERY)
def import_from(
    source: Annotated[Path, argument(help="A .pb (.protobuf), .npz, .csv, .parquet or .npy file.")],
    labels: Annotated[
        Path | None,
        option(
            "--labels",
            panel=INPUT,
            metavar="FILE.npy",
            help="The names, where SOURCE is an .npy array of embeddings.",
            default="found beside it",
        ),
    ] = None,
    force: Annotated[bool, force_option("Replace the gallery.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Make a gallery of an exported one; a file without a card is of the profile's model."""
    loaded = profile.load()
    from facerec.gallery.copying import append_all, replacing
    from facerec.gallery.exchange import import_gallery

    address = loaded.gallery.path
    _refuse_to_replace(address, force=force)
    with progress("reading", None) as advance:
        try:
            imported = import_gallery(source, labels=labels, advance=advance)
        except NoCardError:
            with waiting("loading models"):
                from facerec.engine.building import open_model

                card = open_model(loaded).card
            imported = import_gallery(source, labels=labels, assume=card, advance=advance)
    held = replacing(address, imported.card)
    with held as store, progress("importing", len(imported)) as advance:
        append_all(store, imported, advance)
        store.commit()
    say(f"{address}: {_size(imported)}")


@app.command(examples=["facerec gallery compact -g people.h5"])
@profile_options(GALLERY)
def compact(
    *,
    profile: ProfileOptions,
) -> None:
    """Write a large gallery's file anew with the changes that its journal holds."""
    from facerec.files.locking import locked
    from facerec.gallery import Gallery
    from facerec.gallery.files import backend as file

    path = _file(profile.load().gallery.path)
    with locked(path):
        opened = Gallery.open(path)
        with progress("writing", len(opened)) as advance:
            file.compact(opened, path, advance)
    say(f"{path}: {_size(opened)}, in one file")


@app.command(examples=["facerec gallery index -g people.h5"])
@profile_options(GALLERY, MATCH)
def index(
    *,
    profile: ProfileOptions,
) -> None:
    """Make an approximate index of a very large gallery; searches use it until the file changes."""
    loaded = profile.load()
    from facerec.files.locking import locked
    from facerec.gallery import Gallery
    from facerec.gallery.files import backend as file

    path = _file(loaded.gallery.path)
    with locked(path):
        total = len(Gallery.open(path).base_vectors(loaded.recognize.match))
        with progress("indexing", total) as advance:
            made = file.index(path, loaded.recognize.match, advance)
    say(f"{made}: {made.stat().st_size / 1e6:,.1f} MB")


@app.command(examples=["facerec gallery verify -g people.h5"])
@profile_options(GALLERY)
def verify(
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Check a gallery: its format, its vectors, and that its templates are their means.

    Also tells whose five points its faces were aligned by.
    """
    from facerec.gallery.addresses import backend_of, open_gallery
    from facerec.gallery.points import points_recorded

    address = profile.load().gallery.path
    with progress("checking", len(open_gallery(address))) as advance:
        opened = backend_of(address).verify(address, advance)
    people = opened.counts()
    results = Results("gallery", "people", "faces", "model", "points", as_json=as_json)
    points = points_recorded(opened.card)
    results.add(
        {
            "gallery": address,
            "people": len(people),
            "faces": len(opened),
            "model": opened.card.name,
            "fingerprint": opened.card.fingerprint(),
            "points": list(points),
        },
        (address, str(len(people)), str(len(opened)), opened.card.name, ", ".join(points)),
    )
    results.close()
    say(f"{address}: sound")


@app.command(examples=["facerec gallery copy people.h5 milvus://localhost:19530/people"])
@profile_options(GALLERY)
def copy(
    source: Annotated[str, argument("FROM", help="A gallery's address.")],
    target: Annotated[
        str | None,
        argument(
            "[TO]",
            help="Another's. [default: FROM, and the gallery copied is the profile's]",
            panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[bool, force_option("Replace the gallery at TO.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Copy a gallery to another address, of the same kind or another.

    With one address the profile's gallery, or --gallery, is copied there.
    A copy that was interrupted goes on where it stopped when the same command is given again.
    """
    from facerec.gallery.addresses import changing, check_place, open_gallery
    from facerec.gallery.copying import continue_copy, replacing

    if target is None:
        source, target = profile.load().gallery.path, source
    if source == target:
        raise UsageError(f"{target}: cannot be copied onto itself")
    check_place(target, source)
    opened = open_gallery(source)
    total, card = len(opened), opened.card
    held = replacing(target, card) if force else changing(target, create=card)
    with held as copied, progress("copying", total) as advance:
        outdated = len(copied) > 0 and copied.card != card
        try:
            added = continue_copy(opened, copied, advance)
        except UsageError as error:
            raise UsageError(f"{target}: {error}") from error
    say(f"{target}: {counted(added, 'face')} copied, {total - added} were there")
    if outdated:
        say(f"{target}: has the model card of {source} now, thresholds with it")


def _file(address: str) -> Path:
    """The file of a gallery that is one.

    Raises:
        UsageError: it is none.
    """
    from facerec.gallery.addresses import local_path, scheme_of

    path = local_path(address)
    if path is None or scheme_of(address) != "file":
        raise UsageError(f"{address}: is no file; Milvus does this itself")
    return path


def _size(opened: Gallery, faces: int | None = None) -> str:
    faces = len(opened) if faces is None else faces
    return f"{counted(faces, 'face')} of {counted(len(opened.people), 'person', 'people')}"


def _refuse_to_replace(address: str, *, force: bool) -> None:
    """Stop before a gallery is replaced unasked.

    Raises:
        UsageError: there is one, and `force` is not set.
    """
    from facerec.gallery.addresses import backend_of, check_place

    if not force and backend_of(address).exists(address):
        raise UsageError(f"{address} exists; --force replaces it")
    check_place(address)
