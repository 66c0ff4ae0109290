"""Layers and initialisation shared by several families."""

from __future__ import annotations

from torch import Tensor, nn


def halved(side: int, times: int) -> int:
    """A side after that many layers of stride 2, rounded up each time."""
    for _ in range(times):
        side = (side + 1) // 2
    return side


def initialise_xavier(network: nn.Module) -> None:
    """Glorot & Bengio 2010 for convolutions and linear layers, biases 0, as face.evoLVe does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise_mobile(network: nn.Module) -> None:
    """He et al. 2015 over outgoing connections for convolutions, N(0, 0.01) for linear layers,
    as torchvision does for the MobileNets."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al. 2018) with 1x1 convolutions named as in InsightFace_Pytorch."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.sigmoid(self.fc2(self.relu(self.fc1(self.avg_pool(x)))))
        return x * weight
