"""Other projects' networks as they define them, for weights in their layouts.

Each is written down anew from its public description, so that an importer is not compared with the
code it feeds. The forward pass is the original's, without its final normalisation.
"""

from __future__ import annotations

import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SETTING = [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]


def randomise(network: nn.Module, side: tuple[int, int], seed: int = 0) -> nn.Module:
    """Random weights, and the batch statistics of random images of that size: every parameter
    matters, and no layer drowns another."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim <= 1 and value.is_floating_point():
            spread = torch.randn(value.shape, generator=generator) * 0.1
            value.copy_(spread + (1.0 if name.endswith("weight") else 0.0))
        elif value.is_floating_point():
            fan_in = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=generator) * (1.5 / fan_in) ** 0.5)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, *side, generator=generator))
    return network.eval()


class AdaFace(nn.Module):
    """mk-minchul/AdaFace, `net.py`, IR-18."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        body, inputs = [], 64
        for depth in (64, 128, 256, 512):
            for stride in (2, 1):
                body.append(self.unit(inputs, depth, stride))
                inputs = depth
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), nn.Linear(512 * 49, 512),
            nn.BatchNorm1d(512, affine=False),
        )  # fmt: skip

    @staticmethod
    def unit(inputs: int, depth: int, stride: int) -> nn.Module:
        unit = nn.Module()
        unit.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if inputs == depth
            else nn.Sequential(
                nn.Conv2d(inputs, depth, 1, stride, bias=False), nn.BatchNorm2d(depth)
            )
        )
        unit.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.Conv2d(inputs, depth, 3, 1, 1, bias=False),
            nn.BatchNorm2d(depth), nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False), nn.BatchNorm2d(depth),
        )  # fmt: skip
        return unit

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_layer(x)
        for unit in self.body:
            x = unit.res_layer(x) + unit.shortcut_layer(x)
        return self.output_layer(x)


class SeedIR(AdaFace):
    """egcode/facerec and face.evoLVe, IR: no batch norm between, the head's with weights."""

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 14, 3), *, se: bool = False) -> None:
        super().__init__()
        body, inputs = [], 64
        for depth, count in zip((64, 128, 256, 512), blocks, strict=True):
            for index in range(count):
                unit = self.unit(inputs, depth, 1 if index else 2)
                layers = [layer for place, layer in enumerate(unit.res_layer) if place != 2]
                unit.res_layer = nn.Sequential(*layers, *([self.se(depth)] if se else []))
                body.append(unit)
                inputs = depth
        self.body = nn.Sequential(*body)
        self.output_layer[4] = nn.BatchNorm1d(512)

    @staticmethod
    def se(channels: int) -> nn.Module:
        return SqueezeExcite(channels)


