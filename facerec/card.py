"""The model card: preprocessing, metric and calibrated thresholds of a model.

Whatever makes or compares a model's embeddings reads it. It is stored as JSON beside the weights
(safetensors header), in each gallery and in the catalogue.
"""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from facerec.errors import IncompatibleError, MissingError, UsageError, require_choice

Metric = Literal["cosine", "euclidean"]
_METRICS = get_args(Metric)
Augment = Literal["none", "flip", "views"]
Triple = tuple[float, float, float]
Points = tuple[
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
]


_IDENTITY = (
    "architecture", "embedding_size", "input_height", "input_width", "colour", "mean", "std",
    "template", "augment", "sha256",
)  # fmt: skip
"""What embeddings depend on."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Template(_Record):
    """Alignment template: where the five landmarks lie in a chip of the model's input size.

    `points` are pixels, in the order of `faces.Face.landmarks`.
    """

    name: str
    points: Points


Rates = tuple[Annotated[float, Field(ge=0, le=1)], ...]


class Cohort(_Record):
    """How alike strangers, and a person's own photos, look to a model: rates, no faces.

    `impostor` and `genuine` say, by the number of photos that an enrolled person's mean vector is
    made of, with which probability a photo of a stranger, and another photo of that person, reach
    each of the cosines. `spread` is the squared coefficient of variation of a stranger's own rate
    over strangers: some look like many people. `people` is the cohort's size. Made by
    `facerec evaluate lfw --calibrate`, used by `facerec.gallery.certainty`.
    """

    people: Annotated[int, Field(gt=1)]
    cosines: Annotated[tuple[float, ...], Field(min_length=2)]
    impostor: dict[Annotated[int, Field(gt=0)], Rates]
    genuine: dict[Annotated[int, Field(gt=0)], Rates]
    spread: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _is_a_table(self) -> Cohort:
        cosines = self.cosines
        if any(one >= other for one, other in pairwise(cosines)):
            raise ValueError("a cohort's cosines do not rise")
        if 1 not in self.impostor or self.impostor.keys() != self.genuine.keys():
            raise ValueError("a cohort needs the rates of one photo, and both for each number")
        columns = [*self.impostor.values(), *self.genuine.values(), self.spread]
        if any(len(column) != len(cosines) for column in columns):
            raise ValueError("a cohort's columns differ in length")
        if any(min(rates) <= 0 for rates in self.impostor.values()):
            raise ValueError("a cohort's strangers have a rate of 0")
        shares = [*self.impostor.values(), *self.genuine.values()]
        if any(one < other for rates in shares for one, other in pairwise(rates)):
            # By such a table everybody could pass `recognize.max_false_names`.
            raise ValueError("a cohort's rates rise with the cosine")
        return self


class Calibration(_Record):
    """Calibrated thresholds: the distance at or below which two faces match, by FAR.

    `thresholds` maps a rate such as `"1e-3"` to a distance in the card's metric. `cohort` is None
    in older cards, and where the pairs do not say who is who.
    """

    data: str
    pairs: Annotated[int, Field(gt=0)]
    thresholds: dict[str, float]
    cohort: Cohort | None = None

    @field_validator("thresholds")
    @classmethod
    def _rates_are_numbers(cls, thresholds: dict[str, float]) -> dict[str, float]:
        for rate in thresholds:
            if not 0 < float(rate) < 1:
                raise ValueError(f"the false-accept rate {rate} is not between 0 and 1")
        return thresholds


class Norms(_Record):
    """What the norm of a vector before normalisation is, to a model whose loss ties it to quality.

    `usual` is the 5 % quantile and the median over the faces of `data`; None where it was not
    measured, as for an imported model. `loss` is MagFace (Meng et al. 2021), AdaFace (Kim et al.
    2022) or another such. Used by `facerec.engine.quality`.
    """

    loss: str
    usual: tuple[Annotated[float, Field(gt=0)], float] | None = None
    data: str = "unknown"

    @model_validator(mode="after")
    def _rises(self) -> Norms:
        if self.usual is not None and self.usual[0] >= self.usual[1]:
            raise ValueError("the usual norms do not rise")
        return self


class ModelCard(_Record):
    """How a model preprocesses a face, and how its embeddings are compared.

    A chip `(H, W, 3) uint8` becomes network input as `(chip - mean) / std` per channel, in
    `colour` order; `mean` and `std` are on the scale 0-255. `augment` says which images of a
    face are averaged in its embedding: the chip, the chip and its mirror image, or several views.
    `points` is of a gallery's card: the detectors by whose points its faces were aligned, see
    `facerec.gallery.points`; empty where nothing is recorded. So is `calibrated_for`: the
    calibration was copied from the model when the gallery was made, or written into the gallery;
    None where nothing is recorded. `norms` is None where the norm of a vector means nothing.
    """

    name: str
    architecture: str
    embedding_size: Annotated[int, Field(gt=0)]
    input_height: Annotated[int, Field(gt=0)]
    input_width: Annotated[int, Field(gt=0)]
    colour: Literal["RGB", "BGR"] = "RGB"
    mean: Triple
    std: Triple
    template: Template
    metric: Metric = "cosine"
    augment: Augment = "none"
    calibration: Calibration | None = None
    sha256: str
    licence: str = "unknown"
    source: str = "unknown"
    training: str = "unknown"
    points: tuple[str, ...] = ()
    norms: Norms | None = None
    calibrated_for: Literal["model", "gallery"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_flip(cls, fields: Any) -> Any:
        """Cards once said `flip: true` for what is now `augment: flip`."""
        if not isinstance(fields, dict) or "flip" not in fields:
            return fields
        rest = {key: value for key, value in fields.items() if key != "flip"}
        return {"augment": "flip" if fields["flip"] else "none", **rest}

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Versions that do not know a field read a card without it."""
        fields: dict[str, Any] = dump(self)
        for later in ("points", "norms", "calibrated_for"):
            if not getattr(self, later):
                fields.pop(later, None)
        return fields

    @classmethod
    def from_json(cls, text: str, where: str | Path) -> ModelCard:
        """Parse a stored card; `where` names its place in the error.

        Raises:
            MissingError: the text is no valid card.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise MissingError(f"{where}: invalid model card: {key}: {first['msg']}") from error

    def to_json(self) -> str:
        """The card as `from_json` reads it."""
        return self.model_dump_json()

    def fingerprint(self) -> str:
        """16 hex digits, equal for two cards exactly if their embeddings may be compared.

        Covers the weights and every preprocessing field, not the thresholds or the prose.
        """
        canonical = json.dumps(self.model_dump(mode="json", include={*_IDENTITY}), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def with_augment(self, augment: Augment | None) -> ModelCard:
        """The card with another `augment`, without thresholds, which no longer hold.

        Args:
            augment: None: as the card says.

        Raises:
            UsageError: there is no such `augment`.
        """
        if augment is None or augment == self.augment:
            return self
        require_choice("augment", augment, get_args(Augment))
        return self.model_copy(update={"augment": augment, "calibration": None})

    def for_gallery(self) -> ModelCard:
        """The card of a new gallery: its calibration is the model's, so that a later one counts.

        A card that says already whose its calibration is stays as it is.
        """
        if self.calibration is None or self.calibrated_for:
            return self
        return self.model_copy(update={"calibrated_for": "model"})

    def require_same_model(self, other: ModelCard, where: str) -> None:
        """Refuse to compare embeddings of two models.

        Raises:
            IncompatibleError: naming both models.
        """
        if self.fingerprint() != other.fingerprint():
            differing = [key for key in _IDENTITY if getattr(self, key) != getattr(other, key)]
            what = f", with another {' and '.join(differing)}" if self.name == other.name else ""
            raise IncompatibleError(
                f"{where} was built with {other.name} ({other.fingerprint()}), "
                f"this is {self.name} ({self.fingerprint()}){what}; rebuild it, or use its model"
            )

    def threshold(self, far: float, metric: Metric | None = None) -> float:
        """The calibrated distance for a false-accept rate, in `metric` (default: the card's).

        Raises:
            UsageError: the card holds no threshold for that rate; or there is no such metric.
        """
        calibrated = self.calibration.thresholds if self.calibration else {}
        for rate, distance in calibrated.items():
            if math.isclose(float(rate), far, rel_tol=1e-6):
                return convert_distance(distance, self.metric, metric or self.metric)
        known = ", ".join(calibrated) or "none"
        raise UsageError(
            f"{self.name} has no threshold calibrated for far {far:g} (known: {known}); "
            "give a threshold in place of a rate"
        )


def similarity_to_distance(similarity: float, metric: Metric) -> float:
    """Distance of two unit vectors from their cosine: `1 - cos`, or `sqrt(2 - 2 cos)` (L2).

    Args:
        similarity: rounding may have brought it out of [-1, 1].

    Raises:
        UsageError: there is no such metric.
    """
    require_metric(metric)
    gap = min(max(1.0 - similarity, 0.0), 2.0)
    return gap if metric == "cosine" else math.sqrt(2.0 * gap)


def distance_to_similarity(distance: float, metric: Metric) -> float:
    """The cosine of two unit vectors at a distance; inverse of `similarity_to_distance`, and raises
    what that does."""
    require_metric(metric)
    return 1.0 - distance if metric == "cosine" else 1.0 - distance * distance / 2.0


def convert_distance(distance: float, source: Metric, target: Metric) -> float:
    """Convert a distance to another metric; both are monotone in the cosine.

    Raises:
        UsageError: there is no such metric.
    """
    require_metric(source)
    if source == target:
        return distance
    return similarity_to_distance(distance_to_similarity(distance, source), target)


def require_metric(metric: Metric) -> None:
    """Refuse what is no metric.

    Raises:
        UsageError: naming it and those there are.
    """
    require_choice("metric", metric, _METRICS)
