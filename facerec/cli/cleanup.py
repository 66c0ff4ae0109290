"""`facerec cleanup`: find what is wrong in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from facerec.cli.completing import complete_folder_or_gallery, complete_subfolder, one_of
from facerec.cli.console import Results, exit_with_failures, progress, say, waiting
from facerec.cli.help import (
    CLUSTERING,
    INPUT,
    OUTPUT,
    App,
    Group,
    Rows,
    parameter_panels,
)
from facerec.cli.options import (
    AFFINITY,
    BATCH,
    CHIP_TEMPLATE,
    CLEAN,
    DETECTOR,
    DIRT,
    DISTANCE_THRESHOLD,
    EXACT_LIMIT,
    LINKAGE,
    PERSON_LEVEL,
    REPORT,
    WORKERS,
    Aligned,
    Json,
    ProfileOptions,
    argument,
    option,
    profile_options,
)
from facerec.errors import UsageError
from facerec.files.text import counted
from facerec.files.writing import check_output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerec.card import ModelCard
    from facerec.cleanup.distinct import Distinct
    from facerec.cleanup.findings import Finding
    from facerec.cleanup.label_noise import Again
    from facerec.cleanup.photos import Photos
    from facerec.cleanup.plan import Placement
    from facerec.profile.schema import CleanupSection

_DEFAULT = "run"


class _RunsByDefault(Group):
    """`facerec cleanup DIRTY` is `facerec cleanup run DIRTY`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def panels(self, ctx: Any) -> dict[str, Rows]:
        """The subcommands, and the options of the one that runs by default."""
        return {"Commands": self.summaries(ctx), **parameter_panels(self.commands[_DEFAULT], ctx)}

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        run = self.commands[_DEFAULT]
        if incomplete.startswith("-"):
            return list(run.shell_complete(ctx, incomplete))
        return [
            *super().shell_complete(ctx, incomplete),
            *run.params[0].shell_complete(ctx, incomplete),
        ]


app = App(
    cls=_RunsByDefault,
    no_args_is_help=True,
    examples=[
        "facerec cleanup people/ --dry-run",
        "facerec cleanup people/ --clean clean/ --dirt dirt/ --report report/",
    ],
)

_MEANS = ("hardlink", "copy", "symlink")


@app.callback()
def cleanup() -> None:
    """Find what is wrong in a data set: `facerec cleanup DIRTY` is `facerec cleanup run DIRTY`."""


