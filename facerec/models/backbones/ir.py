"""Improved residual networks, IR and IR-SE, in the layout of face.evoLVe and InsightFace_Pytorch,
which the seed project's weights have.

ArcFace's improved residual unit is BN-Conv-BN-PReLU-Conv-BN (Deng et al. 2018, arXiv:1801.07698v1,
block setting). `ir_*` are InsightFace_Pytorch's, without the batch norm in the middle;
`adaface_ir_*` and `iresnet*` have it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import SqueezeExcite, halved, initialise_xavier
from facerec.registry import BACKBONES

_CHANNELS = (64, 128, 256, 512)
_UNITS_50, _UNITS_101, _UNITS_152 = (3, 4, 14, 3), (3, 13, 30, 3), (3, 8, 36, 3)
_SE_REDUCTION = 16


class _Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, *, se: bool, adaface: bool) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(outputs)] if adaface else []),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            *([SqueezeExcite(outputs, _SE_REDUCTION)] if se else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return y


class IRNet(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        units: residual units per stage; each stage's first has stride 2.
        channels: of the four stages.
        se: squeeze-and-excitation in each unit.
        adaface: AdaFace's units (Kim et al. 2022), with a batch norm between the convolutions, and
            its head.
    """

    def __init__(
        self,
        card: ModelCard,
        units: Sequence[int],
        channels: Sequence[int] = _CHANNELS,
        *,
        se: bool = False,
        adaface: bool = False,
    ) -> None:
        super().__init__()
        first, last = channels[0], channels[-1]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        body = []
        inputs = first
        for outputs, count in zip(channels, units, strict=True):
            for index in range(count):
                body.append(_Unit(inputs, outputs, 1 if index else 2, se=se, adaface=adaface))
                inputs = outputs
        height, width = halved(card.input_height, 4), halved(card.input_width, 4)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(0.4 if adaface else 0.5),
            nn.Flatten(),
            nn.Linear(last * height * width, card.embedding_size),
            nn.BatchNorm1d(card.embedding_size, affine=not adaface),
        )
        self.body = nn.Sequential(*body)
        initialise_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return vectors


@BACKBONES.register("ir_50", help="IR-50, InsightFace_Pytorch's improved residual network.")
def ir_50(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_50)


@BACKBONES.register("ir_101", help="IR-101, InsightFace_Pytorch's improved residual network.")
def ir_101(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_101)


@BACKBONES.register("ir_152", help="IR-152, InsightFace_Pytorch's improved residual network.")
def ir_152(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_152)


@BACKBONES.register("ir_se_50", help="IR-50 with squeeze-and-excitation.")
def ir_se_50(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_50, se=True)


@BACKBONES.register("ir_se_101", help="IR-101 with squeeze-and-excitation.")
def ir_se_101(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_101, se=True)


@BACKBONES.register("ir_se_152", help="IR-152 with squeeze-and-excitation.")
def ir_se_152(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_152, se=True)


@BACKBONES.register("adaface_ir_18", help="AdaFace's IR-18.")
def adaface_ir_18(card: ModelCard) -> nn.Module:
    return IRNet(card, (2, 2, 2, 2), adaface=True)


@BACKBONES.register("adaface_ir_34", help="AdaFace's IR-34.")
def adaface_ir_34(card: ModelCard) -> nn.Module:
    return IRNet(card, (3, 4, 6, 3), adaface=True)


@BACKBONES.register("adaface_ir_50", help="AdaFace's IR-50.")
def adaface_ir_50(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_50, adaface=True)


@BACKBONES.register("adaface_ir_101", help="AdaFace's IR-101.")
def adaface_ir_101(card: ModelCard) -> nn.Module:
    return IRNet(card, _UNITS_101, adaface=True)


@BACKBONES.register("test_ir", help="Tiny, for tests.")
def test_ir(card: ModelCard) -> nn.Module:
    return IRNet(card, (1, 1, 1, 1), (8, 8, 16, 16))


@BACKBONES.register("test_ir_se", help="Tiny, for tests.")
def test_ir_se(card: ModelCard) -> nn.Module:
    return IRNet(card, (1, 1, 1, 1), (16, 16, 32, 32), se=True)
