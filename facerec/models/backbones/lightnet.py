"""LightNet, the seed project's plain network: four pairs of convolutions and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import initialise_xavier
from facerec.registry import BACKBONES

_CHANNELS = (20, 50, 64, 128, 512, 512, 1024, 1024)


class LightNet(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        channels: of the eight convolutions; a 2x2 maximum follows every second one.
    """

    def __init__(self, card: ModelCard, channels: Sequence[int] = _CHANNELS) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4, *rest = (
            nn.Conv2d(inputs, outputs, 3, 1, 1)
            for inputs, outputs in zip((3, *channels), channels, strict=False)
        )
        self.conv5, self.conv6, self.conv7, self.conv8 = rest
        self.prelu1_1, self.prelu1_2 = nn.PReLU(), nn.PReLU()
        self.prelu2_1, self.prelu2_2 = nn.PReLU(), nn.PReLU()
        self.prelu3_1, self.prelu3_2 = nn.PReLU(), nn.PReLU()
        self.prelu4_1, self.prelu4_2 = nn.PReLU(), nn.PReLU()
        area = (card.input_height // 16) * (card.input_width // 16)
        self.out = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(channels[-1] * area, card.embedding_size)
        )
        self.pool = nn.MaxPool2d(2)
        initialise_xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.prelu1_2(self.conv2(self.prelu1_1(self.conv1(x)))))
        x = self.pool(self.prelu2_2(self.conv4(self.prelu2_1(self.conv3(x)))))
        x = self.pool(self.prelu3_2(self.conv6(self.prelu3_1(self.conv5(x)))))
        x = self.pool(self.prelu4_2(self.conv8(self.prelu4_1(self.conv7(x)))))
        vectors: Tensor = self.out(x.flatten(1))
        return vectors


@BACKBONES.register("lightnet", help="LightNet: eight convolutions and a linear layer.")
def lightnet(card: ModelCard) -> nn.Module:
    return LightNet(card)


@BACKBONES.register("test_lightnet", help="Tiny, for tests.")
def test_lightnet(card: ModelCard) -> nn.Module:
    return LightNet(card, (4, 4, 8, 8, 8, 8, 16, 16))