@app.command(
    examples=[
        "facerec cleanup people/ --dry-run",
        "facerec cleanup pile/ --unlabelled --exclude lfw.tar",
    ]
)
@profile_options(
    CLEAN,
    DIRT,
    REPORT,
    PERSON_LEVEL,
    AFFINITY,
    LINKAGE,
    DISTANCE_THRESHOLD,
    EXACT_LIMIT,
    DETECTOR,
    CHIP_TEMPLATE,
    WORKERS,
    BATCH,
)
def run(
    dirty: Annotated[
        Path,
        argument(
            "DIRTY",
            help="A folder per person, or a gallery (.h5).",
            autocompletion=complete_folder_or_gallery,
        ),
    ],
    means: Annotated[
        str,
        option(
            "--by",
            panel=OUTPUT,
            metavar="|".join(_MEANS),
            help="How images are placed; an edit of a link changes the original too.",
            autocompletion=one_of(*_MEANS),
        ),
    ] = "hardlink",
    aligned: Aligned = False,
    auto: Annotated[
        bool,
        option(
            "--auto", panel=CLUSTERING, help="Choose the threshold anew, whatever the profile has."
        ),
    ] = False,
    unlabelled: Annotated[
        bool,
        option("--unlabelled", panel=INPUT, help="DIRTY is a pile of photos: group it by person."),
    ] = False,
    exclude: Annotated[
        list[Path] | None,
        option(
            "--exclude",
            panel=INPUT,
            metavar="PATH",
            help="An evaluation set (folder, tar, zip, image) to find overlap with; repeatable.",
        ),
    ] = None,
    plot: Annotated[
        str | None,
        option(
            "--plot",
            panel=OUTPUT,
            metavar="PERSON",
            help="Draw this person's dendrogram and map into the report folder.",
            autocompletion=complete_subfolder,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        option("--dry-run", panel=OUTPUT, help="Only say what would be done; write nothing."),
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Find what is wrong, and leave a clean and a dirty tree, a report and a way back.

    Nothing is changed in DIRTY. An interrupted run is finished by the same command; what is
    there is taken back by `facerec cleanup undo report/manifest.jsonl`.
    """
    loaded = profile.load().looking_again("turns")
    threshold = profile.given(DISTANCE_THRESHOLD)
    section = loaded.cleanup
    clean, dirt, report = section.clean, section.dirt, section.report
    if means not in _MEANS:
        raise UsageError(f"--by {means}: choose hardlink, copy or symlink")
    if plot is not None and dry_run:
        raise UsageError("--plot draws an image, --dry-run nothing; leave out one")
    for path in (dirty, *(exclude or ())):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    _check_linkage(section, threshold, auto, unlabelled)
    _keep_apart(dirty, clean, dirt, report)
    if not dry_run:
        _require_room(clean, dirt, report)

    import tempfile

    with waiting("loading models"):
        from facerec.cli.cleanup_inputs import look_at_excluded, look_at_people, second_look
    from facerec.cleanup.plan import plan
    from facerec.parallel.ranks import device_setting, process_group, rank

    with tempfile.TemporaryDirectory() as scratch, process_group(loaded.runtime.device) as device:
        seen = Path(scratch) if dry_run else report
        setting = device_setting(loaded.runtime.device, device)
        runtime = loaded.runtime.model_copy(update={"device": setting})
        loaded = loaded.model_copy(update={"runtime": runtime})
        photos, card, failures = look_at_people(
            dirty, seen, loaded, aligned=aligned, pile=unlabelled, wanted=plot
        )
        avoided: list[Photos] = []
        if exclude:
            avoided, missed = look_at_excluded(exclude, card, seen, loaded, aligned=aligned)
            failures += missed
        distinct = None if unlabelled else _find_distinct(photos, section)
        different = photos if distinct is None else distinct.photos(photos)
        chosen, reason = _choose_threshold(different, card, section, threshold, auto, unlabelled)
        again = second_look(dirty, photos, card, seen, loaded, aligned=aligned)
        photos, findings = _find(photos, card, section, chosen, distinct, avoided, again)
        if rank() > 0:
            return  # rank 0 has gathered all findings and writes them
    if reason:
        say(f"threshold {chosen:.4f}: {reason}")
    if plot is not None:
        from facerec.cleanup.drawing import draw_person

        say(f"{draw_person(report, plot, photos, findings, section, chosen)}: drawn")
    placements = plan(photos.images(), findings, {})
    if not dry_run:
        failures += _carry_out(clean, dirt, report, means, placements)
        _write_report(report, photos, findings)
    _print_findings(findings, dirty, as_json)
    kept = sum(placement.decision == "clean" for placement in placements)
    say(
        f"{dirty}: {counted(kept, 'image')} {'would be ' if dry_run else ''}clean, "
        f"{len(placements) - kept} dirt, {counted(len(findings), 'finding')}"
        + ("" if dry_run else f"; look at {report / 'index.html'}")
    )
    if not dry_run:
        _warn_of_links(report)
    unreadable = sum(placement.reason == "unreadable" for placement in placements)
    exit_with_failures(unreadable + failures)


@app.command(examples=["facerec cleanup undo report/manifest.jsonl"])
@profile_options(REPORT)
def undo(
    manifest: Annotated[
        Path | None,
        argument("[MANIFEST]", help="A cleanup's manifest. [default: the one in --report]"),
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Take back all that a cleanup placed; what was changed since is left and named."""
    from facerec.cleanup import trees

    manifest = manifest or profile.load().cleanup.report / trees.MANIFEST
    with progress("removing", len(trees.Manifest.read(manifest).placements)) as advance:
        left = trees.undo(manifest, advance)
    for path in left:
        say(f"{path}: {trees.LEFT}")
    remedy = "undo again once the originals are back, or after moving away what was changed"
    say(
        f"{manifest}: {counted(len(left), 'image')} left; {remedy}"
        if left
        else f"{manifest}: undone"
    )
    exit_with_failures(len(left))


@app.command(examples=["facerec cleanup apply decisions.json --report report/"])
@profile_options(REPORT)
def apply(
    decisions: Annotated[Path, argument(help="decisions.json, as the report exports it.")],
    *,
    profile: ProfileOptions,
) -> None:
    """Carry out what was decided in the report: accepted and rejected findings."""
    from facerec.cleanup import trees
    from facerec.cleanup.findings import read_decisions, read_findings
    from facerec.cleanup.plan import plan

    report = profile.load().cleanup.report
    path = report / trees.MANIFEST
    manifest = trees.Manifest.read(path)
    findings = read_findings(report)
    chosen = read_decisions(decisions, findings)
    # An image that could not be removed from where it was is placed twice.
    images = dict.fromkeys((place.path, place.sha256, place.file) for place in manifest.placements)
    placements = plan(list(images), findings, chosen)
    with progress("moving", len(placements)) as advance:
        problems = trees.change(path, trees.renew(manifest, placements), advance)
    for problem in problems:
        say(problem)
    stuck = [it for it in findings if chosen.get(it.id) and it.kind.moves and not it.moves]
    if stuck:
        say(
            f"{counted(len(stuck), 'accepted finding')} moved nothing: people are named by their "
            "files, which are not renamed"
        )
    before = {manifest.target(place) for place in manifest.placements}
    moved = sum(manifest.target(place) not in before for place in placements)
    say(
        f"{decisions}: {counted(len(chosen), 'decision')}, {counted(moved, 'image')} changed places"
    )
    _warn_of_links(report)
    exit_with_failures(len(problems))


def _warn_of_links(report: Path) -> None:
    """Say what an edit in the two trees would change."""
    from facerec.cleanup import trees

    manifest = trees.Manifest.read(report / trees.MANIFEST)
    if manifest.means == "copy":
        return
    where, copies = f"{manifest.clean}/ and {manifest.dirt}/", trees.count_copies(manifest)
    if copies:
        say(f"{where}: no link could be made of {counted(copies, 'image')}, which became copies")
    if copies < len(manifest.placements):
        say(
            f"{where} hold {manifest.means}s: an edit of an image there changes the original; "
            "--by copy makes copies"
        )


def _check_linkage(
    section: CleanupSection, threshold: float | None, auto: bool, unlabelled: bool
) -> None:
    if section.linkage == "ward" and section.metric != "euclidean":
        raise UsageError("--linkage ward needs --affinity euclidean")
    if auto and (threshold is not None or unlabelled):
        raise UsageError("--auto chooses the threshold itself, for folders of people")
    if (auto or unlabelled) and section.linkage != "average":
        raise UsageError(f"--{'auto' if auto else 'unlabelled'} is for --linkage average")


def _keep_apart(dirty: Path, *outputs: Path) -> None:
    places = [dirty.resolve(), *(output.resolve() for output in outputs)]
    for output, place in zip(outputs, places[1:], strict=True):
        if dirty.is_dir() and place.is_relative_to(places[0]):
            raise UsageError(f"{output}: lies inside {dirty}; choose a folder elsewhere")
        if any(place != other and place.is_relative_to(other) for other in places[1:]):
            raise UsageError(f"{output}: lies inside another output; choose a folder elsewhere")
    if len(set(places[1:])) < len(outputs):
        raise UsageError("--clean, --dirt and --report are three different folders")


def _require_room(clean: Path, dirt: Path, report: Path) -> None:
    """Refuse before the work what would be refused after it, and folders that hold other things."""
    from facerec.cleanup import trees

    for folder in (clean, dirt, report):
        check_output_folder(folder)
    if trees.has_manifest(report):
        return
    trees.require_empty(clean)
    trees.require_empty(dirt)


def _print_findings(findings: Sequence[Finding], dirty: Path, as_json: bool | None) -> None:
    columns = ["finding", "person", "images", "confidence", "suggestion"]
    if not any(finding.suggestion for finding in findings):
        columns.pop()
    results = Results(*columns, as_json=as_json, least=("confidence",))
    for finding in sorted(findings, key=lambda found: (found.kind.value, -found.confidence)):
        shown = finding.files[0] if len(finding.files) == 1 else f"{len(finding.files)} images"
        row = (finding.kind.value, finding.person, shown, f"{finding.confidence:.2f}",
               finding.suggestion)  # fmt: skip
        results.add(finding.to_record(), row[: len(columns)])
    results.close(title=str(dirty))


def _choose_threshold(
    photos: Photos, card: ModelCard, section: CleanupSection, given: float | None, auto: bool,
    unlabelled: bool,
) -> tuple[float, str]:  # fmt: skip
    """The threshold, and why if it was not given."""
    from facerec.cleanup.threshold import calibrated_threshold, choose_threshold, distance_at

    given = section.threshold if given is None and not auto and not unlabelled else given
    if given is not None:
        return given, ""
    if not unlabelled:
        # Measured on mean cosines, which average linkage compares.
        measured = section.linkage == "average"
        choice = (
            choose_threshold(photos, card, section.metric) if measured
            else calibrated_threshold(card, section.metric)
        )  # fmt: skip
        return choice.threshold, choice.reason
    distance = distance_at(card, section.group_far, section.metric)
    if not distance:
        raise UsageError(
            f"{card.name} is not calibrated at two false-accept rates; give --distance-threshold"
        )
    return distance, f"the card's for two images, extended to FAR {section.group_far:g}"


def _find_distinct(photos: Photos, section: CleanupSection) -> Distinct:
    from facerec.cleanup.distinct import find_distinct
    from facerec.parallel.products import single_threaded_blas
    from facerec.parallel.ranks import shard

    steps = len(shard(range(len(photos.embedded()))))
    with single_threaded_blas(), progress("looking for copies", steps) as advance:
        return find_distinct(photos, section, advance)


def _find(
    photos: Photos, card: ModelCard, section: CleanupSection, threshold: float,
    distinct: Distinct | None, avoided: Sequence[Photos], again: Again | None,
) -> tuple[Photos, list[Finding]]:  # fmt: skip
    """The photos by person, and everything found on them; `distinct`: None in a pile."""
    from facerec.cleanup import unlabelled as pile
    from facerec.cleanup.examine import PASSES, examine
    from facerec.cleanup.overlap import find_overlap
    from facerec.cleanup.threshold import same_person_cosine
    from facerec.parallel.products import single_threaded_blas
    from facerec.parallel.ranks import shard

    passes = (pile.PASSES if distinct is None else PASSES) + len(avoided)
    steps = passes * len(shard(range(len(photos.embedded()))))
    with single_threaded_blas(), progress("comparing", steps) as advance:
        if distinct is None:
            photos, findings = pile.group(photos, section, threshold, advance)
        else:
            limit = same_person_cosine(card)
            findings = examine(
                photos, section, threshold, advance,
                same_person=limit, again=again, distinct=distinct,
            )  # fmt: skip
        overlap = [
            finding for excluded in avoided for finding in find_overlap(photos, excluded, advance)
        ]
    # An image in two evaluation sets is one finding.
    return photos, [*findings, *{finding.id: finding for finding in reversed(overlap)}.values()]


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
    from facerec.cleanup.findings import write_findings
    from facerec.cleanup.page import write_page

    write_findings(report, findings)
    with progress("writing the report", len({finding.person for finding in findings})) as advance:
        write_page(report, photos, findings, advance)
