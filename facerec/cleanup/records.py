"""Findings and decisions as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from facerec.cleanup.findings import Finding
from facerec.errors import MissingError, UsageError
from facerec.files import replacing

FINDINGS = "findings.jsonl"


def write_findings(report: Path, findings: Sequence[Finding]) -> None:
    """Write a line per finding, atomically."""
    with replacing(report / FINDINGS) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(finding.to_record()) + "\n" for finding in findings)


def read_findings(report: Path) -> list[Finding]:
    """Read them back.

    Raises:
        MissingError: the file is absent or damaged.
    """
    path = report / FINDINGS
    try:
        with path.open(encoding="ascii") as file:
            return [Finding.from_record(json.loads(line)) for line in file]
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MissingError(f"{path}: damaged ({error})") from error


def read_decisions(path: Path, findings: Sequence[Finding]) -> dict[str, bool]:
    """By a finding's id, whether it was accepted.

    Raises:
        UsageError: the file is absent, holds no decisions, or decides on findings of another
            report.
    """
    try:
        decisions = json.loads(path.read_text(encoding="utf-8"))["decisions"]
        chosen = {name: {"accept": True, "reject": False}[word] for name, word in decisions.items()}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: no decisions that a cleanup report exported") from error
    unknown = chosen.keys() - {finding.id for finding in findings}
    if unknown:
        raise UsageError(f"{path}: belongs to another report (no finding {min(unknown)} here)")
    return chosen
