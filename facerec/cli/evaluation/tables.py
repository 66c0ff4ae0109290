"""Records of `facerec evaluate` as JSON lines or as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from facerec.cli.console import Results, print_json
from facerec.cli.evaluation.options import Run

PAIR_ROWS = (
    ("images", "images"), ("missing", "missing"), ("pairs", "pairs"),
    ("accuracy, %", "accuracy"), ("standard deviation", "accuracy_std"),
    ("95 % interval", "accuracy_interval"), ("mean subtracted, %", "mean_subtracted"),
    ("TAR at FAR {}, %", "tar_at_far"), ("threshold at FAR {}", "thresholds"),
    ("fitted weight of {}", "fitted_weights"), ("fitted norm of {}", "fitted_norms"),
    ("accuracy with fitted weights, %", "fitted"),
    ("false rejects with {} discarded, %", "false_rejects_by_discard"),
    ("calibration error", "calibration_error"),
    ("EER, %", "eer"), ("AUC, %", "auc"), ("d'", "d_prime"), ("best threshold", "threshold"),
)  # fmt: skip
SEARCH_ROWS = (
    ("images", "images"), ("missing", "missing"), ("people", "people"), ("probes", "probes"),
    ("strangers", "strangers"), ("rank 1, %", "rank_1"), ("rank 5, %", "rank_5"),
    ("rank 10, %", "rank_10"), ("DIR at FAR {}, %", "dir_at_far"),
    ("TPIR at FPIR {}, %", "tpir_at_fpir"), ("FNIR at FPIR {}, %", "fnir_at_fpir"),
    ("threshold at FPIR {}", "thresholds"),
)  # fmt: skip


def table_rows(
    records: Sequence[Mapping[str, Any]], labels: Sequence[tuple[str, str]]
) -> list[tuple[str, ...]]:
    """Table rows from records: a label, then one cell a record; a mapping gives a row a key."""
    rows: list[tuple[str, ...]] = []
    for label, key in labels:
        values = [record.get(key) for record in records]
        if all(value is None for value in values):
            continue
        if "{}" in label:
            keys = dict.fromkeys(inner for value in values for inner in value or ())
            rows += [
                (label.format(inner), *(cell((value or {}).get(inner)) for value in values))
                for inner in keys
            ]
        else:
            rows.append((label, *(cell(value) for value in values)))
    return rows


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return " to ".join(cell(end) for end in value)
    if isinstance(value, dict):
        return " ± ".join(cell(part) for part in value.values())
    return str(value)


def print_records(
    records: Sequence[tuple[str, Mapping[str, Any]]],
    labels: Sequence[tuple[str, str]],
    run: Run,
    title: str = "",
) -> None:
    """Print records as JSON lines or as one table.

    Args:
        title: the table's; empty: the first record's protocol.
    """
    results = Results("figure", *(name for name, _ in records), as_json=run.as_json)
    if results.as_json:
        for _, record in records:
            print_json(record)
        return
    results.add({}, *table_rows([record for _, record in records], labels))
    results.close(title=title or str(records[0][1].get("protocol", "")))
