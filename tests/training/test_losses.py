"""Margins and the classifier: the papers' equations, gradients, edges, shares."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from facerec.training.losses.centres import CentreLoss
from facerec.training.losses.classifier import Classifier, Objective, shard_of
from facerec.training.losses.margins import (
    AdaFaceMargin,
    CombinedMargin,
    CurricularFaceMargin,
    MagFaceMargin,
    Margin,
    monotone_cosine,
)

pytestmark = pytest.mark.numeric

MARGINS = {
    "normface": Margin,
    "arcface": lambda: CombinedMargin(m2=0.5),
    "cosface": lambda: CombinedMargin(m3=0.35),
    "sphereface": lambda: CombinedMargin(m1=1.5),
    "combined": lambda: CombinedMargin(1.0, 0.3, 0.2),
    "adaface": AdaFaceMargin,
    "curricularface": CurricularFaceMargin,
    "magface": MagFaceMargin,
}


def classifier(margin: Margin | None, classes: int = 5, size: int = 4, **options) -> Classifier:
    made = Classifier(classes, size, margin, **{"scale": 8.0, **options})
    with torch.no_grad():
        made.weight.copy_(
            torch.randn(made.weight.shape, generator=torch.Generator().manual_seed(1))
        )
    return made


def features(count: int = 6, size: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, size, generator=generator) * 12, torch.arange(count) % 5


def direct(
    made: Classifier, vectors: torch.Tensor, labels: torch.Tensor, phi, **options
) -> torch.Tensor:
    """Cross-entropy of the papers' logits, written down without sharding."""
    cosines = F.normalize(vectors) @ F.normalize(made.weight[:, 0]).T
    logits = cosines.clone()
    rows = torch.arange(len(labels))
    logits[rows, labels] = phi(cosines[rows, labels])
    return F.cross_entropy(made.scale * logits, labels, **options)


@pytest.mark.parametrize(
    ("margin", "phi"),
    [
        (Margin(), lambda cosine: cosine),
        (CombinedMargin(m2=0.5), lambda cosine: torch.cos(torch.acos(cosine) + 0.5)),
        (CombinedMargin(m3=0.35), lambda cosine: cosine - 0.35),
        (CombinedMargin(1.2, 0.3, 0.1), lambda c: torch.cos(1.2 * torch.acos(c) + 0.3) - 0.1),
        (CombinedMargin(0.9, 0.4, 0.15), lambda c: torch.cos(0.9 * torch.acos(c) + 0.4) - 0.15),
    ],
)
def test_the_loss_is_the_papers_equation(margin, phi):
    made = classifier(margin)
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(6) % 5
    # Near their centres, so that every angle plus its margin stays below pi.
    vectors = made.weight[labels, 0].detach() + 0.5 * torch.randn(6, 4, generator=generator)
    torch.testing.assert_close(made(vectors, labels).loss, direct(made, vectors, labels, phi))


def test_label_smoothing_and_focal_loss_are_those_of_torch_and_of_the_paper():
    vectors, labels = features()
    smooth = classifier(Margin(), objective=Objective(smoothing=0.1))
    expected = direct(smooth, vectors, labels, lambda cosine: cosine, label_smoothing=0.1)
    torch.testing.assert_close(smooth(vectors, labels).loss, expected)

    focal = classifier(Margin(), objective=Objective(gamma=2.0))
    each = direct(focal, vectors, labels, lambda cosine: cosine, reduction="none")
    expected = ((1 - torch.exp(-each)) ** 2 * each).mean()
    torch.testing.assert_close(focal(vectors, labels).loss, expected)


def test_plain_softmax_is_a_linear_layer_and_cross_entropy():
    made = classifier(None)
    vectors, labels = features()
    expected = F.cross_entropy(F.linear(vectors, made.weight[:, 0], made.bias), labels)
    torch.testing.assert_close(made(vectors, labels).loss, expected)


def test_softmax_of_several_centres_takes_the_largest_inner_product_and_the_bias():
    made = classifier(None, sub_centres=3)
    vectors, labels = features()
    with torch.no_grad():
        made.bias.copy_(torch.linspace(-2, 2, 5))
    logits = torch.einsum("nd,ckd->nck", vectors, made.weight).amax(dim=2) + made.bias
    torch.testing.assert_close(made(vectors, labels).loss, F.cross_entropy(logits, labels))


