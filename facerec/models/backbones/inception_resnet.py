"""Inception-ResNet v1 (Szegedy et al. 2017), as FaceNet has it, in facenet-pytorch's layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import initialise_xavier
from facerec.registry import BACKBONES

Kernel = int | tuple[int, int]


class _Convolution(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        # TensorFlow's epsilon, with which the published weights were trained.
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


def _same(inputs: int, outputs: int, *kernels: Kernel) -> nn.Sequential:
    """A sequence of convolutions with `same` padding."""
    layers = []
    for kernel in kernels:
        padding = tuple(side // 2 for side in kernel) if isinstance(kernel, tuple) else kernel // 2
        layers.append(_Convolution(inputs, outputs, kernel, 1, padding))  # type: ignore[arg-type]
        inputs = outputs
    return nn.Sequential(*layers)


class _Residual(nn.Module):
    """Inception-ResNet block: parallel branches, concatenated, projected, scaled and added."""

    def __init__(
        self, channels: int, branches: list[nn.Module], joined: int, scale: float,
        *, last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.count = len(branches)
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale, self.last = scale, last

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f"branch{number}")(x) for number in range(self.count)]
        y: Tensor = x + self.scale * self.conv2d(torch.cat(parts, 1))
        return y if self.last else torch.relu(y)


class _Reduction(nn.Module):
    """Reduction block: parallel branches of stride 2 and max-pooling, concatenated."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.count = len(branches)
        for number, branch in enumerate([*branches, nn.MaxPool2d(3, 2)]):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f"branch{number}")(x) for number in range(self.count + 1)]
        return torch.cat(parts, 1)


def _block35() -> nn.Module:
    branches = [
        _Convolution(256, 32, 1), _same(256, 32, 1, 3), _same(256, 32, 1, 3, 3),
    ]  # fmt: skip
    return _Residual(256, branches, 96, 0.17)


def _block17() -> nn.Module:
    branches = [_Convolution(896, 128, 1), _same(896, 128, 1, (1, 7), (7, 1))]
    return _Residual(896, branches, 256, 0.10)


def _block8(*, last: bool = False) -> nn.Module:
    branches = [_Convolution(1792, 192, 1), _same(1792, 192, 1, (1, 3), (3, 1))]
    return _Residual(1792, branches, 384, 1.0 if last else 0.20, last=last)


class InceptionResNetV1(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`; H and W at least 75."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.conv2d_1a = _Convolution(3, 32, 3, 2)
        self.conv2d_2a = _Convolution(32, 32, 3)
        self.conv2d_2b = _Convolution(32, 64, 3, 1, 1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = _Convolution(64, 80, 1)
        self.conv2d_4a = _Convolution(80, 192, 3)
        self.conv2d_4b = _Convolution(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _Reduction(
            [
                _Convolution(256, 384, 3, 2),
                nn.Sequential(
                    _Convolution(256, 192, 1),
                    _Convolution(192, 192, 3, 1, 1),
                    _Convolution(192, 256, 3, 2),
                ),
            ]
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _Reduction(
            [
                nn.Sequential(_Convolution(896, 256, 1), _Convolution(256, 384, 3, 2)),
                nn.Sequential(_Convolution(896, 256, 1), _Convolution(256, 256, 3, 2)),
                nn.Sequential(
                    _Convolution(896, 256, 1),
                    _Convolution(256, 256, 3, 1, 1),
                    _Convolution(256, 256, 3, 2),
                ),
            ]
        )
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(last=True)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, card.embedding_size, bias=False)
        self.last_bn = nn.BatchNorm1d(card.embedding_size, eps=1e-3)
        initialise_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        x = self.dropout(self.block8(x).mean(dim=(2, 3)))
        vectors: Tensor = self.last_bn(self.last_linear(x))
        return vectors


@BACKBONES.register("inception_resnet_v1", help="Inception-ResNet v1, FaceNet's.")
def inception_resnet_v1(card: ModelCard) -> nn.Module:
    return InceptionResNetV1(card)
