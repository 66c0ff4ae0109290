"""MobileNet V3 (Howard et al. 2019), with the seed project's layout and head.

It differs from the paper in 1,280 units before the head for both sizes and in squeeze-and-excite
layers without biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import initialise_mobile
from facerec.registry import BACKBONES

_STEM, _LAST = 16, 1280


class _Row(NamedTuple):
    kernel: int
    expansion: int
    channels: int
    se: bool
    swish: bool
    stride: int


# Tables 1 and 2 of the paper.
_LARGE = tuple(
    _Row(*row)
    for row in (
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    )
)
_SMALL = tuple(
    _Row(*row)
    for row in (
        (3, 16, 16, True, False, 2),
        (3, 72, 24, False, False, 2),
        (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1),
        (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    )
)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // 4, channels, bias=False),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * weight[..., None, None]


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, row: _Row) -> None:
        super().__init__()
        self.residual = row.stride == 1 and inputs == row.channels
        activation = nn.Hardswish if row.swish else nn.ReLU
        inner = row.expansion
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            activation(inplace=True),
            nn.Conv2d(
                inner, inner, row.kernel, row.stride, row.kernel // 2, groups=inner, bias=False
            ),
            nn.BatchNorm2d(inner),
            _SqueezeExcite(inner) if row.se else nn.Identity(),
            activation(inplace=True),
            nn.Conv2d(inner, row.channels, 1, bias=False),
            nn.BatchNorm2d(row.channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.Hardswish(inplace=True),
    )


class MobileNetV3(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: embedding size.
        rows: the bottlenecks.
        last: units before the head.
    """

    def __init__(self, card: ModelCard, rows: Sequence[_Row], last: int = _LAST) -> None:
        super().__init__()
        inputs = [_STEM, *(row.channels for row in rows)]
        wide = rows[-1].expansion
        self.features = nn.Sequential(
            _convolution(3, _STEM, 3, 2),
            *(_Bottleneck(entering, row) for entering, row in zip(inputs, rows, strict=False)),
            _convolution(inputs[-1], wide, 1, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, last, 1),
            nn.Hardswish(inplace=True),
        )
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, card.embedding_size))
        initialise_mobile(self)

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.out(self.features(x).flatten(1))
        return vectors


@BACKBONES.register("mobilenet_v3_large", help="MobileNet V3, large.")
def mobilenet_v3_large(card: ModelCard) -> nn.Module:
    return MobileNetV3(card, _LARGE)


@BACKBONES.register("mobilenet_v3_small", help="MobileNet V3, small.")
def mobilenet_v3_small(card: ModelCard) -> nn.Module:
    return MobileNetV3(card, _SMALL)


@BACKBONES.register("test_mobilenet_v3", help="Tiny, for tests.")
def test_mobilenet_v3(card: ModelCard) -> nn.Module:
    return MobileNetV3(card, (_Row(3, 16, 16, True, False, 1), _Row(5, 32, 16, False, True, 2)), 32)
