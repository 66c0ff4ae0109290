"""`facerec evaluate all`: several protocols, each model loaded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from facerec.cli.console import Results, print_json, say, waiting
from facerec.cli.evaluation.calibration import check_calibration, check_owner
from facerec.cli.evaluation.models import Measured, finish, model_names, write_scalars
from facerec.cli.evaluation.options import Run
from facerec.cli.evaluation.pairs import calibrate_by, compare, measure_pairs
from facerec.cli.evaluation.reports import MeasuredSet, write_sets_report
from facerec.cli.evaluation.tables import PAIR_ROWS, print_records
from facerec.cli.loading import load_engine
from facerec.errors import MissingError


def evaluate_sets(names: Sequence[str], run: Run, *, calibrate: Path | None) -> None:
    run.check()
    if calibrate is not None:
        check_calibration(calibrate, run)
    settings = run.profiles()
    from facerec.evaluation.protocols.pairs import open_protocol
    from facerec.evaluation.sets import find_sets
    from facerec.evaluation.thresholds import require_impostors
    from facerec.imaging.archives import locate

    profile = settings[0].profile
    found, missing = find_sets(names or profile.evaluate.sets, profile.download.out)
    if not found:
        raise MissingError("; ".join(missing) or "evaluate.sets names no set")
    for message in missing:
        say(message)
    opened = []
    for one in found:
        with waiting(f"reading {one.path}"):
            protocol, source = open_protocol(one.protocol, one.path, None)
            opened.append(MeasuredSet(protocol, source, locate(source, protocol.keys), []))
    if calibrate is not None:
        first = opened[0].protocol
        require_impostors(int((~first.same).sum()), first.name)
    for setting, model in zip(settings, model_names(settings), strict=True):
        engine = load_engine(setting.profile)
        if calibrate is not None:
            check_owner(calibrate, engine.card)
        for one, measured in zip(found, opened, strict=True):
            own = dataclasses.replace(setting, aligned=setting.aligned or one.aligned)
            measured.models.append(
                measure_pairs(
                    engine, own, model, measured.protocol, measured.source, measured.files, None
                )
            )
    refused = None if calibrate is None else calibrate_by(opened[0].models[0], calibrate)
    every = [model for measured in opened for model in measured.models]
    _print_sets(opened, every, run)
    for measured in opened:
        records = [(model.name, model.record) for model in measured.models]
        write_scalars(run, measured.protocol.name, records)
    if run.report is not None:
        with waiting("writing the report"):
            write_sets_report(run, opened, settings)
    accuracies = [model.record["accuracy"] for model in every]
    finish(run, accuracies, [model.embedded for model in every], refused)
    if missing:
        raise MissingError(f"{len(missing)} of the sets are not there: {'; '.join(missing)}")


def _print_sets(opened: Sequence[MeasuredSet], every: Sequence[Measured], run: Run) -> None:
    models = opened[0].models
    records = [
        (measured.column(model), model.record) for measured in opened for model in measured.models
    ]
    print_records(records, PAIR_ROWS, run, ", ".join(model.name for model in models))
    tests = [
        {"protocol": measured.protocol.name, **test}
        for measured in opened
        for test in compare(measured.models)
    ]
    if tests and Results(as_json=run.as_json).as_json:
        print_json({"comparisons": tests})
