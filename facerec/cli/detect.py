"""`facerec detect`: boxes, scores and landmarks of the faces in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.console import Results, exit_with_failures, progress, save_picture
from facerec.cli.options import (
    Batch,
    Force,
    Json,
    NullSeparated,
    ProfileName,
    Settings,
    Workers,
    load_profile,
    standard_input,
)

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def detect(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS…",
            help="Pictures, folders, tars, zips, URLs, quoted globs, or - for paths on stdin.",
        ),
    ],
    detector: Annotated[
        str | None,
        typer.Option(metavar="mtcnn|mtcnn-tensorflow|yunet", help="Which. [detector.name]"),
    ] = None,
    min_face: Annotated[
        float | None, typer.Option(help="Smallest face, in pixels. [detector.min_face]")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save pictures with the boxes drawn here.")
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save each face's box, with alignment.margin, here."),
    ] = None,
    workers: Workers = None,
    batch: Batch = None,
    null: NullSeparated = False,
    force: Force = False,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Find the faces in pictures: one JSON line, or table rows, per picture."""
    loaded = load_profile(
        profile,
        settings,
        detector__name=detector,
        detector__min_face=min_face,
        runtime__workers=workers,
        runtime__batch=batch,
    )
    from facerec.imaging.sources import find_photos

    pictures = find_photos(paths, stdin=standard_input(), null=null)
    from facerec.alignment.warp import crop_box
    from facerec.engine.engine import Engine
    from facerec.imaging.decode import full_size
    from facerec.imaging.draw import Label, annotate
    from facerec.imaging.reader import read_frames

    engine = Engine.from_profile(loaded)
    whole = save is not None or crops is not None
    frames = read_frames(
        pictures,
        workers=loaded.runtime.workers,
        max_pixels=loaded.runtime.max_pixels,
        downscale=full_size if whole else engine.reduction,
    )
    results = Results("picture", "score", "box", as_json=as_json)
    failures = 0
    with progress("detecting", None) as advance:
        for frame, faces in engine.detections(frames):
            advance()
            if frame.image is None:
                advance.say(str(frame.error))
                failures += 1
                continue
            height, width = frame.size
            results.add(
                {
                    "image": frame.source,
                    "width": width,
                    "height": height,
                    "faces": [face.to_record() for face in faces],
                },
                *(
                    (
                        frame.source if number == 0 else "",
                        f"{face.score:.4f}",
                        " ".join(f"{side:.0f}" for side in face.box),
                    )
                    for number, face in enumerate(faces)
                ),
            )
            source = Path(frame.source)
            if save is not None:
                labels = [Label(face.box, f"{face.score:.2f}", known=True) for face in faces]
                save_picture(save / source.name, annotate(frame.image, labels), force=force)
            if crops is not None:
                margin = loaded.alignment.margin
                for number, face in enumerate(faces, start=1):
                    size = max(round(face.size * (1 + 2 * margin)), 1)
                    crop = crop_box(frame.image, face, size, margin)
                    save_picture(crops / f"{source.stem}-{number}.png", crop, force=force)
    results.close()
    exit_with_failures(failures)
