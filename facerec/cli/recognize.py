"""`facerec recognize`: recognise people in photos, in videos and live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from facerec.cli.console import (
    Results,
    exit_with_failures,
    has_display,
    progress,
)
from facerec.cli.help import OUTPUT, App
from facerec.cli.loading import list_photos, load_engine
from facerec.cli.options import (
    BATCH,
    CHIP_TEMPLATE,
    DETECTOR,
    FAR,
    GALLERY,
    MATCH,
    MAX_FALSE_NAMES,
    METRIC,
    SECOND_LOOK,
    THRESHOLD,
    TOP,
    UNIQUE,
    UNKNOWN,
    WHERE,
    WORKERS,
    Aligned,
    Json,
    NullSeparated,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.cli.saved_images import SavedImages
from facerec.cli.thresholds import percent, remark_on_matcher
from facerec.cli.video.command import cam, video
from facerec.errors import MissingError

if TYPE_CHECKING:
    from facerec.faces import Face, Image, Match

app = App(
    no_args_is_help=True,
    examples=["facerec recognize image party.jpg -g people.h5", "facerec recognize cam"],
)

LABELS = ("photo", "name", "similarity", "distance", "probability", "box")
LEAST = ("similarity", "box", "probability")
"""Columns that a narrow terminal does without."""


@app.callback()
def recognize() -> None:
    """Recognise enrolled people in photos, in videos and live."""


app.command(
    examples=["facerec recognize cam -g people.h5", "facerec recognize cam 1 --serve :8000"]
)(cam)
app.command(
    examples=["facerec recognize video meeting.mp4 -g people.h5 --save named.mp4 --blur unknown"]
)(video)


@app.command(
    examples=[
        "facerec recognize image *.jpg -g people.h5 --save named/",
        "facerec recognize image photos/ --far 1e-2 --json",
    ]
)
@profile_options(
    GALLERY,
    DETECTOR,
    CHIP_TEMPLATE,
    THRESHOLD,
    FAR,
    MAX_FALSE_NAMES,
    METRIC,
    MATCH,
    UNIQUE,
    TOP,
    UNKNOWN,
    WHERE,
    SECOND_LOOK,
    WORKERS,
    BATCH,
)
def image(
    paths: Annotated[
        list[str],
        argument(
            "PATHS…",
            help="Photos, folders, tars, zips, URLs, quoted globs, or - for paths on stdin.",
        ),
    ],
    save: Annotated[
        Path | None,
        option("--save", panel=OUTPUT, metavar="DIR", help="Save annotated images here."),
    ] = None,
    show: Annotated[
        bool, option("--show", panel=OUTPUT, help="Show each annotated image.")
    ] = False,
    font_size: Annotated[
        int | None,
        option(
            "--font-size",
            panel=OUTPUT,
            min=6,
            help="Height of the labels, in pixels.",
            default="by the size of the face",
        ),
    ] = None,
    show_distance: Annotated[
        bool,
        option("--show-distance", panel=OUTPUT, help="Label faces with distance and probability."),
    ] = False,
    aligned: Aligned = False,
    null: NullSeparated = False,
    force: Annotated[bool, force_option("Replace images that --save wrote before.")] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Recognise people in photos: one JSON line, or table rows, per photo."""
    loaded = profile.load()
    saved = None if save is None else SavedImages(save, paths, what="image", force=force)
    if show:
        _require_display()
    photos, count = list_photos(paths, null=null)
    if saved is not None and "-" not in paths:
        photos = list(photos)
        saved.refuse_existing(photos)
    from facerec.gallery.addresses import open_gallery

    opened = open_gallery(loaded.gallery.path)
    engine = load_engine(loaded)
    from facerec.gallery.match import Matcher
    from facerec.gallery.records import recognition_record
    from facerec.imaging.decode import full_size
    from facerec.imaging.reader import read_frames

    matcher = Matcher(opened, loaded.recognize, engine.card, loaded.gallery.path)
    remark_on_matcher(matcher, loaded.recognize, loaded.gallery.path)
    results = Results(*LABELS, as_json=as_json, least=LEAST)
    label = loaded.recognize.unknown
    failures = 0
    frames = read_frames(
        photos,
        workers=loaded.runtime.workers,
        max_pixels=loaded.runtime.max_pixels,
        downscale=full_size if saved is not None or show or aligned else engine.reduction,
    )
    with progress("recognising", count) as advance:
        for frame, faces in engine.faces(frames, aligned=aligned, expected=count):
            advance()
            if frame.image is None:
                advance.say(str(frame.error))
                failures += 1
                continue
            matches = matcher.match_faces(faces)
            record = recognition_record(frame.source, frame.size, faces, matches)
            results.add(record, *table_rows(record, label, matcher.threshold))
            if saved is not None or show:
                drawn = draw_matches(
                    frame.image,
                    faces,
                    matches,
                    label,
                    font_size=font_size,
                    show_distance=show_distance,
                )
                if saved is not None:
                    saved.save(frame.source, drawn)
                if show:
                    _show(frame.source, drawn)
    results.close()
    if saved is not None:
        saved.close()
        failures += saved.failures
    exit_with_failures(failures)


def table_rows(record: dict[str, Any], unknown: str, threshold: float) -> list[tuple[str, ...]]:
    """One row a face; a stranger's shows the threshold that the nearest person missed."""
    from facerec.faces import face_label

    if not record["faces"]:
        return [(record["image"], "(no face)", "", "", "", "")]
    return [
        (
            record["image"] if number == 0 else "",
            face_label(face["name"], unknown),
            _number(face["similarity"]),
            _distance(face, threshold),
            percent(face["probability"]),
            " ".join(f"{side:.0f}" for side in face["box"]),
        )
        for number, face in enumerate(record["faces"])
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _distance(face: dict[str, Any], threshold: float) -> str:
    distance = face["distance"]
    if face["name"] is None and distance is not None and distance > threshold:
        return f"{distance:.4f} > {threshold:.4f}"
    return _number(distance)


def draw_matches(
    image: Image,
    faces: Sequence[Face],
    matches: Sequence[Match],
    unknown: str,
    *,
    font_size: int | None = None,
    show_distance: bool = False,
) -> Image:
    """A copy of the image with a box and a label on each face."""
    from facerec.faces import face_label
    from facerec.imaging.draw import Label, annotate

    labels = []
    for face, match in zip(faces, matches, strict=True):
        text = face_label(match.name, unknown)
        if show_distance and match.nearest:
            text = f"{text} {match.nearest.distance:.3f} {percent(match.probability)}".rstrip()
        labels.append(Label(face.box, text, known=match.name is not None))
    return annotate(image, labels, font_size=font_size)


def _show(title: str, drawn: Image) -> None:
    import cv2

    cv2.imshow(title, drawn[:, :, ::-1])
    cv2.waitKey(0)
    cv2.destroyWindow(title)


def _require_display() -> None:
    if not has_display():
        raise MissingError("--show: no display to show a window on; use --save DIR")
