"""`facerec detect`: find faces: boxes, scores and landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from facerec.cli.console import Results, exit_with_failures, progress
from facerec.cli.help import OUTPUT, App
from facerec.cli.loading import list_photos, load_engine
from facerec.cli.options import (
    BATCH,
    DETECTOR,
    MIN_FACE,
    SECOND_LOOK,
    WORKERS,
    Json,
    NullSeparated,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.cli.saved_images import SavedImages

app = App()


@app.command(
    examples=[
        "facerec detect photos/ --save drawn/",
        "find . -name '*.jpg' -print0 | facerec detect -0 - --json",
    ]
)
@profile_options(DETECTOR, MIN_FACE, SECOND_LOOK, WORKERS, BATCH)
def detect(
    paths: Annotated[
        list[str],
        argument(
            "PATHS…",
            help="Photos, folders, tars, zips, URLs, quoted globs, or - for paths on stdin.",
        ),
    ],
    save: Annotated[
        Path | None,
        option(
            "--save",
            panel=OUTPUT,
            metavar="DIR",
            help="Save images here, faces and landmarks drawn.",
        ),
    ] = None,
    crops: Annotated[
        Path | None,
        option(
            "--crops",
            panel=OUTPUT,
            metavar="DIR",
            help="Save each face's box, with alignment.margin, here.",
        ),
    ] = None,
    null: NullSeparated = False,
    force: Annotated[
        bool, force_option("Replace images that --save and --crops wrote before.")
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Find the faces in photos: one JSON line, or table rows, per photo."""
    loaded = profile.load()
    drawn = None if save is None else SavedImages(save, paths, what="image", force=force)
    cut = (
        None if crops is None else SavedImages(crops, paths, what="face", force=force, beside=drawn)
    )
    photos, count = list_photos(paths, null=null)
    if (drawn or cut) and "-" not in paths:
        photos = list(photos)
        if drawn is not None:
            drawn.refuse_existing(photos)
        if cut is not None:
            cut.refuse_existing(photos, 1)
    engine = load_engine(loaded)
    from facerec.alignment.warp import crop_box
    from facerec.gallery.records import detection_record
    from facerec.imaging.decode import full_size
    from facerec.imaging.draw import Label, annotate
    from facerec.imaging.reader import read_frames

    frames = read_frames(
        photos,
        workers=loaded.runtime.workers,
        max_pixels=loaded.runtime.max_pixels,
        downscale=full_size if drawn or cut else engine.reduction,
    )
    results = Results("photo", "score", "box", as_json=as_json)
    failures = 0
    with progress("detecting", count) as advance:
        for frame, faces in engine.detections(frames, expected=count):
            advance()
            if frame.image is None:
                advance.say(str(frame.error))
                failures += 1
                continue
            results.add(
                detection_record(frame.source, frame.size, faces),
                *(
                    (
                        frame.source if number == 0 else "",
                        f"{face.score:.4f}",
                        " ".join(f"{side:.0f}" for side in face.box),
                    )
                    for number, face in enumerate(faces)
                ),
            )
            if drawn is not None:
                labels = [
                    Label(face.box, f"{face.score:.2f}", known=True, points=face.landmarks)
                    for face in faces
                ]
                drawn.save(frame.source, annotate(frame.image, labels))
            if cut is not None:
                margin = loaded.alignment.margin
                for number, face in enumerate(faces, start=1):
                    size = max(round(face.size * (1 + 2 * margin)), 1)
                    crop = crop_box(frame.image, face, size, margin)
                    cut.save(frame.source, crop, number)
    results.close()
    for saved in (drawn, cut):
        if saved is not None:
            saved.close()
            failures += saved.failures
    exit_with_failures(failures)
