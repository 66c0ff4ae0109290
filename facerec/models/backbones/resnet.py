"""ResNet with bottlenecks (He et al. 2016) and face.evoLVe's head: batch norm, dropout, one
linear layer over the whole last map, batch norm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import halved, initialise_xavier
from facerec.registry import BACKBONES

_EXPANSION = 4


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        # Each unit begins as the identity (Goyal et al. 2017, section 5.1).
        nn.init.zeros_(self.bn3.weight)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y = y + (x if self.downsample is None else self.downsample(x))
        activated: Tensor = self.relu(y)
        return activated


class ResNet(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        units: bottlenecks per stage; each stage's first but the first stage's has stride 2.
        width: of the first stage's bottlenecks; each stage doubles it.
    """

    def __init__(self, card: ModelCard, units: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        inputs = width
        for stage, count in enumerate(units):
            narrow = width << stage
            blocks = []
            for index in range(count):
                blocks.append(_Bottleneck(inputs, narrow, 2 if stage and not index else 1))
                inputs = narrow * _EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn_o1 = nn.BatchNorm2d(inputs)
        self.dropout = nn.Dropout()
        height, width = halved(card.input_height, 5), halved(card.input_width, 5)
        self.fc = nn.Linear(inputs * height * width, card.embedding_size)
        self.bn_o2 = nn.BatchNorm1d(card.embedding_size)
        initialise_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn_o1(x))
        vectors: Tensor = self.bn_o2(self.fc(x.flatten(1)))
        return vectors


@BACKBONES.register("resnet_50", help="ResNet-50 with face.evoLVe's head.")
def resnet_50(card: ModelCard) -> nn.Module:
    return ResNet(card, (3, 4, 6, 3))


@BACKBONES.register("resnet_101", help="ResNet-101 with face.evoLVe's head.")
def resnet_101(card: ModelCard) -> nn.Module:
    return ResNet(card, (3, 4, 23, 3))


@BACKBONES.register("resnet_152", help="ResNet-152 with face.evoLVe's head.")
def resnet_152(card: ModelCard) -> nn.Module:
    return ResNet(card, (3, 8, 36, 3))


@BACKBONES.register("test_resnet", help="Tiny, for tests.")
def test_resnet(card: ModelCard) -> nn.Module:
    return ResNet(card, (1, 1, 1, 1), 4)