class SqueezeExcite(nn.Module):
    """InsightFace_Pytorch's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class IResNet18(nn.Module):
    """insightface, arcface_torch, `iresnet18`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for number, planes in enumerate((64, 128, 256, 512), start=1):
            units = []
            for stride in (2, 1):
                unit = nn.Module()
                unit.bn1 = nn.BatchNorm2d(inputs)
                unit.conv1 = nn.Conv2d(inputs, planes, 3, 1, 1, bias=False)
                unit.bn2, unit.prelu = nn.BatchNorm2d(planes), nn.PReLU(planes)
                unit.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
                unit.bn3 = nn.BatchNorm2d(planes)
                if stride == 2:
                    unit.downsample = nn.Sequential(
                        nn.Conv2d(inputs, planes, 1, 2, bias=False), nn.BatchNorm2d(planes)
                    )
                units.append(unit)
                inputs = planes
            setattr(self, f"layer{number}", nn.Sequential(*units))
        self.bn2, self.fc = nn.BatchNorm2d(512), nn.Linear(512 * 49, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, 5):
            for unit in getattr(self, f"layer{number}"):
                y = unit.prelu(unit.bn2(unit.conv1(unit.bn1(x))))
                y = unit.bn3(unit.conv2(y))
                x = y + (unit.downsample(x) if hasattr(unit, "downsample") else x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


class Xiaoccer(nn.Module):
    """Xiaoccer/MobileFaceNet_Pytorch, `core/model.py`, 112x96."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = self.block(3, 64, 3, 2, 1)
        self.dw_conv1 = self.block(64, 64, 3, 1, 1, groups=64)
        blocks, inputs = [], 64
        for expansion, outputs, repeats, stride in SETTING:
            for index in range(repeats):
                inner, step = inputs * expansion, 1 if index else stride
                bottleneck = nn.Module()
                bottleneck.conv = nn.Sequential(
                    nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner),
                    nn.Conv2d(inner, inner, 3, step, 1, groups=inner, bias=False),
                    nn.BatchNorm2d(inner), nn.PReLU(inner),
                    nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
                )  # fmt: skip
                bottleneck.connect = step == 1 and inputs == outputs
                blocks.append(bottleneck)
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = self.block(128, 512, 1)
        self.linear7 = self.block(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = self.block(512, 128, 1, linear=True)

    @staticmethod
    def block(inputs, outputs, kernel, stride=1, padding=0, groups=1, *, linear=False):
        made = nn.Sequential()
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        made.add_module("conv", conv)
        made.add_module("bn", nn.BatchNorm2d(outputs))
        if not linear:
            made.add_module("prelu", nn.PReLU(outputs))
        return made

    def forward(self, x: Tensor) -> Tensor:
        x = self.dw_conv1(self.conv1(x))
        for bottleneck in self.blocks:
            y = bottleneck.conv(x)
            x = x + y if bottleneck.connect else y
        return self.linear1(self.linear7(self.conv2(x))).flatten(1)


class Foamliu(nn.Module):
    """foamliu/MobileFaceNet, `mobilefacenet.py`, with the head that its trained files have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = self.block(3, 64, 3, 2)
        self.dw_conv = nn.Module()
        self.dw_conv.depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
        self.dw_conv.pointwise = nn.Conv2d(64, 64, 1, bias=False)
        self.dw_conv.bn1, self.dw_conv.bn2 = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
        features, inputs = [], 64
        for expansion, outputs, repeats, stride in SETTING:
            for index in range(repeats):
                inner, step = inputs * expansion, 1 if index else stride
                unit = nn.Module()
                unit.conv = nn.Sequential(
                    self.block(inputs, inner, 1), self.block(inner, inner, 3, step, inner),
                    nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
                )  # fmt: skip
                unit.connect = step == 1 and inputs == outputs
                features.append(unit)
                inputs = outputs
        self.features = nn.Sequential(*features)
        self.conv2 = self.block(128, 512, 1)
        self.gdconv = nn.Module()
        self.gdconv.depthwise = nn.Conv2d(512, 512, 7, groups=512, bias=False)
        self.gdconv.bn = nn.BatchNorm2d(512)
        self.conv3, self.bn = nn.Conv2d(512, 128, 1), nn.BatchNorm2d(128)

    @staticmethod
    def block(
        inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        first = self.dw_conv
        x = torch.relu(first.bn1(first.depthwise(self.conv1(x))))
        x = torch.relu(first.bn2(first.pointwise(x)))
        for unit in self.features:
            x = x + unit.conv(x) if unit.connect else unit.conv(x)
        x = self.gdconv.bn(self.gdconv.depthwise(self.conv2(x)))
        return self.bn(self.conv3(x)).flatten(1)


class MXNetMobileFaceNet:
    """insightface's `fmobilefacenet` as arrays by name, and its forward pass by MXNet's rules."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)
        self.arrays: dict[str, np.ndarray] = {}
        self._unit("conv_1", 64, 3, 3)
        self._unit("conv_2_dw", 64, 1, 3)
        for stage, inputs, outputs, blocks, inner in (
            ("3", 64, 64, 4, 128), ("4", 64, 128, 6, 256), ("5", 128, 128, 2, 256),
        ):  # fmt: skip
            down = {"3": ("23", 128), "4": ("34", 256), "5": ("45", 512)}[stage]
            self._bottleneck(f"dconv_{down[0]}", inputs, outputs, down[1])
            for block in range(blocks):
                self._bottleneck(f"res_{stage}_block{block}", outputs, outputs, inner)
        self._unit("conv_6sep", 512, 128, 1)
        self._unit("conv_6dw7_7", 512, 1, 7, linear=True)
        self.arrays["arg:pre_fc1_weight"] = self._normal(128, 512)
        self.arrays["arg:pre_fc1_bias"] = self._normal(128)
        self._norm("fc1", 128)

    def _normal(self, *shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:])) or 1
        return self._generator.normal(0, (1.5 / fan_in) ** 0.5, shape).astype(np.float32)

    def _norm(self, name: str, channels: int) -> None:
        self.arrays[f"arg:{name}_gamma"] = 1 + 0.1 * self._normal(channels)
        self.arrays[f"arg:{name}_beta"] = 0.1 * self._normal(channels)
        self.arrays[f"aux:{name}_moving_mean"] = 0.1 * self._normal(channels)
        variance = self._generator.uniform(0.5, 1.5, channels).astype(np.float32)
        self.arrays[f"aux:{name}_moving_var"] = variance

    def _unit(
        self, name: str, outputs: int, inputs: int, side: int, *, linear: bool = False
    ) -> None:
        self.arrays[f"arg:{name}_conv2d_weight"] = self._normal(outputs, inputs, side, side)
        self._norm(f"{name}_batchnorm", outputs)
        if not linear:
            slopes = 0.25 + 0.1 * self._normal(outputs)
            self.arrays[f"arg:{name}_relu_gamma"] = slopes

    def _bottleneck(self, name: str, inputs: int, outputs: int, inner: int) -> None:
        self._unit(f"{name}_conv_sep", inner, inputs, 1)
        self._unit(f"{name}_conv_dw", inner, 1, 3)
        self._unit(f"{name}_conv_proj", outputs, inner, 1, linear=True)

    def save(self) -> bytes:
        """As `mx.nd.save` writes version 2."""
        out = struct.pack("<QQQ", 0x112, 0, len(self.arrays))
        for array in self.arrays.values():
            out += struct.pack("<Ii", 0xF993FAC9, 0)
            out += struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
            out += struct.pack("<iii", 1, 0, 0) + array.tobytes()
        out += struct.pack("<Q", len(self.arrays))
        for name in self.arrays:
            out += struct.pack("<Q", len(name)) + name.encode()
        return out

    def _get(self, name: str) -> Tensor:
        kind = "aux" if name.endswith(("mean", "var")) else "arg"
        return torch.from_numpy(self.arrays[f"{kind}:{name}"])

    def _apply_norm(self, x: Tensor, name: str, epsilon: float, *, fixed: bool = False) -> Tensor:
        gain = None if fixed else self._get(f"{name}_gamma")
        mean, variance = self._get(f"{name}_moving_mean"), self._get(f"{name}_moving_var")
        return F.batch_norm(x, mean, variance, gain, self._get(f"{name}_beta"), eps=epsilon)

    def _apply(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight = self._get(f"{name}_conv2d_weight")
        x = F.conv2d(x, weight, None, stride, padding, groups=x.shape[1] // weight.shape[1])
        x = self._apply_norm(x, f"{name}_batchnorm", 1e-3)
        slopes = f"{name}_relu_gamma"
        return F.prelu(x, self._get(slopes)) if f"arg:{slopes}" in self.arrays else x

    def _apply_bottleneck(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = self._apply(self._apply(x, f"{name}_conv_sep"), f"{name}_conv_dw", stride, 1)
        return self._apply(y, f"{name}_conv_proj")

    def __call__(self, x: Tensor) -> Tensor:
        x = self._apply(self._apply(x, "conv_1", 2, 1), "conv_2_dw", 1, 1)
        for stage, down, blocks in (("3", "23", 4), ("4", "34", 6), ("5", "45", 2)):
            x = self._apply_bottleneck(x, f"dconv_{down}", 2)
            for block in range(blocks):
                x = x + self._apply_bottleneck(x, f"res_{stage}_block{block}", 1)
        x = self._apply(self._apply(x, "conv_6sep"), "conv_6dw7_7").flatten(1)
        x = F.linear(x, self._get("pre_fc1_weight"), self._get("pre_fc1_bias"))
        return self._apply_norm(x, "fc1", 2e-5, fixed=True)
