"""Triplet loss: the hardest triplets of a batch, on one rank and on several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import multiprocessing

from facerec.training.losses.triplet import TripletLoss

pytestmark = pytest.mark.numeric

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])


def features() -> torch.Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


def direct(vectors: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Hermans et al. 2017, eq. 5, anchor by anchor."""
    unit = F.normalize(vectors)
    losses = []
    for anchor, label in enumerate(labels):
        apart = (unit - unit[anchor]).norm(dim=1)
        positives = [n for n in range(len(labels)) if labels[n] == label and n != anchor]
        if positives:
            farthest = apart[positives].max()
            losses.append(F.relu(margin + farthest - apart[labels != label].min()))
    return torch.stack(losses).mean()


def test_it_is_the_papers_equation() -> None:
    loss = TripletLoss(4, 0.3)(features(), LABELS).loss
    torch.testing.assert_close(loss, direct(features(), LABELS, 0.3))


def test_people_apart_cost_nothing_and_are_all_right() -> None:
    vectors = torch.eye(4)[LABELS]
    outcome = TripletLoss(4)(vectors, LABELS)
    assert (outcome.loss, outcome.accuracy) == (0, 1)


@pytest.mark.parametrize("labels", [torch.arange(8), torch.zeros(8, dtype=torch.long)])
def test_a_batch_without_triplets_costs_nothing_and_has_a_finite_gradient(labels) -> None:
    vectors = features().requires_grad_()
    loss = TripletLoss(8)(vectors, labels).loss
    loss.backward()
    assert loss == 0
    assert vectors.grad.isfinite().all()


def test_equal_images_have_a_finite_gradient() -> None:
    vectors = torch.ones(8, 5).requires_grad_()
    TripletLoss(4)(vectors, LABELS).loss.backward()
    assert vectors.grad.isfinite().all()


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.save(train_once(rank, world), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def train_once(rank: int, world: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    own = features().chunk(world)[rank].clone().requires_grad_()
    outcome = TripletLoss(4)(own, LABELS.chunk(world)[rank])
    outcome.loss.backward()
    # DistributedDataParallel averages gradients over ranks.
    return outcome.loss.detach(), outcome.accuracy, own.grad / world


def test_two_ranks_give_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (2, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    loss, accuracy, gradient = train_once(0, 1)
    for part in parts:
        torch.testing.assert_close(part[:2], (loss, accuracy))
    torch.testing.assert_close(torch.cat([part[2] for part in parts]), gradient)
