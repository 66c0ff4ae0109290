"""Content of an evaluation's report page: tables, ROC, DET and CMC charts, hardest pairs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facerec.cli.console import say
from facerec.cli.evaluation.options import Run
from facerec.cli.evaluation.tables import PAIR_ROWS, SEARCH_ROWS, cell, table_rows
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.cli.evaluation.models import Measured
    from facerec.evaluation.protocols.pairs import PairProtocol
    from facerec.evaluation.run import Setting
    from facerec.evaluation.verification import Verification
    from facerec.imaging.archives import Source


@dataclass(frozen=True)
class MeasuredSet:
    """A protocol, its images, and what each model made of them.

    Attributes:
        files: the file of each image that was found.
        models: in the order of the command line.
    """

    protocol: PairProtocol
    source: Source
    files: Mapping[str, str]
    models: list[Measured]

    def column(self, model: Measured) -> str:
        """What tables call a model's figures on this set."""
        name = self.protocol.name
        return name if len(self.models) == 1 else f"{name}, {model.name}"


def write_sets_report(run: Run, sets: Sequence[MeasuredSet], settings: Sequence[Setting]) -> None:
    """One page over several sets; figures, curves and errors of each."""
    from facerec.evaluation.report.hardest import hardest_pairs, thumbnail
    from facerec.evaluation.report.page import Page, Table

    results, records, hardest, pictures = {}, [], {}, {}
    max_pixels = settings[0].profile.runtime.max_pixels
    for one in sets:
        prefix = f"{one.protocol.name}: "
        for model in one.models:
            column = one.column(model)
            results[column] = model.result
            records.append(model.record)
            pairs = hardest_pairs(model.result, one.protocol, model.embedded.missing)
            # Two sets may name different images alike.
            hardest[column] = [
                replace(pair, first=prefix + pair.first, second=prefix + pair.second)
                for pair in pairs
            ]
            for key in dict.fromkeys(key for pair in pairs for key in (pair.first, pair.second)):
                pictures[prefix + key] = thumbnail(one.source, one.files[key], max_pixels)
    tables = [
        Table("Figures", ("", *results), table_rows(records, PAIR_ROWS)),
        *_missing_table([model for one in sets for model in one.models]),
    ]
    models = [model.name for model in sets[0].models]
    _write_report(
        run,
        Page(
            title=f"{', '.join(one.protocol.name for one in sets)}: {', '.join(models)}",
            note=f"{sum(len(one.protocol.pairs) for one in sets)} pairs of "
            f"{counted(len(sets), 'set')}",
            tables=tables,
            charts=_pair_charts(results)
            | _held_out_charts({one.column(model): model for one in sets for model in one.models}),
            hardest=hardest,
            pictures=pictures,
            run=_how_it_was_run(settings, [model.card for model in sets[0].models]),
        ),
    )


def write_pair_report(
    run: Run, protocol: PairProtocol, source: Source, files: Mapping[str, str],
    measured: Sequence[Measured], comparisons: Sequence[Mapping[str, Any]],
    settings: Sequence[Setting],
) -> None:  # fmt: skip
    from facerec.evaluation.report.hardest import hardest_pairs, thumbnail
    from facerec.evaluation.report.page import Page, Table

    results = {one.name: one.result for one in measured}
    hardest = {
        one.name: hardest_pairs(one.result, protocol, one.embedded.missing) for one in measured
    }
    shown = dict.fromkeys(
        key for pairs in hardest.values() for pair in pairs for key in (pair.first, pair.second)
    )
    max_pixels = settings[0].profile.runtime.max_pixels
    tables = [
        Table("Figures", ("", *results), table_rows([one.record for one in measured], PAIR_ROWS)),
        *(_group_report(one) for one in measured if one.groups is not None),
    ]
    if comparisons:
        rows = [[cell(value) for value in test.values()] for test in comparisons]
        columns = ("first", "second", "only first right", "only second right", "p")
        tables.append(Table("McNemar's test", columns, rows))
    tables += _missing_table(measured)
    _write_report(
        run,
        Page(
            title=f"{protocol.name}: {', '.join(results)}",
            note=f"{counted(len(protocol.pairs), 'pair')} of "
            f"{counted(len(protocol.keys), 'image')} from {source.name}",
            tables=tables,
            charts=_pair_charts(results) | _held_out_charts({one.name: one for one in measured}),
            hardest=hardest,
            pictures={key: thumbnail(source, files[key], max_pixels) for key in shown},
            run=_how_it_was_run(settings, [one.card for one in measured]),
        ),
    )


