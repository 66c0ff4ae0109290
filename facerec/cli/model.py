"""`facerec model`: list models and show their cards."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from facerec.cli.completing import complete_model
from facerec.cli.console import Results, print_json, waiting
from facerec.cli.help import INPUT, App
from facerec.cli.options import (
    AUGMENT,
    CARD,
    Json,
    ProfileOptions,
    argument,
    option,
    profile_options,
)
from facerec.registry import BACKBONES

if TYPE_CHECKING:
    from facerec.card import Norms
    from facerec.models import Embedder
    from facerec.weights.catalog import Record

app = App(no_args_is_help=True, examples=["facerec model list", "facerec model show dlib_resnet"])

_BATCH = 16
_SECONDS = 2.0


@app.callback()
def model() -> None:
    """List models and show their cards."""


@app.command("list", examples=["facerec model list", "facerec model list --commercial"])
@profile_options()
def list_(
    commercial: Annotated[
        bool,
        option("--commercial", panel=INPUT, help="Only named models whose licence allows that."),
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """List the models that have a name, and the networks that can be trained.

    The profile's own model comes first, where it is a file.
    """
    from facerec.weights.catalog import catalogue

    results = Results("name", "kind", "network", "weights", as_json=as_json, least=("network",))
    used = [member.only_name for member in profile.load().model.members()]
    for own in filter(Path.is_file, map(Path, [] if commercial else used)):
        size = own.stat().st_size
        results.add(
            {"name": str(own), "kind": "file", "architecture": None, "weights": "here",
             "size": size, "used": True, "commercial": None},
            (str(own), "file", "", "here, the profile's"),
        )  # fmt: skip
    for name, record in catalogue().items():
        if commercial and not record.commercial:
            continue
        architecture, weights = record.card.architecture, _where_weights_are(name, record)
        results.add(
            {"name": name, "kind": "model", "architecture": architecture, "weights": weights,
             "size": record.size, "used": name in used, "commercial": record.commercial},
            (name, "model", architecture, _with_size(weights, record.size)),
        )  # fmt: skip
    for name in [] if commercial else sorted(BACKBONES.names()):
        results.add(
            {"name": name, "kind": "network", "architecture": name, "weights": None, "size": None},
            (name, "network", name, "to be trained"),
        )
    results.close()


def _where_weights_are(name: str, record: Record) -> str:
    from facerec.weights.downloads import is_present

    if not record.remote_files:
        return "in pip packages" if is_present(name, record) else "to install"
    return "downloaded" if is_present(name, record) else "to download"


def _with_size(weights: str, size: int | None) -> str:
    if weights != "to download":
        return weights
    return f"{weights}, {'size not known' if size is None else f'{size / 1e6:.0f} MB'}"


@app.command(examples=["facerec model show dlib_resnet", "facerec model show mine.safetensors"])
@profile_options(CARD, AUGMENT)
def show(
    name: Annotated[
        str,
        argument("NAME|FILE", help="A catalogue name or a file.", autocompletion=complete_model),
    ],
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Show a model's card, size, arithmetic, speed here and thresholds."""
    loaded = profile.load({"model.name": name})
    with waiting("loading models"):
        from facerec.engine.building import open_embedder

        embedder = open_embedder(loaded)
    card = embedder.card
    with waiting("measuring its speed"):
        speed = _speed(embedder)
    record: dict[str, Any] = {
        "name": card.name,
        **_size(card.architecture, embedder),
        "faces_per_second": round(speed, 1),
        "batch": _BATCH,
        "arithmetic": embedder.arithmetic,
        "card": card.model_dump(mode="json"),
    }
    if Results(as_json=as_json).as_json:
        print_json(record)
        return
    results = Results("", card.name, as_json=False)
    thresholds = card.calibration.thresholds if card.calibration else {}
    rows = {
        "network": card.architecture,
        "input": f"{card.input_height}x{card.input_width} {card.colour}, (x - mean) / std",
        "mean, std": f"{card.mean}, {card.std}",
        "values per face": str(card.embedding_size),
        "parameters": _thousands(record.get("parameters")),
        "multiply-adds": _thousands(record.get("multiply_adds")),
        "faces per second here": f"{record['faces_per_second']} (batches of {_BATCH}, "
        f"{record['arithmetic']})",
        "metric": card.metric,
        "thresholds": ", ".join(f"{far}: {value:.4f}" for far, value in thresholds.items())
        or "none; facerec evaluate … --calibrate",
        **({} if card.norms is None else {"usual norms": _usual(card.norms)}),
        "template": card.template.name,
        "licence": card.licence,
        "source": card.source,
        "training": card.training,
    }
    for key, value in rows.items():
        results.add({}, (key, value))
    results.close()


def _usual(norms: Norms) -> str:
    if norms.usual is None:
        return f"not measured ({norms.loss}); facerec evaluate … --calibrate"
    low, median = norms.usual
    return f"{low:g} (5 %), {median:g} (median) on {norms.data} ({norms.loss})"


def _size(architecture: str, embedder: Embedder) -> dict[str, int]:
    """Parameters and multiply-adds of one face, where the network is one of facerec's own."""
    from facerec.models.embedder import TorchEmbedder
    from facerec.models.graph_embedder import GraphEmbedder

    if not isinstance(embedder, TorchEmbedder | GraphEmbedder):
        return {}
    return {"parameters": embedder.parameters(), "multiply_adds": embedder.multiply_adds()}


def _speed(embedder: Embedder) -> float:
    """Faces per second in batches, best of what fits in the time."""
    import numpy as np

    from facerec.alignment.warp import views_of

    card = embedder.card
    chips = np.random.default_rng(0).integers(
        0, 256, (_BATCH, card.input_height, card.input_width, 3), np.uint8
    )
    embedder.embed(chips)
    best, until = 0.0, time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        embedder.embed(chips)
        best = max(best, _BATCH / (time.perf_counter() - started))
    return best / len(views_of(card.augment))


def _thousands(count: int | None) -> str:
    return "not known" if count is None else f"{count:,}"
