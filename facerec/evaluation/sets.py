"""Evaluation sets by name: which protocol each is measured with, and where its images are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facerec.errors import MissingError, UsageError, nearest_or_all
from facerec.registry import PROTOCOLS
from facerec.weights.catalog import DataRecord, read_catalogue
from facerec.weights.downloads import require_data


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A protocol and its data.

    Attributes:
        protocol: a registered protocol.
        path: a folder or an archive.
        aligned: the images are known to be aligned faces.
    """

    protocol: str
    path: Path
    aligned: bool


def find_sets(names: Iterable[str], folder: Path | None) -> tuple[list[EvaluationSet], list[str]]:
    """Find evaluation sets.

    Args:
        names: data sets of the catalogue; protocols, which stand for the catalogue's set of that
            protocol; or `PROTOCOL=PATH`.
        folder: where the catalogue's sets are looked for by name, before the store.

    Returns:
        The sets that are there, and for each that is not a message that says how to get it.

    Raises:
        UsageError: a name stands for no evaluation set.
    """
    known = {name: it for name, it in read_catalogue().data.items() if it.protocols}
    found: dict[EvaluationSet, None] = {}
    missing: dict[str, None] = {}
    for name in names:
        protocol, equals, path = name.partition("=")
        if equals:
            if protocol not in PROTOCOLS:
                raise UsageError(
                    f"{name}: no protocol is called {protocol}{PROTOCOLS.hint(protocol)}"
                )
            if Path(path).exists():
                found[EvaluationSet(protocol, Path(path), False)] = None
            else:
                missing[f"{path}: no such file or folder"] = None
            continue
        record_name, protocols = _in_catalogue(name, known)
        record = known[record_name]
        try:
            place = require_data(record_name, record, folder)
        except MissingError as error:
            missing[str(error)] = None
            continue
        found |= {EvaluationSet(one, place, record.aligned): None for one in protocols}
    return list(found), list(missing)


def _in_catalogue(name: str, known: Mapping[str, DataRecord]) -> tuple[str, Sequence[str]]:
    if name in known:
        return name, known[name].protocols
    for record_name, record in known.items():
        if name in record.protocols:
            return record_name, (name,)
    protocols = [protocol for record in known.values() for protocol in record.protocols]
    hint = nearest_or_all(name, [*known, *protocols])
    raise UsageError(f"no evaluation set is called {name}{hint}; or give PROTOCOL=PATH")
