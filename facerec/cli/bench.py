"""`facerec bench`: measure speed on this machine, and what a setting costs in accuracy."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.console import Results, progress, say
from facerec.cli.help import INPUT, MEASUREMENT, App
from facerec.cli.options import Json, ProfileOptions, argument, option, profile_options
from facerec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facerec.bench.timing import Advance, Measurement
    from facerec.profile.loading import Profile

app = App()

_LFW_IMAGES = 7701


class Part(str, Enum):
    DETECT = "detect"
    EMBED = "embed"
    PIPELINE = "pipeline"
    SEARCH = "search"
    TRAIN = "train"


@app.command(
    examples=[
        "facerec bench detect",
        "facerec bench --verify --data lfw.tar --pairs pairs.txt --set runtime.precision=int8",
    ]
)
@profile_options()
def bench(
    part: Annotated[
        Part | None,
        argument(help="What to time; without it all but train, which takes minutes."),
    ] = None,
    verify: Annotated[
        bool,
        option(
            "--verify",
            panel=MEASUREMENT,
            help="Measure LFW instead, in fp32 and as set, by the same thresholds; exit with 1 if "
            "the setting costs more than 0.05 points (int8: 0.1).",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        option(
            "--data",
            panel=INPUT,
            metavar="DIR|TAR|ZIP",
            help="Photos for pipeline (a folder); with --verify, LFW.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        option(
            "--pairs", panel=INPUT, metavar="FILE", help="LFW's pairs.txt.",
            default="found in --data",
        ),
    ] = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:  # fmt: skip
    """Time detection, embedding, the whole stream, search or training on this machine.

    Shares are of the machine's own measured peak (a matrix product, a copy in memory), or of the
    time that the stages take one after the other.
    """
    loaded = profile.load()
    if verify:
        if data is None or part is not None:
            raise UsageError("--verify needs LFW in --data, and no part to time")
        _verify(loaded, data, pairs, as_json)
        return
    if pairs is not None:
        raise UsageError("--pairs belongs to --verify")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: not a folder of photos")
    results = Results("part", "what", "ms", "a second", "of what", as_json=as_json)
    parts = [part] if part else [one for one in Part if one is not Part.TRAIN]
    with progress(f"timing {', '.join(one.value for one in parts)}", 100 * len(parts)) as advance:
        for one in parts:
            for found in _time(one, loaded, data, advance):
                share = "" if found.share is None else f"{100 * found.share:.0f} % of {found.of}"
                results.add(
                    {"bench": one.value, **found.to_record()},
                    (
                        one.value,
                        found.part,
                        f"{found.milliseconds:.3f} a {found.unit}",
                        f"{found.per_second:,.1f}",
                        share,
                    ),
                )
    results.close()


def _time(
    part: Part, profile: Profile, data: Path | None, advance: Advance
) -> Iterator[Measurement]:
    if part is Part.DETECT:
        from facerec.bench.stages import bench_detection

        yield from bench_detection(profile, advance)
    elif part is Part.EMBED:
        from facerec.bench.stages import bench_embedding

        yield from bench_embedding(profile, advance)
    elif part is Part.PIPELINE:
        from facerec.bench.pipeline import bench_pipeline

        yield from bench_pipeline(profile, data, advance)
    elif part is Part.SEARCH:
        from facerec.bench.search import bench_search

        yield from bench_search(profile, advance)
    else:
        from facerec.bench.training import bench_training

        yield from bench_training(profile, advance)


def _verify(profile: Profile, data: Path, pairs: Path | None, as_json: bool | None) -> None:
    from facerec.bench.verify import verify_setting

    with progress("embedding LFW twice", 2 * _LFW_IMAGES) as advance:
        verdict = verify_setting(profile, data, pairs, advance)
    results = Results(
        "setting", "LFW in fp32", "as set, same thresholds", "as set, its own", "may cost",
        as_json=as_json,
    )  # fmt: skip
    results.add(
        {
            "arithmetic": verdict.arithmetic,
            "fp32": verdict.before,
            "as_set": verdict.after,
            "as_set_own_thresholds": verdict.alone,
            "allowed": verdict.allowed,
            "accepted": verdict.accepted,
        },
        (
            verdict.arithmetic,
            f"{verdict.before:.4f} %",
            f"{verdict.after:.4f} %",
            f"{verdict.alone:.4f} %",
            f"{verdict.allowed} points",
        ),
    )
    results.close()
    if not verdict.accepted:
        say(
            f"{verdict.arithmetic} costs {verdict.before - verdict.after:.4f} points, more than "
            f"{verdict.allowed}; set runtime.precision to fp32"
        )
        raise typer.Exit(1)