def test_softmax_of_one_centre_is_a_linear_layer_to_the_bit():
    made, layer = classifier(None), nn.Linear(4, 5)
    layer.load_state_dict({"weight": made.weight[:, 0], "bias": made.bias})
    vectors, _ = features()
    ours, theirs = made._similarities(vectors), layer(vectors)
    assert torch.equal(ours, theirs)
    for outputs in (ours, theirs):
        outputs.square().sum().backward()
    assert torch.equal(made.weight.grad[:, 0], layer.weight.grad)
    assert torch.equal(made.bias.grad, layer.bias.grad)


@pytest.mark.parametrize("margin", [None, Margin()], ids=["softmax", "margin"])
def test_a_rank_without_classes_has_no_similarities(margin, monkeypatch):
    monkeypatch.setattr("facerec.training.losses.classifier.rank", lambda: 2)
    monkeypatch.setattr("facerec.training.losses.classifier.world_size", lambda: 3)
    made = Classifier(4, 4, margin)
    assert made._similarities(features()[0]).shape == (6, 0)


@pytest.mark.parametrize("name", MARGINS)
def test_gradients_are_those_of_finite_differences(name):
    margin = MARGINS[name]().double().eval()
    norms = torch.tensor([12.0, 20.0, 60.0], dtype=torch.double, requires_grad=True)
    cosine = torch.tensor([-0.7, 0.2, 0.9], dtype=torch.double, requires_grad=True)
    cosines = torch.tensor([[0.5, -0.1], [0.3, -0.9], [0.1, 0.8]], dtype=torch.double)
    cosines.requires_grad_()
    # AdaFace lets no gradient through the lengths.
    lengths = norms.detach() if name == "adaface" else norms

    def all_of_it(cosine, cosines, lengths):
        target = margin.target(cosine, lengths)
        return target, margin.negatives(cosines, cosine, target), margin.penalty(lengths)

    assert torch.autograd.gradcheck(all_of_it, (cosine, cosines, lengths))


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_finite_at_both_ends_of_the_cosine(name, dtype):
    made = classifier(MARGINS[name](), scale=64.0)
    centres = made.weight[:, 0].detach()
    vectors = torch.cat([centres, -centres]).clone().requires_grad_()
    labels = torch.arange(5).repeat(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        outcome = made(vectors, labels)
    assert outcome.loss.dtype == torch.float32
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert vectors.grad.isfinite().all()
    assert made.weight.grad.isfinite().all()


@given(st.floats(0, 9), st.floats(0, 9))
def test_the_extended_cosine_never_rises(first, second):
    low, high = sorted((first, second))
    values = monotone_cosine(torch.tensor([low, high], dtype=torch.double))
    assert values[0] >= values[1] - 1e-9
    if high <= math.pi:
        assert values[1] == pytest.approx(math.cos(high))


@pytest.mark.parametrize("m1", [0.3, 0.9, 1.0, 4.0])
def test_the_combined_target_falls_with_the_angle(m1):
    cosine = torch.linspace(1, -1, 1001, dtype=torch.double)
    target = CombinedMargin(m1, 0.4, 0.15).target(cosine, torch.ones(1001))
    assert (target.diff() <= 1e-12).all()


def test_a_margin_makes_the_loss_larger_and_leaves_the_accuracy():
    vectors, labels = features()
    plain, hard = classifier(Margin()), classifier(CombinedMargin(m2=0.5))
    assert hard(vectors, labels).loss > plain(vectors, labels).loss
    assert hard(vectors, labels).accuracy == plain(vectors, labels).accuracy


def test_accuracy_counts_faces_nearest_to_their_own_centre():
    made = classifier(Margin())
    vectors = made.weight[:4, 0].detach()
    assert made(vectors, torch.tensor([0, 1, 2, 0])).accuracy == 0.75


def test_adaface_asks_less_of_a_short_feature_than_of_a_long_one():
    margin = AdaFaceMargin().eval()
    margin.mean.fill_(20.0)
    margin.deviation.fill_(5.0)
    cosine = torch.full((3,), 0.5)
    short, average, long = margin.target(cosine, torch.tensor([1.0, 20.0, 60.0]))
    # ẑ = -1, 0, 1: an angular margin of -m, additive m, and angular m plus additive 2m.
    angle = math.acos(0.5)
    assert short == pytest.approx(math.cos(angle + 0.4), abs=1e-3)
    assert average == pytest.approx(0.5 - 0.4, abs=1e-3)
    assert long == pytest.approx(math.cos(angle - 0.4) - 0.8, abs=1e-3)


def test_curricularface_weighs_a_harder_negative_by_how_far_training_is():
    margin = CurricularFaceMargin().eval()
    margin.t.fill_(0.3)
    cosine = torch.tensor([0.5])
    target = margin.target(cosine, torch.ones(1))
    others = margin.negatives(torch.tensor([[0.9, -0.5]]), cosine, target)
    torch.testing.assert_close(others, torch.tensor([[0.9 * (0.3 + 0.9), -0.5]]))


def test_magface_gives_a_long_feature_a_wider_margin_and_a_smaller_penalty():
    margin = MagFaceMargin()
    short, long = margin.target(torch.tensor([0.5, 0.5]), torch.tensor([10.0, 110.0]))
    assert short == pytest.approx(math.cos(math.acos(0.5) + 0.45), abs=1e-4)
    assert long == pytest.approx(math.cos(math.acos(0.5) + 0.8), abs=1e-4)
    assert margin.penalty(torch.tensor([110.0])) < margin.penalty(torch.tensor([10.0]))


def test_of_several_centres_per_class_the_nearest_counts():
    made = classifier(Margin(), sub_centres=3)
    vectors = made.weight[:, 2].detach()
    assert made(vectors, torch.arange(5)).accuracy == 1


def test_centre_loss_is_half_the_mean_squared_distance():
    loss = CentreLoss(3, 2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]))
    vectors = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    assert loss(vectors, torch.tensor([0, 1])).item() == pytest.approx(25 / 2 / 2)


