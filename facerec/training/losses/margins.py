"""Margin losses: ArcFace, CosFace, SphereFace, combined, AdaFace, CurricularFace, MagFace.

A margin maps the cosines `(N, C) float32` of features with class centres to logits: `target` the
true class's cosine `(N,)`, `others` the rest; the classifier scales both. Angles are float32 under
any autocast.

A loss registers a factory from the profile's `train` section to its margin, None for plain softmax.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES

# At cos = ±1 the derivative of the arc cosine is infinite; here it is at most 707.
_NEAR_ONE = 1 - 1e-6


def angle_of(cosine: Tensor) -> Tensor:
    """Radians in (0, pi), with a finite derivative everywhere."""
    return torch.acos(cosine.clamp(-_NEAR_ONE, _NEAR_ONE))


def monotone_cosine(angle: Tensor) -> Tensor:
    """cos(angle) up to pi, and on from there without turning back: (-1)^k cos(angle) - 2k, with k
    the number of whole pi in the angle (Liu et al. 2017, eq. 7)."""
    turns = torch.floor(angle.detach() / math.pi).clamp(min=0)
    return torch.where(turns % 2 == 0, 1.0, -1.0) * torch.cos(angle) - 2 * turns


class Margin(nn.Module):
    """No margin: normalised softmax (Wang et al. 2017, NormFace), and the base of the others."""

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """The true classes' logits before scaling.

        Args:
            cosine: `(N,) float32` in [-1, 1], with the true class.
            norms: `(N,) float32`, lengths of the features.
        """
        return cosine

    def others(self, cosines: Tensor, cosine: Tensor, target: Tensor) -> Tensor:
        """The other classes' logits before scaling.

        Args:
            cosines: `(N, C) float32` with a share of the classes.
            cosine: `(N,) float32` with the true class.
            target: `(N,) float32`, what `target` made of it.
        """
        return cosines

    def penalty(self, norms: Tensor) -> Tensor:
        """What the lengths `(N,)` of the features add to the loss, `() float32`."""
        return norms.new_zeros(())


class CombinedMargin(Margin):
    """cos(m1 θ + m2) - m3 (Deng et al. 2019, eq. 4).

    ArcFace is m2 alone (eq. 3), CosFace m3 alone (Wang et al. 2018, eq. 4), SphereFace m1 alone
    (Liu et al. 2017, eq. 7). Beyond pi it goes on falling, see `monotone_cosine`.
    """

    def __init__(self, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0) -> None:
        super().__init__()
        self.m1, self.m2, self.m3 = m1, m2, m3

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        if self.m1 == 1 and self.m2 == 0:
            return cosine - self.m3
        return monotone_cosine(self.m1 * angle_of(cosine) + self.m2) - self.m3


class AdaFaceMargin(Margin):
    """cos(θ - m ẑ) - (m ẑ + m), with ẑ the feature's length, standardised over recent batches,
    times h, and cut to [-1, 1] (Kim et al. 2022, section 3.3). No gradient flows through ẑ.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, margin: float = 0.4, h: float = 0.333, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin, self.h, self.momentum = margin, h, momentum
        # The authors' starting values.
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        lengths = norms.detach().clamp(1e-3, 100)
        if self.training and len(lengths) > 1:
            self.mean.lerp_(lengths.mean(), self.momentum)
            self.deviation.lerp_(lengths.std(), self.momentum)
        quality = ((lengths - self.mean) / (self.deviation + 1e-3) * self.h).clamp(-1, 1)
        # Kept inside [0, pi], where the paper's equation is monotone.
        angle = (angle_of(cosine) - self.margin * quality).clamp(1e-3, math.pi - 1e-3)
        return torch.cos(angle) - (self.margin * quality + self.margin)


class CurricularFaceMargin(Margin):
    """ArcFace's margin for the true class; a negative harder than it weighs (t + cos) times its
    cosine, with t a running mean of the true classes' cosines (Huang et al. 2020, section 3.2)."""

    t: Tensor

    def __init__(self, margin: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin, self.momentum = margin, momentum
        self.register_buffer("t", torch.tensor(0.0))

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        return monotone_cosine(angle_of(cosine) + self.margin)

    def others(self, cosines: Tensor, cosine: Tensor, target: Tensor) -> Tensor:
        if self.training:
            self.t.lerp_(cosine.detach().mean(), self.momentum)
        hard = cosines > target[:, None]
        return torch.where(hard, cosines * (self.t + cosines), cosines)


class MagFaceMargin(Margin):
    """cos(θ + m(a)) with m(a) linear from `lower` at a = 10 to `upper` at a = 110, a the feature's
    length, and g(a) = 1/a + a/110², times `weight`, in the loss (Meng et al. 2021, section 3.2)."""

    shortest, longest = 10.0, 110.0

    def __init__(self, lower: float = 0.45, upper: float = 0.8, weight: float = 35.0) -> None:
        super().__init__()
        self.lower, self.upper, self.weight = lower, upper, weight

    def target(self, cosine: Tensor, norms: Tensor) -> Tensor:
        share = (self._length(norms) - self.shortest) / (self.longest - self.shortest)
        margin = self.lower + (self.upper - self.lower) * share
        return monotone_cosine(angle_of(cosine) + margin)

    def penalty(self, norms: Tensor) -> Tensor:
        length = self._length(norms)
        return self.weight * (1 / length + length / self.longest**2).mean()

    def _length(self, norms: Tensor) -> Tensor:
        return norms.clamp(self.shortest, self.longest)


@LOSSES.register("softmax", help="Softmax cross-entropy: no margin, no normalisation.")
def softmax(section: TrainSection) -> Margin | None:
    return None


@LOSSES.register("normface", help="NormFace: normalised softmax (Wang et al. 2017).")
def normface(section: TrainSection) -> Margin | None:
    return Margin()


@LOSSES.register("arcface", help="ArcFace: additive angular margin, 0.5 (Deng et al. 2019).")
def arcface(section: TrainSection) -> Margin | None:
    return CombinedMargin(m2=_margin(section, 0.5))


@LOSSES.register("cosface", help="CosFace: additive cosine margin, 0.35 (Wang et al. 2018).")
def cosface(section: TrainSection) -> Margin | None:
    return CombinedMargin(m3=_margin(section, 0.35))


@LOSSES.register("sphereface", help="SphereFace: factor on the angle, 4 (Liu et al. 2017).")
def sphereface(section: TrainSection) -> Margin | None:
    return CombinedMargin(m1=_margin(section, 4.0))


@LOSSES.register("combined", help="cos(m1 θ + m2) - m3 with train.m1, m2, m3 (Deng et al. 2019).")
def combined(section: TrainSection) -> Margin | None:
    return CombinedMargin(section.m1, section.m2, section.m3)


@LOSSES.register("adaface", help="AdaFace: margin by image quality, 0.4 (Kim et al. 2022).")
def adaface(section: TrainSection) -> Margin | None:
    return AdaFaceMargin(_margin(section, 0.4))


@LOSSES.register("curricularface", help="CurricularFace: weighs hard negatives, 0.5 (Huang 2020).")
def curricularface(section: TrainSection) -> Margin | None:
    return CurricularFaceMargin(_margin(section, 0.5))


@LOSSES.register("magface", help="MagFace: margin by feature length (Meng et al. 2021).")
def magface(section: TrainSection) -> Margin | None:
    return MagFaceMargin()


def _margin(section: TrainSection, paper: float) -> float:
    return paper if section.margin is None else section.margin
