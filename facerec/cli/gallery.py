"""`facerec gallery`: look at and change a gallery."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.console import Results, progress, refuse_to_replace, say
from facerec.cli.options import (
    Force,
    GalleryPath,
    Json,
    ProfileName,
    Settings,
    Where,
    load_profile,
    parse_pairs,
)
from facerec.errors import FacerecError, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def gallery() -> None:
    """Look at and change a gallery."""


def _address(path: str | None, profile: str, settings: list[str] | None) -> str:
    return load_profile(profile, settings, gallery__path=path).gallery.path


def _complete_person(ctx: typer.Context, incomplete: str) -> list[str]:
    from facerec.gallery.addresses import open_gallery

    try:
        people = open_gallery(_address(ctx.params.get("gallery"), "default", None)).counts()
    except FacerecError:
        return []
    return [name for name in people if name.startswith(incomplete)]


Person = Annotated[str, typer.Argument(help="A person.", autocompletion=_complete_person)]


@app.command("list")
def list_people(
    gallery: GalleryPath = None,
    where: Where = None,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """List the people and how many faces each has."""
    loaded = load_profile(
        profile,
        settings,
        gallery__path=gallery,
        recognize__where=parse_pairs(where, "--where"),
    )
    from facerec.gallery.addresses import open_gallery

    address = loaded.gallery.path
    results = Results("person", "faces", as_json=as_json)
    for person, faces in open_gallery(address).counts(loaded.recognize.where).items():
        results.add({"person": person, "faces": faces}, (person, str(faces)))
    results.close(title=address)


@app.command()
def show(
    person: Person,
    gallery: GalleryPath = None,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Show a person's photos and how near each is to the person's mean vector."""
    from facerec.card import similarity_to_distance
    from facerec.gallery.addresses import open_gallery
    from facerec.gallery.entries import mean_vector

    opened = open_gallery(_address(gallery, profile, settings))
    rows = opened.person(person)
    mean = mean_vector(rows.embeddings)
    results = Results("photo", "distance", "score", as_json=as_json)
    for source, cosine, score in zip(rows.source, rows.embeddings @ mean, rows.score, strict=True):
        distance = similarity_to_distance(float(cosine), opened.card.metric)
        results.add(
            {"person": person, "source": source, "distance": round(distance, 6)},
            (source, f"{distance:.4f}", f"{score:.3f}"),
        )
    results.close(title=person)


