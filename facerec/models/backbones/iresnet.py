"""Improved residual networks in insightface's own layout (arcface_torch's `iresnet`)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import halved
from facerec.registry import BACKBONES

_CHANNELS = (64, 128, 256, 512)


class _Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        summed: Tensor = y + (x if self.downsample is None else self.downsample(x))
        return summed


class IResNet(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        units: residual units per stage; each stage's first has stride 2.
        channels: of the four stages.
    """

    def __init__(
        self, card: ModelCard, units: Sequence[int], channels: Sequence[int] = _CHANNELS
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.prelu = nn.PReLU(channels[0])
        inputs = [channels[0], *channels[:-1]]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                *(
                    _Unit(outputs if index else entering, outputs, 1 if index else 2)
                    for index in range(count)
                )
            )
            for entering, outputs, count in zip(inputs, channels, units, strict=True)
        )
        self.bn2 = nn.BatchNorm2d(channels[-1])
        height, width = halved(card.input_height, 4), halved(card.input_width, 4)
        self.fc = nn.Linear(channels[-1] * height * width, card.embedding_size)
        self.features = nn.BatchNorm1d(card.embedding_size)
        # As arcface_torch: the last batch norm's scale stays 1.
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        vectors: Tensor = self.features(self.fc(x.flatten(1)))
        return vectors


@BACKBONES.register("iresnet18", help="insightface's IResNet-18.")
def iresnet18(card: ModelCard) -> nn.Module:
    return IResNet(card, (2, 2, 2, 2))


@BACKBONES.register("iresnet34", help="insightface's IResNet-34.")
def iresnet34(card: ModelCard) -> nn.Module:
    return IResNet(card, (3, 4, 6, 3))


@BACKBONES.register("iresnet50", help="insightface's IResNet-50.")
def iresnet50(card: ModelCard) -> nn.Module:
    return IResNet(card, (3, 4, 14, 3))


@BACKBONES.register("iresnet100", help="insightface's IResNet-100.")
def iresnet100(card: ModelCard) -> nn.Module:
    return IResNet(card, (3, 13, 30, 3))


@BACKBONES.register("iresnet200", help="insightface's IResNet-200.")
def iresnet200(card: ModelCard) -> nn.Module:
    return IResNet(card, (6, 26, 60, 6))


@BACKBONES.register("test_iresnet", help="Tiny, for tests.")
def test_iresnet(card: ModelCard) -> nn.Module:
    return IResNet(card, (1, 1, 1, 1), (8, 8, 16, 16))
