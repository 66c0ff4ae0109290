"""The classifier sharded over several ranks against the unsharded one, over gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from facerec.training.losses.centres import CentreLoss
from facerec.training.losses.classifier import Classifier, Objective, shard_of
from facerec.training.losses.margins import (
    CombinedMargin,
    CurricularFaceMargin,
    MagFaceMargin,
    Margin,
)
from facerec.training.optimisation import create_scaler

pytestmark = pytest.mark.numeric

CLASSES, SIZE, BATCH = 10, 6, 12
MARGINS: dict[str, Callable[[], Margin | None]] = {
    "arcface": lambda: CombinedMargin(m2=0.5),
    "curricularface": CurricularFaceMargin,
    "magface": MagFaceMargin,
    "softmax": lambda: None,
}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(BATCH, SIZE, generator=generator) * 10
    return vectors, torch.randint(0, CLASSES, (BATCH,), generator=generator)


def train_once(rank: int, world: int) -> dict[str, list[torch.Tensor]]:
    """Loss, accuracy, and gradients of this rank's features and centres, by margin."""
    results = {}
    vectors, labels = (part.chunk(world)[rank] for part in batch())
    for name, create_margin in MARGINS.items():
        objective = Objective(smoothing=0.1) if name == "arcface" else Objective()
        sub_centres = 2 if name == "arcface" else 1
        made = Classifier(
            CLASSES, SIZE, create_margin(), scale=16, sub_centres=sub_centres, objective=objective
        )
        centres = CentreLoss(CLASSES, SIZE)
        own = vectors.clone().requires_grad_()
        outcome = made(own, labels)
        (outcome.loss + 0.1 * centres(own, labels)).backward()
        centres.move(0.5)
        # DistributedDataParallel averages gradients over ranks.
        results[name] = [
            outcome.loss.detach(),
            outcome.accuracy,
            own.grad / world,
            made.weight.grad,
            centres.weight,
        ]
    return results


def overflow_once(rank: int) -> dict[str, float]:
    """Scale and weight after a step with an infinite gradient on rank 1, and after a sound one."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = create_scaler(torch.device("cpu"), enabled=True)
    found = {}
    for step in ("overflow", "sound"):
        optimizer.zero_grad()
        scaler.scale(weight.sum()).backward()
        if step == "overflow" and rank == 1:
            weight.grad[0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        found |= {f"{step} scale": scaler.get_scale(), f"{step} weight": weight[1].item()}
    return found


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.save(train_once(rank, world), f"{folder}/{rank}.pt")
    torch.save(overflow_once(rank), f"{folder}/overflow-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_several_ranks_give_the_loss_and_gradients_of_one(world: int, tmp_path: Path):
    multiprocessing.spawn(work, (world, str(tmp_path)), nprocs=world)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for name, alone in train_once(0, 1).items():
        loss, accuracy, features, centres, centre_loss = zip(
            *(part[name] for part in parts), strict=True
        )
        if name != "magface":
            # Its penalty is each rank's own; its gradient is compared below.
            torch.testing.assert_close(list(loss), [alone[0]] * world)
        torch.testing.assert_close(list(accuracy), [alone[1]] * world)
        torch.testing.assert_close(torch.cat(features), alone[2])
        torch.testing.assert_close(torch.cat(centres), alone[3])
        torch.testing.assert_close(torch.cat(centre_loss), alone[4])

    # fp16: what overflows on one rank's shard makes every rank skip the step and halve its scale.
    expected = {"overflow scale": 2.0**15, "overflow weight": 1.0, "sound scale": 2.0**15}
    for rank in range(world):
        overflow = torch.load(tmp_path / f"overflow-{rank}.pt")
        assert overflow == expected | {"sound weight": pytest.approx(0.9)}


def test_the_last_rank_may_hold_fewer_classes():
    assert [len(shard_of(CLASSES, rank, 3)) for rank in range(3)] == [4, 4, 2]
