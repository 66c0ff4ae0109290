"""Options that the subcommands of `facerec evaluate` share, and how they become settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from facerec.cli.console import waiting
from facerec.cli.help import INPUT, MEASUREMENT, OUTPUT, RUNTIME
from facerec.cli.options import (
    AUGMENT,
    BATCH,
    CARDS,
    CHIP_TEMPLATE,
    MODELS,
    WORKERS,
    Aligned,
    Json,
    Key,
    ProfileOptions,
    force_option,
    option,
    profile_options,
    replace_parameter,
    to_keyword,
)
from facerec.errors import UsageError
from facerec.files.writing import check_output, check_output_folder

if TYPE_CHECKING:
    from facerec.evaluation.run import Setting


class OnMissing(str, Enum):
    """What becomes of an image without a vector."""

    FAIL = "fail"
    SCORE_AS_DIFFERENT = "score-as-different"


Data = Annotated[
    Path,
    option("--data", panel=INPUT, metavar="DIR|TAR|ZIP", help="The data set, read in place."),
]
FailUnder = Annotated[
    float | None,
    option(
        "--fail-under",
        panel=MEASUREMENT,
        help="Exit with 1 if a model's accuracy (identification: rank 1; ijb: TAR at FAR 1e-4; "
        "detection: average precision), in percent, is lower.",
    ),
]
Calibrate = Annotated[
    Path | None,
    option(
        "--calibrate",
        panel=OUTPUT,
        metavar="CARD|MODEL|GALLERY",
        help="Write the thresholds at FAR 1e-2, 1e-3 and 1e-4 into a model card (.yaml, .json), "
        "a model (.safetensors) or a gallery (.h5).",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The options that all subcommands share."""

    aligned: Aligned = False
    on_missing: Annotated[
        OnMissing,
        option("--on-missing", panel=MEASUREMENT, help="What an image without a vector means."),
    ] = OnMissing.SCORE_AS_DIFFERENT
    cache: Annotated[
        bool, option("--cache/--no-cache", panel=RUNTIME, help="Keep and reuse vectors.")
    ] = True
    fail_under: FailUnder = None
    report: Annotated[
        Path | None,
        option(
            "--report",
            panel=OUTPUT,
            metavar="DIR",
            help="Write one self-contained page, index.html.",
        ),
    ] = None
    tensorboard: Annotated[
        Path | None,
        option(
            "--tensorboard",
            panel=OUTPUT,
            metavar="DIR",
            help="Write the figures as TensorBoard scalars.",
        ),
    ] = None
    force: Annotated[bool, force_option("Replace the page that --report wrote before.")] = False
    as_json: Json = None
    profile: ProfileOptions

    @property
    def models(self) -> Sequence[str]:
        """The models that `--model` names; empty: the profile's."""
        return self.profile.given(MODELS) or ()

    def check(self) -> None:
        """Refuse before the work what would be refused after it."""
        if self.report is not None:
            check_output(self.report / "index.html", force=self.force)
        if self.tensorboard is not None:
            check_output_folder(self.tensorboard)

    def profiles(self) -> list[Setting]:
        """One setting a model, in the order given."""
        with waiting("loading models"):
            from facerec.engine.model_cards import carried_card
            from facerec.evaluation.run import Setting

        models: Sequence[str | None] = self.models or [None]
        cards = list(self.profile.given(CARDS) or ())
        one_each = len(cards) == len(models)
        settings = []
        for model in models:
            takes = bool(cards) and (one_each or model is None or carried_card(model) is None)
            loaded = self.profile.load(
                {MODELS.key: model, CARDS.key: cards.pop(0) if takes else None}
            ).looking_again("turns")
            fail = self.on_missing is OnMissing.FAIL
            quality = self.report is not None
            settings.append(Setting(loaded, self.aligned, self.cache, fail, quality))
        if cards:
            raise UsageError(f"--card {cards[0]}: no model is left that it could belong to")
        return settings


def evaluation_options(*more: Key) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: gives a subcommand the options of `Run`, which it gets as the parameter `run`.

    Args:
        more: options that set profile keys, beside those that all subcommands share.
    """
    names = [field.name for field in fields(Run)]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**arguments: Any) -> None:
            options = {name: arguments.pop(name) for name in names}
            function(**arguments, run=Run(**options))

        hints = get_type_hints(Run, include_extras=True)
        added = [to_keyword(one.name, hints[one.name], one.default) for one in fields(Run)]
        replaced = replace_parameter(command, function, "run", added)
        return profile_options(*more, MODELS, CARDS, AUGMENT, CHIP_TEMPLATE, WORKERS, BATCH)(
            replaced
        )

    return decorate
