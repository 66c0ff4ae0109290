"""Fine-tuning stays near the model that it starts from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from facerec.models.factory import create_network
from facerec.profile.schema import TrainSection
from facerec.training.finetuning import StartPenalty, layer_factors
from facerec.training.optimisation import backbone_groups, head_steps, learning_rate
from tests.conftest import Run, make_card
from tests.training.test_training import tiny, weights

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained a tiny network with batch normalisation."""
    from typer.testing import CliRunner

    from facerec.cli.app import app

    folder = tmp_path_factory.mktemp("start") / "run"
    outcome = CliRunner().invoke(app, tiny(folder, train__max_steps=20))
    assert outcome.exit_code == 0, outcome.output
    return folder


def tuned(run: Run, start: Path, out: Path, **changes: object) -> Weights:
    model = start / "model.safetensors"
    code, _, err = run(*tiny(out, train__initial=model, **changes))
    assert code == 0, err
    return weights(out)


def moved(before: Weights, after: Weights) -> float:
    """Distance of all weights, without running statistics."""
    names = [name for name in before if "running" not in name and "num_batches" not in name]
    return math.sqrt(sum(float((before[n] - after[n]).square().sum()) for n in names))


def test_the_last_layer_learns_at_the_full_rate_and_each_before_it_at_less() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.PReLU(), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    factors = layer_factors(network, 0.5)
    told = [[factors[id(parameter)] for parameter in layer.parameters()] for layer in network]
    assert told == [[0.25, 0.25], [0.25, 0.25], [0.5, 0.5], [0.5], [], [1.0, 1.0]]


def test_every_weight_is_trained_once_whatever_the_rates() -> None:
    network = create_network(make_card(16, architecture="test_ir", input_height=32, input_width=32))
    section = TrainSection(layer_decay=0.8)
    groups = backbone_groups(network, section)
    assert len(groups) > 4
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(trained) == sorted(map(id, network.parameters()))


def test_the_penalty_is_half_the_squared_distance() -> None:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    penalty = StartPenalty(layer)
    assert penalty() == 0
    with torch.no_grad():
        layer.weight += torch.tensor([[3.0, 4.0]])
    assert penalty().item() == pytest.approx(12.5)
    torch.autograd.backward(penalty())
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[3.0, 4.0]]


def test_the_classifier_learns_alone_first(run: Run, start: Path, tmp_path: Path) -> None:
    epoch = 9  # 72 images in batches of 8
    settings = {"train__head_warmup": 1, "train__epochs": 2}
    alone = tuned(run, start, tmp_path / "a", train__max_steps=epoch, **settings)
    before = weights(start)
    assert all(torch.equal(before[name], alone[name]) for name in before)
    both = tuned(run, start, tmp_path / "b", train__max_steps=epoch + 2, **settings)
    assert moved(weights(start), both) > 0


def test_a_learning_rate_is_sought_for_the_network_not_for_the_head_alone(
    run: Run, start: Path, tmp_path: Path
) -> None:
    def losses(out: Path, warmup: int) -> list[float]:
        model = start / "model.safetensors"
        changes = {"train__initial": model, "train__head_warmup": warmup, "train__epochs": 2}
        code, _, err = run(*tiny(out, **changes), "--find-lr")
        assert code == 0, err
        lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["event"] == "find_lr"]

    alone, plain = losses(tmp_path / "a", 1), losses(tmp_path / "b", 0)
    assert len(plain) > 5
    assert alone == plain


def test_the_rate_begins_anew_once_the_network_learns() -> None:
    section = TrainSection(head_warmup=1, warmup=1, epochs=4, schedule="cosine", lr=1.0)
    plain = TrainSection(warmup=1, epochs=3, schedule="cosine", lr=1.0)
    assert head_steps(10, section) == 10
    assert [learning_rate(step, 10, section) for step in range(10)] == [1.0] * 10
    assert [learning_rate(10 + step, 10, section) for step in range(30)] == [
        learning_rate(step, 10, plain) for step in range(30)
    ]


def test_normalisation_is_left_as_it_is(run: Run, start: Path, tmp_path: Path) -> None:
    frozen = tuned(run, start, tmp_path / "a", train__freeze_normalisation="true")
    free = tuned(run, start, tmp_path / "b")
    before = weights(start)
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], frozen[name]) for name in statistics)
    assert not any(torch.equal(before[name], free[name]) for name in statistics)
    scales = [name.replace("running_mean", "weight") for name in statistics if "mean" in name]
    assert all(torch.equal(before[name], frozen[name]) for name in scales if name in before)
    assert moved(before, frozen) > 0


def test_held_weights_end_nearer_to_their_start(run: Run, start: Path, tmp_path: Path) -> None:
    settings = {"train__max_steps": 20, "train__weight_decay": 0}
    free = tuned(run, start, tmp_path / "a", **settings)
    held = tuned(run, start, tmp_path / "b", train__start_weight=5.0, **settings)
    assert moved(weights(start), held) < 0.7 * moved(weights(start), free)


def test_the_start_can_teach(run: Run, start: Path, tmp_path: Path) -> None:
    tuned(run, start, tmp_path / "a", train__teacher="initial", train__teacher_weight=10)
    first, *_ = [
        json.loads(line)
        for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()
        if '"train"' in line
    ]
    plain = tuned(run, start, tmp_path / "b")
    assert plain
    second, *_ = [
        json.loads(line)
        for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()
        if '"train"' in line
    ]
    # In training mode batch normalisation differs from the teacher's, so it is not 0.
    assert first["loss"] > second["loss"]


def test_a_teacher_named_initial_needs_one(run: Run, tmp_path: Path) -> None:
    code, _, err = run(*tiny(tmp_path / "run", train__teacher="initial"))
    assert (code, "train.teacher initial needs train.initial" in err) == (2, True)


def test_a_relation_needs_a_teacher(run: Run, tmp_path: Path) -> None:
    code, _, err = run(*tiny(tmp_path / "a", train__relation_weight=1))
    assert (code, "train.relation_weight needs train.teacher" in err) == (2, True)
