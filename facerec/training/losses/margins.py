"""Margin losses: ArcFace, CosFace, SphereFace, combined, AdaFace, CurricularFace, MagFace.

A margin maps the cosines `(N, C) float32` of features with class centres to logits: `target` the
true class's cosine `(N,)`, `others` the rest; the classifier scales both. Angles are float32 under
any autocast.

A loss registers a factory from the profile's `train` section to its margin, None for plain softmax,
which of `MARGIN_KEYS` it takes as `keys`, and `norm_tells_quality` if it ties the norm of a feature
to the quality of its image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES

# At cos = ±1 the derivative of the arc cosine is infinite; here it is at most 707.
_NEAR_ONE = 1 - 1e-6
MARGIN_KEYS = ("margin", "m1", "m2", "m3")
"""Keys of `train` that only some losses take."""


def angle_of(cosine: Tensor) -> Tensor:
    """Radians in (0, pi), with a finite derivative everywhere."""
    return torch.acos(cosine.clamp(-_NEAR_ONE, _NEAR_ONE))


def monotone_cosine(angle: Tensor) -> Tensor:
    """cos(angle), extended monotonically beyond pi: (-1)^k cos(angle) - 2k with k = ⌊angle / pi⌋
    (Liu et al. 2017, eq. 7)."""
    turns = torch.floor(angle.detach() / math.pi).clamp(min=0)
    return torch.where(turns % 2 == 0, 1.0, -1.0) * torch.cos(angle) - 2 * turns


class Margin(nn.Module):
    """Base class; by itself NormFace, normalised softmax without a margin (Wang et al. 2017)."""

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """The true classes' logits before scaling.

        Args:
            cosine: `(N,) float32` in [-1, 1], with the true class.
            norms: `(N,) float32` of the features.
        """
        return cosine

    def negatives(self, cosines: Tensor, cosine: Tensor, target: Tensor) -> Tensor:
        """The negatives' logits before scaling.

        Args:
            cosines: `(N, C) float32` with this rank's classes, the true ones among them.
            cosine: `(N,) float32` with the true class.
            target: `(N,) float32`, the true class's logit, as `target` gives it.
        """
        return cosines

    def penalty(self, norms: Tensor) -> Tensor:
        """A regulariser of the features' norms `(N,)`, added to the loss, `() float32`."""
        return norms.new_zeros(())

    def advance(self) -> None:
        """Count an optimiser step, for a margin that changes over them."""


class CombinedMargin(Margin):
    """cos(m1 θ + m2) - m3 (Deng et al. 2019, eq. 4).

    ArcFace is m2 alone (eq. 3), CosFace m3 alone (Wang et al. 2018, eq. 4). Monotone for any m1
    above 0, also beyond pi, see `monotone_cosine`.
    """

    def __init__(self, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0) -> None:
        super().__init__()
        self.m1, self.m2, self.m3 = m1, m2, m3

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        if self.m1 == 1 and self.m2 == 0:
            return cosine - self.m3
        return monotone_cosine(self.m1 * angle_of(cosine) + self.m2) - self.m3


class SphereFaceMargin(Margin):
    """cos(m θ), monotone (Liu et al. 2017, eq. 7); in training (λ cos θ + cos(m θ)) / (1 + λ).

    λ falls from 1000 to 5 over 1,660 steps of the optimiser, as in the authors' code (`base`,
    `gamma` and `lambda_min`); without it the loss diverges.
    """

    # Steps; checkpoints have them under this name.
    batches: Tensor

    def __init__(self, factor: float = 4.0) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("batches", torch.tensor(0.0))

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        hard = monotone_cosine(self.factor * angle_of(cosine))
        if not self.training:
            return hard
        weight = (1000 / (1 + 0.12 * self.batches)).clamp(min=5)
        return torch.lerp(hard, cosine, weight / (1 + weight))

    def advance(self) -> None:
        self.batches += 1