def test_the_centres_move_by_the_papers_equation_whatever_the_losss_weight():
    vectors, labels = features(7, 3)
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    vectors.requires_grad_()
    moved = []
    for weight in (1.0, 0.003):
        loss = CentreLoss(6, 3)
        loss.weight[:5].copy_(start)
        (weight * loss(vectors, labels)).backward()
        loss.move(0.5)
        moved.append(loss.weight)
    vectors = vectors.detach()
    # Wen et al. 2016, eq. 4, class by class.
    for centre in range(5):
        mine = vectors[labels == centre]
        delta = (start[centre] - mine).sum(dim=0) / (1 + len(mine))
        torch.testing.assert_close(moved[0][centre], start[centre] - 0.5 * delta)
    # Nobody of the sixth class is in the batch.
    assert not moved[0][5].any()
    torch.testing.assert_close(moved[0], moved[1])


def test_parts_of_a_batch_move_the_centres_as_the_whole_does():
    vectors, labels = features(8)
    whole, parts = CentreLoss(5, 4), CentreLoss(5, 4)
    whole(vectors, labels)
    for chips, people in zip(vectors.chunk(2), labels.chunk(2), strict=True):
        parts(chips, people)
    for loss in (whole, parts):
        loss.move(0.3)
        loss.forget()
    torch.testing.assert_close(whole.weight, parts.weight)
    before = whole.weight.clone()
    whole.move(0.3)
    assert torch.equal(whole.weight, before)


def steps(made: Classifier, count: int) -> list[torch.Tensor]:
    """Train the classifier on one batch; the loss of each step."""
    optimizer = torch.optim.SGD(made.trainable(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    vectors, labels = features()
    losses = []
    for _ in range(count):
        made.sample(labels, optimizer)
        outcome = made(vectors, labels)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        made.write_back(optimizer)
        losses.append(outcome.loss.detach())
    return losses


def test_a_sampled_share_moves_the_batchs_classes_and_only_chosen_ones():
    torch.manual_seed(0)
    made = classifier(CombinedMargin(m2=0.5), classes=40, share=0.25)
    before = made.weight.detach().clone()
    steps(made, 1)
    moved = (made.weight != before).flatten(1).any(dim=1)
    assert moved.sum() == 10
    assert moved[:5].all()


def test_a_sampled_classifier_learns():
    torch.manual_seed(0)
    made = classifier(CombinedMargin(m2=0.5), classes=40, share=0.5)
    losses = steps(made, 60)
    assert losses[-1] < losses[0] / 4


def test_every_class_sampled_is_exactly_the_whole_classifier():
    whole = classifier(CombinedMargin(m2=0.5))
    every = classifier(CombinedMargin(m2=0.5), share=0.999)
    torch.testing.assert_close(steps(every, 5), steps(whole, 5))
    torch.testing.assert_close(every.weight, nn.Parameter(whole.weight, requires_grad=False))


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards_are_disjoint_and_cover_all_classes(classes, world):
    held = [index for rank in range(world) for index in shard_of(classes, rank, world)]
    assert held == list(range(classes))
