"""`facerec evaluate` on pairs: measure each model, compare, print."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerec.cli.console import Results, print_json, progress, say, waiting
from facerec.cli.evaluation.calibration import check_calibration, check_owner, write_calibration
from facerec.cli.evaluation.models import (
    Measured,
    finish,
    image_counts,
    model_names,
    report_missing,
    write_scalars,
)
from facerec.cli.evaluation.options import Run
from facerec.cli.evaluation.reports import write_pair_report
from facerec.cli.evaluation.tables import PAIR_ROWS, cell, print_records
from facerec.cli.loading import load_engine
from facerec.errors import FacerecError, UsageError

if TYPE_CHECKING:
    from facerec.engine.engine import Engine
    from facerec.evaluation.protocols.pairs import PairProtocol
    from facerec.evaluation.run import Setting
    from facerec.imaging.archives import Source


def evaluate_pairs(
    protocol_name: str, data: Path, pairs: Path | None, run: Run, *, calibrate: Path | None,
    groups: Path | None, fit_weights: bool,
) -> None:  # fmt: skip
    run.check()
    if calibrate is not None:
        check_calibration(calibrate, run)
    settings = run.profiles()
    if fit_weights and any(len(setting.profile.model.members()) < 2 for setting in settings):
        raise UsageError("--fit-weights needs several networks in model.name")
    from facerec.evaluation.groups import read_groups
    from facerec.evaluation.protocols.pairs import open_protocol
    from facerec.evaluation.thresholds import require_impostors
    from facerec.imaging.archives import locate

    by_group = read_groups(groups) if groups is not None else None
    with waiting(f"reading {data}"):
        protocol, source = open_protocol(
            protocol_name, data, pairs, settings[0].profile.data.person_level
        )
        files = locate(source, protocol.keys)
    if calibrate is not None:
        require_impostors(int((~protocol.same).sum()), protocol.name)
    measured = []
    for setting, name in zip(settings, model_names(settings), strict=True):
        engine = load_engine(setting.profile)
        if calibrate is not None:
            check_owner(calibrate, engine.card)
        measured.append(
            measure_pairs(
                engine, setting, name, protocol, source, files, by_group, fit_weights=fit_weights
            )
        )
    comparisons = compare(measured)
    refused = None if calibrate is None else calibrate_by(measured[0], calibrate)
    _print_pairs(measured, comparisons, run)
    write_scalars(run, protocol.name, [(one.name, one.record) for one in measured])
    if run.report is not None:
        with waiting("writing the report"):
            write_pair_report(run, protocol, source, files, measured, comparisons, settings)
    finish(
        run,
        [one.record["accuracy"] for one in measured],
        [one.embedded for one in measured],
        refused,
    )


def calibrate_by(measured: Measured, target: Path) -> FacerecError | None:
    """Write the thresholds that a result gives into a card, a model or a gallery; and the usual
    norms, if the card says that they mean something. See `write_calibration`."""
    from facerec.evaluation.cohort import measure_cohort
    from facerec.evaluation.thresholds import calibrate, measured_norms

    card, record, people = measured.card, measured.record, measured.people
    with waiting("comparing strangers"):
        cohort = None if people is None else measure_cohort(measured.embedded.vectors, people)
    if cohort is None:
        why = "its images name too few people, or all look alike to the model"
        calibrated = card.calibration is not None and card.calibration.cohort is not None
        told = "the probabilities stay those known" if calibrated else "no probabilities"
        say(f"{record['protocol']}: {told}, since {why}")
    calibration = calibrate(measured.result.curve, card.metric, record["protocol"], cohort)
    norms = measured_norms(card, measured.embedded.norms, record["protocol"])
    refused = write_calibration(target, card, calibration, norms)
    if refused is None:
        record["calibrated"] = str(target)
    return refused


def measure_pairs(
    engine: Engine, setting: Setting, name: str, protocol: PairProtocol, source: Source,
    files: Mapping[str, str], groups: Mapping[str, str] | None, *, fit_weights: bool = False,
) -> Measured:  # fmt: skip
    """Embed a protocol's images with one model and compare its pairs."""
    from facerec.evaluation.discard import discard_curve
    from facerec.evaluation.fusion import fit_weights as fit
    from facerec.evaluation.groups import group_figures
    from facerec.evaluation.reliability import held_out_reliability
    from facerec.evaluation.run import describe, embed_set
    from facerec.evaluation.verification import verification_record, verify

    started = time.monotonic()
    with progress(f"embedding with {name}", len(protocol.keys)) as advance:
        embedded = embed_set(
            engine, source, protocol.keys, files, setting, advance, select=protocol.select
        )
    report_missing(embedded)
    with waiting("comparing"):
        result = verify(embedded.vectors, protocol)
        table = group_figures(result, protocol, groups) if groups is not None else None
        figures = verification_record(result, engine.card.metric)
        fitted = fit(embedded.raw, engine.networks, protocol) if fit_weights else None
    record = {
        "protocol": protocol.name,
        "data": source.name,
        **describe(engine, setting),
        **image_counts(embedded),
        **figures,
    }
    if fitted is not None:
        record |= fitted.record([one.only_name for one in setting.profile.model.members()])
    if table is not None:
        record["by_group"] = table.record()
    people, discard, reliability = protocol.people, None, None
    if setting.quality:
        with waiting("holding people out"):
            discard = discard_curve(result, protocol, embedded.quality)
            reliability = held_out_reliability(embedded.vectors, protocol)
    if discard is not None:
        record["false_rejects_by_discard"] = discard.told()
    if reliability is not None:
        record["calibration_error"] = round(reliability.error, 4)
    record["seconds"] = round(time.monotonic() - started, 3)
    card = engine.card
    return Measured(name, card, embedded, result, record, table, people, discard, reliability)


def compare(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """McNemar's test of every two models on the same pairs."""
    from facerec.evaluation.significance import mcnemar

    comparisons = []
    for number, first in enumerate(measured):
        for second in measured[number + 1 :]:
            test = mcnemar(first.result.correct, second.result.correct)
            comparisons.append(
                {
                    "first": first.name,
                    "second": second.name,
                    "only_first_right": test.only_first,
                    "only_second_right": test.only_second,
                    "p_value": test.p_value,
                }
            )
    return comparisons


def _print_pairs(
    measured: Sequence[Measured], comparisons: Sequence[Mapping[str, Any]], run: Run
) -> None:
    print_records([(one.name, one.record) for one in measured], PAIR_ROWS, run)
    results = Results("group", "model", "pairs", "accuracy", "FAR", "TAR", as_json=run.as_json)
    if results.as_json:
        if comparisons:
            print_json({"comparisons": list(comparisons)})
        return
    for one in measured:
        if one.groups is not None:
            for group, figures in one.groups.record()["groups"].items():
                results.add({}, (group, one.name, *(cell(value) for value in figures.values())))
            results.add({}, ("gap", one.name, "", cell(one.record["by_group"]["gap"]), "", ""))
    results.close()
    results = Results("McNemar", "only first", "only second", "p", as_json=False)
    for test in comparisons:
        results.add(
            {},
            (
                f"{test['first']} and {test['second']}",
                str(test["only_first_right"]),
                str(test["only_second_right"]),
                f"{test['p_value']:.3g}",
            ),
        )
    results.close()
