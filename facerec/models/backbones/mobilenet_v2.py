"""MobileNet V2 (Sandler et al. 2018): torchvision's features, averaged, and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.models.backbones.layers import initialise_mobile
from facerec.registry import BACKBONES

Setting = Sequence[Sequence[int]]


class MobileNetV2(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: embedding size.
        setting: rows of expansion, channels, repeats and stride; None: the paper's table 2.
    """

    def __init__(self, card: ModelCard, setting: Setting | None = None) -> None:
        super().__init__()
        from torchvision.models import MobileNetV2 as Classifier

        rows = None if setting is None else [list(row) for row in setting]
        classifier = Classifier(inverted_residual_setting=rows)
        self.features = classifier.features
        self.out = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(classifier.last_channel, card.embedding_size)
        )
        initialise_mobile(self)

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.out(self.features(x).mean(dim=(2, 3)))
        return vectors


@BACKBONES.register("mobilenet_v2", help="MobileNet V2.")
def mobilenet_v2(card: ModelCard) -> nn.Module:
    return MobileNetV2(card)


@BACKBONES.register("test_mobilenet_v2", help="Tiny, for tests.")
def test_mobilenet_v2(card: ModelCard) -> nn.Module:
    return MobileNetV2(card, ((1, 8, 1, 1), (2, 8, 1, 2), (2, 16, 1, 2)))