@app.command()
def rename(
    person: Person,
    name: Annotated[str, typer.Argument(help="The new name.")],
    gallery: GalleryPath = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Give a person another name."""
    from facerec.gallery.addresses import changing

    with changing(_address(gallery, profile, settings)) as opened:
        opened.rename(person, name)
    say(f"{person} is now {name}")


@app.command()
def remove(
    person: Person,
    photo: Annotated[
        str | None, typer.Option(help="Only what this photo (as `show` names it) gave.")
    ] = None,
    gallery: GalleryPath = None,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Remove a person, or one of their photos, from the gallery (asks, unless --force)."""
    from facerec.gallery.addresses import changing

    address = _address(gallery, profile, settings)
    what = f"{photo} of {person}" if photo else person
    if not force and not typer.confirm(f"Remove {what} from {address}?", err=True):
        raise UsageError("nothing was removed")
    with changing(address) as opened:
        count = opened.remove_source(person, photo) if photo else opened.remove(person)
        if not count:
            raise UsageError(f"{person} has no photo {photo}; see: facerec gallery show {person}")
    say(f"{what}: {count} faces removed")


@app.command()
def merge(
    sources: Annotated[list[str], typer.Argument(help="People to merge, or gallery files to add.")],
    into: Annotated[str | None, typer.Option(help="The person they become.")] = None,
    gallery: GalleryPath = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Merge people into one (--into), or add other galleries' people to this one."""
    from facerec.gallery.addresses import changing, extend, open_gallery

    address = _address(gallery, profile, settings)
    others = [] if into else [open_gallery(source) for source in sources]
    with changing(address) as opened:
        before = len(opened)
        for source in sources if into else ():
            opened.merge(source, into or "")
        for other in others:
            extend(opened, other)
        added = len(opened) - before
    say(f"{', '.join(sources)} merged into {into}" if into else f"{address}: {added} faces added")


@app.command()
def convert(
    old: Annotated[Path, typer.Argument(help="A gallery in one of the seed's older layouts.")],
    gallery: GalleryPath = None,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Convert an older gallery, made with the profile's model, to the present format."""
    loaded = load_profile(profile, settings, gallery__path=gallery)
    from facerec.gallery import Gallery
    from facerec.gallery.copying import append_all, replacing
    from facerec.weights.store import load_card

    address = loaded.gallery.path
    _refuse_to_replace(address, force=force)
    converted = Gallery.open(old, assume=load_card(loaded.model.name))
    held = replacing(address, converted.card)
    with held as store, progress("converting", len(converted)) as advance:
        append_all(store, converted, advance)
        store.commit()
    say(f"{address}: {len(converted)} faces of {len(converted.people)} people")


class Format(str, Enum):
    """A format of `facerec gallery export`."""

    PROTOBUF = "protobuf"
    NPZ = "npz"
    CSV = "csv"
    PARQUET = "parquet"


@app.command("export")
def export_to(
    to: Annotated[Format, typer.Option("--to", help="The format.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="[the gallery's name, with its ending]"),
    ] = None,
    gallery: GalleryPath = None,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Write the gallery as protobuf (the seed's message and the card), npz, CSV or Parquet."""
    from facerec.gallery.addresses import local_path, open_gallery
    from facerec.gallery.copying import in_memory
    from facerec.gallery.exchange import ENDINGS, export_gallery

    address = _address(gallery, profile, settings)
    path = local_path(address) or Path(address.rpartition("/")[2])
    target = out or path.with_suffix(ENDINGS[to.value])
    if target.suffix != ENDINGS[to.value]:
        raise UsageError(f"{target}: a {to.value} file ends in {ENDINGS[to.value]}")
    refuse_to_replace(target, force=force)
    source = open_gallery(address)
    with progress("reading", len(source)) as advance:
        opened = in_memory(source, advance)
    with progress("exporting", len(opened)) as advance:
        export_gallery(opened, target, to.value, advance)
    say(f"{target}: {len(opened)} faces of {len(opened.people)} people")


@app.command("import")
def import_from(
    source: Annotated[Path, typer.Argument(help="A .pb, .npz, .csv or .parquet file.")],
    gallery: GalleryPath = None,
    force: Force = False,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Make a gallery of an exported one; a file without a card is of the profile's model."""
    loaded = load_profile(profile, settings, gallery__path=gallery)
    from facerec.gallery.copying import append_all, replacing
    from facerec.gallery.exchange import import_gallery
    from facerec.weights.catalog import catalogue

    address = loaded.gallery.path
    _refuse_to_replace(address, force=force)
    record = catalogue().get(loaded.model.name)
    with progress("reading", None) as advance:
        imported = import_gallery(source, assume=record.card if record else None, advance=advance)
    held = replacing(address, imported.card)
    with held as store, progress("importing", len(imported)) as advance:
        append_all(store, imported, advance)
        store.commit()
    say(f"{address}: {len(imported)} faces of {len(imported.people)} people")


@app.command()
def compact(
    gallery: GalleryPath = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Write a large gallery's file anew with the changes that its journal holds."""
    from facerec.files import locked
    from facerec.gallery import Gallery
    from facerec.gallery.files import backend as file

    path = _file(_address(gallery, profile, settings))
    with locked(path):
        opened = Gallery.open(path)
        with progress("writing", len(opened)) as advance:
            file.compact(opened, path, advance)
    say(f"{path}: {len(opened)} faces of {len(opened.people)} people, in one file")


@app.command()
def index(
    gallery: GalleryPath = None,
    match: Annotated[
        str | None,
        typer.Option(metavar="template|exemplar", help="For which comparison. [recognize.match]"),
    ] = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Make an approximate index of a very large gallery; searches use it until the file changes."""
    loaded = load_profile(profile, settings, gallery__path=gallery, recognize__match=match)
    from facerec.files import locked
    from facerec.gallery import Gallery
    from facerec.gallery.files import backend as file

    path = _file(loaded.gallery.path)
    with locked(path):
        total = len(Gallery.open(path).base_vectors(loaded.recognize.match))
        with progress("indexing", total) as advance:
            made = file.index(path, loaded.recognize.match, advance)
    say(f"{made}: {made.stat().st_size / 1e6:,.1f} MB")


@app.command()
def verify(
    gallery: GalleryPath = None,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Check a gallery: its format, its vectors, and that its templates are their means."""
    from facerec.gallery.addresses import backend_of, open_gallery

    address = _address(gallery, profile, settings)
    with progress("checking", len(open_gallery(address))) as advance:
        opened = backend_of(address).verify(address, advance)
    people = opened.counts()
    results = Results("gallery", "people", "faces", "model", as_json=as_json)
    results.add(
        {
            "gallery": address,
            "people": len(people),
            "faces": len(opened),
            "model": opened.card.name,
            "fingerprint": opened.card.fingerprint(),
        },
        (address, str(len(people)), str(len(opened)), opened.card.name),
    )
    results.close()
    say(f"{address}: sound")


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A gallery's address.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Another's.")],
    force: Force = False,
) -> None:
    """Copy a gallery to another address, of the same kind or another.

    A copy that was interrupted goes on where it stopped when the same command is given again.
    """
    from facerec.gallery.addresses import changing, open_gallery
    from facerec.gallery.copying import continue_copy, replacing

    if source == target:
        raise UsageError(f"{target}: cannot be copied onto itself")
    opened = open_gallery(source)
    total, card = len(opened), opened.card
    held = replacing(target, card) if force else changing(target, create=card)
    with held as copied, progress("copying", total) as advance:
        try:
            added = continue_copy(opened, copied, advance)
        except UsageError as error:
            raise UsageError(f"{target}: {error}") from error
    say(f"{target}: {added} faces copied, {total - added} were there")


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


def _refuse_to_replace(address: str, *, force: bool) -> None:
    """Stop before a gallery is replaced unasked.

    Raises:
        UsageError: there is one, and `force` is not set.
    """
    from facerec.gallery.addresses import backend_of

    if not force and backend_of(address).exists(address):
        raise UsageError(f"{address} exists; --force replaces it")