class AdaFaceMargin(Margin):
    """cos(θ - m ẑ) - (m ẑ + m), with ẑ the feature's norm, standardised by running statistics,
    times h, clipped to [-1, 1] (Kim et al. 2022, section 3.3). No gradient flows through ẑ.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, margin: float = 0.4, h: float = 0.333, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin, self.h, self.momentum = margin, h, momentum
        # Initial values of the authors' code.
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        clipped = norms.detach().clamp(1e-3, 100)
        if self.training and len(clipped) > 1:
            self.mean.lerp_(clipped.mean(), self.momentum)
            self.deviation.lerp_(clipped.std(), self.momentum)
        quality = ((clipped - self.mean) / (self.deviation + 1e-3) * self.h).clamp(-1, 1)
        # Clipped to [0, pi], where the paper's equation is monotone.
        angle = (angle_of(cosine) - self.margin * quality).clamp(1e-3, math.pi - 1e-3)
        return torch.cos(angle) - (self.margin * quality + self.margin)


class CurricularFaceMargin(Margin):
    """ArcFace's margin; the cosine of a hard negative, above the target, is multiplied by t + cos,
    t a running mean of the true classes' cosines (Huang et al. 2020, section 3.2)."""

    t: Tensor

    def __init__(self, margin: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin, self.momentum = margin, momentum
        self.register_buffer("t", torch.tensor(0.0))

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        return monotone_cosine(angle_of(cosine) + self.margin)

    def negatives(self, cosines: Tensor, cosine: Tensor, target: Tensor) -> Tensor:
        if self.training:
            self.t.lerp_(cosine.detach().mean(), self.momentum)
        hard = cosines > target[:, None]
        return torch.where(hard, cosines * (self.t + cosines), cosines)


class MagFaceMargin(Margin):
    """cos(θ + m(a)), m(a) linear from `lower` at norm a = 10 to `upper` at a = 110; adds `weight`
    times g(a) = 1/a + a/110² to the loss (Meng et al. 2021, section 3.2)."""

    min_norm, max_norm = 10.0, 110.0

    def __init__(self, lower: float = 0.45, upper: float = 0.8, weight: float = 35.0) -> None:
        super().__init__()
        self.lower, self.upper, self.weight = lower, upper, weight

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        share = (self._clip(norms) - self.min_norm) / (self.max_norm - self.min_norm)
        margin = self.lower + (self.upper - self.lower) * share
        return monotone_cosine(angle_of(cosine) + margin)

    def penalty(self, norms: Tensor) -> Tensor:
        clipped = self._clip(norms)
        return self.weight * (1 / clipped + clipped / self.max_norm**2).mean()

    def _clip(self, norms: Tensor) -> Tensor:
        return norms.clamp(self.min_norm, self.max_norm)


@LOSSES.register("softmax", help="Softmax cross-entropy: no margin, no normalisation.", keys=())
def softmax(section: TrainSection) -> Margin | None:
    return None


@LOSSES.register("normface", help="NormFace: normalised softmax (Wang et al. 2017).", keys=())
def normface(section: TrainSection) -> Margin | None:
    return Margin()


@LOSSES.register(
    "arcface", help="ArcFace: additive angular margin, 0.5 (Deng et al. 2019).", keys=("margin",)
)
def arcface(section: TrainSection) -> Margin | None:
    return CombinedMargin(m2=_margin(section, 0.5))


@LOSSES.register(
    "cosface", help="CosFace: additive cosine margin, 0.35 (Wang et al. 2018).", keys=("margin",)
)
def cosface(section: TrainSection) -> Margin | None:
    return CombinedMargin(m3=_margin(section, 0.35))


@LOSSES.register(
    "sphereface", help="SphereFace: factor on the angle, 4 (Liu et al. 2017).", keys=("margin",)
)
def sphereface(section: TrainSection) -> Margin | None:
    return SphereFaceMargin(_margin(section, 4.0))


@LOSSES.register(
    "combined",
    help="cos(m1 θ + m2) - m3 with train.m1, m2, m3 (Deng et al. 2019).",
    keys=("m1", "m2", "m3"),
)
def combined(section: TrainSection) -> Margin | None:
    return CombinedMargin(section.m1, section.m2, section.m3)


@LOSSES.register(
    "adaface", help="AdaFace: margin by image quality, 0.4 (Kim et al. 2022).", keys=("margin",),
    norm_tells_quality=True,
)  # fmt: skip
def adaface(section: TrainSection) -> Margin | None:
    return AdaFaceMargin(_margin(section, 0.4))


@LOSSES.register(
    "curricularface",
    help="CurricularFace: weighs hard negatives, 0.5 (Huang 2020).",
    keys=("margin",),
)
def curricularface(section: TrainSection) -> Margin | None:
    return CurricularFaceMargin(_margin(section, 0.5))


@LOSSES.register(
    "magface", help="MagFace: margin by feature length (Meng et al. 2021).", keys=(),
    norm_tells_quality=True,
)  # fmt: skip
def magface(section: TrainSection) -> Margin | None:
    return MagFaceMargin()


def _margin(section: TrainSection, paper: float) -> float:
    return paper if section.margin is None else section.margin
