"""`facerec cleanup`: find what is wrong in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from facerec.cli.console import Results, exit_with_failures, progress, say
from facerec.cli.options import Batch, Json, ProfileName, Settings, Workers, load_profile
from facerec.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerec.card import ModelCard
    from facerec.cleanup.findings import Finding
    from facerec.cleanup.photos import Photos
    from facerec.cleanup.plan import Placement
    from facerec.cleanup.survey import Found
    from facerec.profile import CleanupSection, Profile

_DEFAULT = "run"
_GALLERY_SUFFIXES = {".h5", ".hdf5"}


class _RunsByDefault(TyperGroup):
    """`facerec cleanup DIRTY` is `facerec cleanup run DIRTY`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunsByDefault, no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@app.callback()
def cleanup() -> None:
    """Find what is wrong in a data set: `facerec cleanup DIRTY` is `facerec cleanup run DIRTY`."""


@app.command()
def run(
    dirty: Annotated[
        Path, typer.Argument(metavar="DIRTY", help="A folder per person, or a gallery (.h5).")
    ],
    clean: Annotated[Path, typer.Option(metavar="DIR", help="What is kept.")] = Path("clean"),
    dirt: Annotated[Path, typer.Option(metavar="DIR", help="The rest.")] = Path("dirt"),
    report: Annotated[
        Path, typer.Option(metavar="DIR", help="Manifest, findings and index.html.")
    ] = Path("report"),
    means: Annotated[
        str, typer.Option("--by", metavar="hardlink|copy|symlink", help="How images are placed.")
    ] = "hardlink",
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The images are aligned faces: detect nothing.")
    ] = False,
    affinity: Annotated[
        str | None, typer.Option(metavar="cosine|euclidean", help="Distance. [cleanup.metric]")
    ] = None,
    linkage: Annotated[
        str | None,
        typer.Option(metavar="average|complete|single|ward", help="[cleanup.linkage]"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--distance-threshold", help="Clusters this far apart stay apart. [cleanup.threshold]"
        ),
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Choose the threshold from the data, and say why.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; write nothing.")
    ] = False,
    workers: Workers = None,
    batch: Batch = None,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Find what is wrong, and leave a clean and a dirty tree, a report and a way back.

    Nothing is changed in DIRTY. An interrupted run is finished by the same command; what is
    there is taken back by `facerec cleanup undo report/manifest.jsonl`.
    """
    loaded = load_profile(
        profile,
        settings,
        cleanup__metric=affinity,
        cleanup__linkage=linkage,
        cleanup__threshold=threshold,
        runtime__workers=workers,
        runtime__batch=batch,
    )
    if means not in ("hardlink", "copy", "symlink"):
        raise UsageError(f"--by {means}: choose hardlink, copy or symlink")
    if loaded.cleanup.linkage == "ward" and loaded.cleanup.metric != "euclidean":
        raise UsageError("--linkage ward needs --affinity euclidean")
    if auto and (threshold is not None or loaded.cleanup.linkage != "average"):
        raise UsageError("--auto chooses the threshold itself, for --linkage average")
    if not dirty.exists():
        raise UsageError(f"{dirty}: no such folder or gallery")
    _keep_apart(dirty, clean, dirt, report)

    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        photos, findings = _look(dirty, Path(scratch) if dry_run else report, aligned, auto, loaded)
        from facerec.cleanup.plan import plan

        placements = plan(_images(photos), findings, {})
        if not dry_run:
            placed = _carry_out(clean, dirt, report, means, placements)
            _write_report(report, photos, findings)
        else:
            placed = 0
    results = Results("finding", "person", "images", "confidence", "suggestion", as_json=as_json)
    for finding in sorted(findings, key=lambda found: (found.kind.value, -found.confidence)):
        shown = finding.files[0] if len(finding.files) == 1 else f"{len(finding.files)} images"
        row = (finding.kind.value, finding.person, shown, f"{finding.confidence:.2f}",
               f"to {finding.target}" if finding.target else "")  # fmt: skip
        results.add(finding.to_record(), row)
    results.close(title=str(dirty))
    kept = sum(placement.decision == "clean" for placement in placements)
    say(
        f"{dirty}: {kept} images {'would be ' if dry_run else ''}clean, "
        f"{len(placements) - kept} dirt, {len(findings)} findings"
        + ("" if dry_run else f"; look at {report / 'index.html'}")
    )
    unreadable = sum(placement.reason == "unreadable" for placement in placements)
    exit_with_failures(unreadable + placed)


@app.command()
def undo(
    manifest: Annotated[Path, typer.Argument(help="report/manifest.jsonl of a cleanup.")],
) -> None:
    """Take back all that a cleanup placed; what was changed since is left and named."""
    from facerec.cleanup import trees

    left = trees.undo(manifest)
    for path in left:
        say(f"{path}: left there: it was changed, or its original is gone")
    say(f"{manifest}: undone")
    exit_with_failures(len(left))


@app.command()
def apply(
    decisions: Annotated[Path, typer.Argument(help="decisions.json, as the report exports it.")],
    report: Annotated[
        Path, typer.Option(metavar="DIR", help="The cleanup's report folder.")
    ] = Path("report"),
) -> None:
    """Carry out what was decided in the report: accepted and rejected findings."""
    from facerec.cleanup import trees
    from facerec.cleanup.plan import plan
    from facerec.cleanup.records import read_decisions, read_findings

    path = report / trees.MANIFEST
    manifest = trees.Manifest.read(path)
    findings = read_findings(report)
    chosen = read_decisions(decisions, findings)
    images = [(place.path, place.sha256, place.file) for place in manifest.placements]
    placements = plan(images, findings, chosen)
    with progress("moving", len(placements)) as advance:
        problems = trees.change(path, trees.renew(manifest, placements), advance)
    for problem in problems:
        say(problem)
    before = {manifest.target(place) for place in manifest.placements}
    moved = sum(manifest.target(place) not in before for place in placements)
    say(f"{decisions}: {len(chosen)} decisions, {moved} images changed places")
    exit_with_failures(len(problems))


def _keep_apart(dirty: Path, *outputs: Path) -> None:
    places = [dirty.resolve(), *(output.resolve() for output in outputs)]
    for output, place in zip(outputs, places[1:], strict=True):
        if dirty.is_dir() and place.is_relative_to(places[0]):
            raise UsageError(f"{output}: lies inside {dirty}; choose a folder elsewhere")
        if any(place != other and place.is_relative_to(other) for other in places[1:]):
            raise UsageError(f"{output}: lies inside another output; choose a folder elsewhere")
    if len(set(places[1:])) < len(outputs):
        raise UsageError("--clean, --dirt and --report are three different folders")


def _look(
    dirty: Path, report: Path, aligned: bool, auto: bool, profile: Profile
) -> tuple[Photos, list[Finding]]:
    items, known = _gallery_items(dirty) if _is_gallery(dirty) else (_folder_items(dirty), None)
    if not items:
        raise InputError(f"{dirty}: no images there")
    from facerec.cleanup.examine import examine
    from facerec.cleanup.photos import collect
    from facerec.cleanup.store import Store
    from facerec.cleanup.survey import survey, survey_known

    paths = [Path(path) for _, path, _ in items]
    with progress("looking", len(paths)) as advance:

        def observe(problem: str) -> None:
            advance()
            if problem:
                advance.say(problem)

        found: list[Found]
        if known is not None:
            card = known.card
            with Store(report / "survey.sqlite", f"gallery {card.fingerprint()}") as store:
                found = survey_known(paths, known.faces, card, profile.runtime, store, observe)
        else:
            from facerec.engine import Engine

            engine = Engine.from_profile(profile)
            card = engine.card
            how = "aligned" if aligned else profile.detector.model_dump_json()
            with Store(report / "survey.sqlite", f"{card.fingerprint()} {how}") as store:
                found = survey(
                    paths, engine, profile.runtime, store, aligned=aligned, observe=observe
                )
    photos = collect(items, found, card.embedding_size)
    section = profile.cleanup
    if auto:
        section = section.model_copy(update={"threshold": _choose_threshold(photos, card, section)})
    return photos, examine(photos, section)


def _choose_threshold(photos: Photos, card: ModelCard, section: CleanupSection) -> float:
    from facerec.card import convert_distance
    from facerec.cleanup.threshold import choose_threshold

    choice = choose_threshold(photos, section.metric)
    calibrated = card.calibration.thresholds if card.calibration else {}
    known = ", ".join(
        f"{convert_distance(distance, card.metric, section.metric):.4f} at FAR {rate}"
        for rate, distance in calibrated.items()
    )
    say(
        f"threshold {choice.threshold:.4f}: {choice.own:.1%} of images are farther from the rest "
        f"of their folder, {choice.other:.1%} nearer to a random other one"
        + (f"; the card's for two images: {known}" if known else "")
    )
    return choice.threshold


def _is_gallery(dirty: Path) -> bool:
    return dirty.is_file() and dirty.suffix.lower() in _GALLERY_SUFFIXES


def _folder_items(dirty: Path) -> list[tuple[str, str, str]]:
    """Person, path and place in the tree of each image."""
    from facerec.imaging.sources import list_people

    if not dirty.is_dir():
        raise UsageError(f"{dirty}: neither a folder nor a gallery (.h5)")
    return [
        (person, str(path), path.relative_to(dirty).as_posix())
        for person, path in list_people([str(dirty)], name=None, stdin=None, null=False)
        if isinstance(path, Path) and path.is_file()
    ]


class _Known:
    """Faces of a gallery and the card of the model that embedded them."""

    def __init__(self, card: Any, faces: list[Any]) -> None:
        self.card = card
        self.faces = faces


def _gallery_items(path: Path) -> tuple[list[tuple[str, str, str]], _Known]:
    """As `_folder_items`, from a gallery; of a photo with several faces, the surest."""
    from facerec.faces import Face
    from facerec.gallery import Gallery

    gallery = Gallery.open(path)
    rows, people = gallery.entries, gallery.people
    best: dict[tuple[int, str], int] = {}
    for row in range(len(rows)):
        key = (int(rows.person[row]), str(rows.source[row]))
        if key not in best or rows.score[row] > rows.score[best[key]]:
            best[key] = row
    items, faces, taken = [], [], set()
    for (person, source), row in best.items():
        name, number = Path(source).name, 2
        while (file := f"{people[person]}/{name}").casefold() in taken:
            name, number = f"{Path(source).stem}-{number}{Path(source).suffix}", number + 1
        taken.add(file.casefold())
        items.append((people[person], str(path.parent / source), file))
        faces.append(
            Face(rows.box[row], float(rows.score[row]), rows.landmarks[row], rows.embeddings[row])
        )
    return items, _Known(gallery.card, faces)


def _images(photos: Photos) -> list[tuple[str, str, str]]:
    absolute = (str(Path(path).absolute()) for path in photos.path)
    return list(zip(absolute, photos.sha256.tolist(), photos.file.tolist(), strict=True))


def _carry_out(
    clean: Path, dirt: Path, report: Path, means: Any, placements: Sequence[Placement]
) -> int:
    """Write the manifest and place the images; returns how many could not be."""
    from facerec.cleanup import trees

    path = report / trees.MANIFEST
    if path.exists():
        manifest = trees.Manifest.read(path)
        places = (str(clean.absolute()), str(dirt.absolute()), means)
        if (manifest.clean, manifest.dirt, manifest.means) != places or list(
            manifest.placements
        ) != list(placements):
            raise UsageError(
                f"{path}: another cleanup, or one that was changed since; take it back with: "
                f"facerec cleanup undo {path}, or choose another --report"
            )
    else:
        manifest = trees.prepare(clean, dirt, means, placements)
        manifest.write(path)
    with progress("placing", len(placements)) as advance:
        problems = trees.place_all(manifest, advance)
    for problem in problems:
        say(problem)
    return len(problems)


def _write_report(report: Path, photos: Photos, findings: Sequence[Finding]) -> None:
    from facerec.cleanup.page import write_page
    from facerec.cleanup.records import write_findings

    write_findings(report, findings)
    write_page(report, photos, findings)
