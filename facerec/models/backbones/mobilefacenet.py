"""MobileFaceNet (Chen et al. 2018), in the layout of InsightFace_Pytorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import halved
from facerec.registry import BACKBONES

_CHANNELS = (64, 64, 128, 128)
_UNITS = (4, 6, 2)


class _Convolution(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, stride: int = 1,
        padding: int = 0, groups: int = 1, *, linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.prelu(self.bn(self.conv(x)))
        return y


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, inner: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.conv = _Convolution(inputs, inner)
        self.conv_dw = _Convolution(inner, inner, 3, stride, 1, inner)
        self.project = _Convolution(inner, outputs, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class _Stage(nn.Module):
    def __init__(self, channels: int, inner: int, units: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *(_Bottleneck(channels, channels, inner, 1) for _ in range(units))
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


class MobileFaceNet(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        channels: of the stem and the three stages.
        units: residual bottlenecks of the three stages.
    """

    def __init__(
        self, card: ModelCard, channels: Sequence[int] = _CHANNELS, units: Sequence[int] = _UNITS
    ) -> None:
        super().__init__()
        stem, first, second, third = channels
        last = 4 * third
        self.conv1 = _Convolution(3, stem, 3, 2, 1)
        self.conv2_dw = _Convolution(stem, stem, 3, 1, 1, stem)
        self.conv_23 = _Bottleneck(stem, first, 2 * stem, 2)
        self.conv_3 = _Stage(first, 2 * first, units[0])
        self.conv_34 = _Bottleneck(first, second, 4 * first, 2)
        self.conv_4 = _Stage(second, 2 * second, units[1])
        self.conv_45 = _Bottleneck(second, third, 4 * second, 2)
        self.conv_5 = _Stage(third, 2 * third, units[2])
        self.conv_6_sep = _Convolution(third, last)
        # Global depthwise convolution: the paper's replacement for average pooling.
        whole = halved(card.input_height, 4), halved(card.input_width, 4)
        self.conv_6_dw = _Convolution(last, last, whole, groups=last, linear=True)
        self.linear = nn.Linear(last, card.embedding_size, bias=False)
        self.bn = nn.BatchNorm1d(card.embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2_dw(self.conv1(x))
        x = self.conv_3(self.conv_23(x))
        x = self.conv_4(self.conv_34(x))
        x = self.conv_5(self.conv_45(x))
        x = self.conv_6_dw(self.conv_6_sep(x))
        vectors: Tensor = self.bn(self.linear(x.flatten(1)))
        return vectors


@BACKBONES.register("mobilefacenet", help="MobileFaceNet, 1 million parameters.")
def mobilefacenet(card: ModelCard) -> nn.Module:
    return MobileFaceNet(card)


@BACKBONES.register("test_mobilefacenet", help="Tiny, for tests.")
def test_mobilefacenet(card: ModelCard) -> nn.Module:
    return MobileFaceNet(card, (8, 8, 8, 8), (1, 1, 1))
