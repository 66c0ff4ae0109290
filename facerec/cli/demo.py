"""`facerec demo`: enrol and recognise two portraits that pip packages carry."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

from facerec.cli.console import Results, say, say_saved, waiting
from facerec.cli.help import OUTPUT, App
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    DETECTOR,
    Json,
    ProfileOptions,
    force_option,
    option,
    profile_options,
)
from facerec.errors import MissingError, UsageError
from facerec.files.writing import check_output_folder

app = App()


@app.command(examples=["facerec demo", "facerec demo --out /tmp/demo"])
@profile_options(DETECTOR)
def demo(
    out: Annotated[
        Path, option("--out", "-o", panel=OUTPUT, metavar="DIR", help="Where to write.")
    ] = Path("facerec-demo"),
    force: Annotated[
        bool, force_option("Write into a folder that exists; replace an earlier demo's files.")
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Enrol two portraits, recognise both in a new image, and say what to try next.

    Needs no download: the portraits and all weights come with pip packages.
    """
    if out.exists() and not force:
        raise UsageError(f"{out} exists; --force writes the demo into it")
    check_output_folder(out)
    loaded = profile.load()
    engine = load_engine(loaded)
    from facerec.cli.recognize import LABELS, LEAST, draw_matches, table_rows
    from facerec.files.writing import replacing
    from facerec.gallery import Gallery
    from facerec.gallery.enrol import enrol_photos
    from facerec.gallery.match import Matcher
    from facerec.gallery.records import recognition_record
    from facerec.imaging.decode import read_image
    from facerec.imaging.draw import write_image
    from facerec.imaging.photos import FilePhoto
    from facerec.imaging.portraits import compose_picture, portrait_files

    photos = []
    for name, file in portrait_files().items():
        target = out / "people" / name / file.name
        with replacing(target) as temporary:
            shutil.copyfile(file, temporary)
        photos.append((name, FilePhoto(target)))
    picture, drawn, path = out / "picture.jpg", out / "recognised.jpg", out / "gallery.h5"
    write_image(picture, compose_picture())

    with waiting("enrolling two portraits, recognising both"):
        path.unlink(missing_ok=True)
        enrol_photos(str(path), photos, engine, loaded)
        image = read_image(picture, loaded.runtime.max_pixels)
        faces = engine.embed([image])[0]
        matcher = Matcher(Gallery.open(path), loaded.recognize, engine.card)
        matches = matcher.match_faces(faces)
        write_image(drawn, draw_matches(image, faces, matches, loaded.recognize.unknown))

    record = recognition_record(str(picture), image.shape[:2], faces, matches)
    results = Results(*LABELS, as_json=as_json, least=LEAST)
    results.add(record, *table_rows(record, loaded.recognize.unknown, matcher.threshold))
    results.close(title=f"recognised in {picture}")
    if {match.name for match in matches} != {name for name, _ in photos}:
        raise MissingError("the demo did not recognise both people; reinstall facerec")
    say_saved(len(photos) + 3, "file", out)
    say(f"{drawn} is the annotated image; go on, also with your own photos:")
    people, portrait = f"{out / 'people'}/", str(photos[0][1].path)
    for *command, comment in (
        ("embed", people, "-o", "my.h5", "  # a folder per person"),
        ("recognize", "image", str(picture), "-g", "my.h5", "--save", "named/", ""),
        ("compare", portrait, photos[0][0], "-g", "my.h5", ""),
    ):
        say(f"  {_program()} {shlex.join(command)}{comment}")


def _program() -> str:
    """How this program was called, so that what is printed can be pasted."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m facerec"
    found = shutil.which("facerec")
    on_path = found is not None and called.exists() and Path(found).samefile(called)
    return "facerec" if on_path else shlex.quote(str(called))