def _pair_charts(results: Mapping[str, Verification]) -> dict[str, str]:
    from facerec.evaluation.report.charts import as_svg, det_figure, histogram_figure, roc_figure

    curves = {name: result.curve for name, result in results.items()}
    return {
        "ROC: the lowest FAR drawn is one accepted impostor": as_svg(roc_figure(curves), "ROC"),
        "DET: no error is drawn as half of one": as_svg(det_figure(results), "DET"),
        **{
            f"Similarities of {name}": as_svg(histogram_figure(result), "Score histogram")
            for name, result in results.items()
        },
    }


def _held_out_charts(measured: Mapping[str, Measured]) -> dict[str, str]:
    """What faces' quality and names' probabilities are worth, where they are known."""
    from facerec.evaluation.report.charts import as_svg, discard_figure, reliability_figure

    discards = {name: one.discard for name, one in measured.items() if one.discard is not None}
    curves = {name: one.reliability for name, one in measured.items() if one.reliability}
    charts = {}
    if discards:
        figure = discard_figure(discards)
        charts["Error versus discard: genuine pairs of least quality left out"] = as_svg(
            figure, "EDC"
        )
    if curves:
        title = "Reliability: probabilities of pairs, from other people's; large points are many"
        charts[title] = as_svg(reliability_figure(curves), "Reliability")
    return charts


def _missing_table(measured: Sequence[Measured]) -> list[Any]:
    from facerec.evaluation.report.page import Table

    missing = [
        (key, one.name, why) for one in measured for key, why in one.embedded.missing.items()
    ]
    columns = ("image", "model", "why")
    return [Table("Images without a vector", columns, missing)] if missing else []


def _group_report(one: Measured) -> Any:
    from facerec.evaluation.report.page import Table

    assert one.groups is not None
    groups = one.record["by_group"]
    rows = [
        (name, *(cell(value) for value in figures.values()))
        for name, figures in groups["groups"].items()
    ]
    rows.append(("gap", "", cell(groups["gap"]), "", ""))
    columns = ("group", "pairs", "accuracy, %", "FAR, %", "TAR, %")
    return Table(f"By group, {one.name}, threshold at FAR {groups['at_far']}", columns, rows)


def write_search_report(
    run: Run, records: Sequence[tuple[str, Mapping[str, Any]]],
    curves: Mapping[str, Verification], settings: Sequence[Setting], cards: Sequence[ModelCard],
) -> None:  # fmt: skip
    from facerec.evaluation.report.charts import (
        as_svg,
        cmc_figure,
        det_figure,
        histogram_figure,
        roc_figure,
    )
    from facerec.evaluation.report.page import Page, Table

    names = [name for name, _ in records]
    first = records[0][1]
    searches = {
        title: [record["galleries"][title] for _, record in records]
        for title in first.get("galleries", {})
    } or {"Identification": [record for _, record in records]}
    tables: list[Table] = []
    charts: dict[str, str] = {}
    if curves:
        rows = table_rows([record for _, record in records], PAIR_ROWS)
        tables.append(Table("1:1", ("", *names), rows))
        charts |= {
            "ROC": as_svg(roc_figure({name: found.curve for name, found in curves.items()}), "ROC"),
            "DET": as_svg(det_figure(curves), "DET"),
        }
        charts |= {
            f"Similarities of {name}": as_svg(histogram_figure(curve), "Score histogram")
            for name, curve in curves.items()
        }
    for title, found in searches.items():
        tables.append(Table(title, ("", *names), table_rows(found, SEARCH_ROWS)))
        shares = {name: record["cmc"] for name, record in zip(names, found, strict=True)}
        charts[f"CMC, {title}"] = as_svg(cmc_figure(shares), "CMC")
    _write_report(
        run,
        Page(
            title=f"{first['protocol']}: {', '.join(names)}",
            note=f"{first['images']} images from {first['data']}",
            tables=tables,
            charts=charts,
            hardest={},
            pictures={},
            run=_how_it_was_run(settings, cards),
        ),
    )


def _write_report(run: Run, page: Any) -> None:
    from facerec.evaluation.report.page import write_page

    assert run.report is not None
    say(f"report: {write_page(run.report, page, force=run.force)}")


def _how_it_was_run(settings: Sequence[Setting], cards: Sequence[ModelCard]) -> dict[str, Any]:
    import platform

    from facerec import __version__

    return {
        "command": sys.argv,
        "facerec": __version__,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "models": [
            {
                "card": card.model_dump(mode="json"),
                "profile": setting.profile.model_dump(mode="json"),
            }
            for card, setting in zip(cards, settings, strict=True)
        ],
    }  # fmt: skip
