"""MobileFaceNet with ReLU in place of PReLU, in the layout of foamliu/MobileFaceNet."""

from __future__ import annotations

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import halved, initialise_mobile
from facerec.registry import BACKBONES

# Table 1 of the paper: expansion, channels, repeats, stride.
_SETTING = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.depthwise(x)))
        y: Tensor = self.relu(self.bn2(self.pointwise(x)))
        return y


class _Global(nn.Module):
    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.depthwise(x))
        return y


class MobileFaceNetReLU(nn.Module):
    """`(N, 3, H, W) float32`, ImageNet's mean and deviation taken out, to `(N, D) float32`."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        from torchvision.models.mobilenetv2 import InvertedResidual
        from torchvision.ops import Conv2dNormActivation

        self.conv1 = Conv2dNormActivation(3, 64, 3, 2, activation_layer=nn.ReLU6)
        self.dw_conv = _Separable(64)
        blocks, inputs = [], 64
        for expansion, outputs, repeats, stride in _SETTING:
            for index in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, 1 if index else stride, expansion))
                inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = Conv2dNormActivation(inputs, 512, 1, activation_layer=nn.ReLU6)
        self.gdconv = _Global(512, (halved(card.input_height, 4), halved(card.input_width, 4)))
        self.conv3 = nn.Conv2d(512, card.embedding_size, 1)
        self.bn = nn.BatchNorm2d(card.embedding_size)
        initialise_mobile(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        vectors: Tensor = self.bn(self.conv3(self.gdconv(x))).flatten(1)
        return vectors


@BACKBONES.register("mobilefacenet_relu", help="MobileFaceNet with ReLU.")
def mobilefacenet_relu(card: ModelCard) -> nn.Module:
    return MobileFaceNetReLU(card)
