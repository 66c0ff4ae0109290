"""`facerec demo`: the whole way on two portraits that pip packages carry."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from facerec.cli.console import Results, say
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import Json, force_option, option
from facerec.errors import MissingError, UsageError

app = App()


@app.command(examples=["facerec demo", "facerec demo --out /tmp/demo"])
def demo(
    out: Annotated[
        Path, option("--out", "-o", panel=OUTPUT, metavar="DIR", help="Where to write.")
    ] = Path("facerec-demo"),
    force: Annotated[
        bool, force_option("Write into a folder that exists; replace an earlier demo's files.")
    ] = False,
    as_json: Json = None,
) -> None:
    """Enrol two portraits, recognise both in a new picture, and say what to try next.

    Needs no download: the portraits and all weights come with pip packages.
    """
    if out.exists() and not force:
        raise UsageError(f"{out} exists; --force writes the demo into it")
    from facerec.cli.recognize import LABELS, draw_matches, picture_record, table_rows
    from facerec.engine.engine import Engine
    from facerec.faces import Frame
    from facerec.files import replacing
    from facerec.gallery import Gallery
    from facerec.gallery.enrol import enrol_photos
    from facerec.gallery.match import Matcher
    from facerec.imaging.decode import read_image
    from facerec.imaging.draw import write_image
    from facerec.imaging.photos import FilePhoto
    from facerec.imaging.portraits import compose_picture, portrait_files
    from facerec.profile.loading import Profile

    profile = Profile.load()
    photos = []
    for name, file in portrait_files().items():
        target = out / "people" / name / file.name
        with replacing(target) as temporary:
            shutil.copyfile(file, temporary)
        photos.append((name, FilePhoto(target)))
    picture, drawn, path = out / "picture.jpg", out / "recognised.jpg", out / "gallery.h5"
    write_image(picture, compose_picture())

    engine = Engine.from_profile(profile)
    path.unlink(missing_ok=True)
    enrol_photos(str(path), photos, engine, profile)
    gallery = Gallery.open(path)
    image = read_image(picture, profile.runtime.max_pixels)
    faces = engine.embed([image])[0]
    matches = Matcher(gallery, profile.recognize, engine.card).match_faces(faces)
    write_image(drawn, draw_matches(image, faces, matches, profile.recognize.unknown))

    record = picture_record(Frame(str(picture), image), faces, matches)
    results = Results(*LABELS, as_json=as_json)
    results.add(record, *table_rows(record, profile.recognize.unknown))
    results.close(title=f"recognised in {picture}")
    if {match.name for match in matches} != {name for name, _ in photos}:
        raise MissingError("the demo did not recognise both people; reinstall facerec")
    say(f"the annotated picture is {drawn}; now with your own photos:")
    for line in (
        "facerec embed PEOPLE/ -o my.h5        # a folder per person",
        "facerec recognize image *.jpg -g my.h5 --save named/",
        "facerec compare one.jpg other.jpg",
    ):
        say(f"  {line}")
