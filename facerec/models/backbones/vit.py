"""Vision transformers in insightface's own layout (arcface_torch's `vit_t`, `vit_s`, `vit_b`).

Patches of 9x9 pixels, no class token: all tokens enter the head (Dosovitskiy et al. 2021; An et al.
2022). In training a tenth of the tokens is masked (He et al. 2022) and units are dropped with a
probability that rises to 0.1 over the depth (Huang et al. 2016).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.registry import BACKBONES

_PATCH = 9
_HEADS = 8
_MASKED = 0.1
_DROPPED = 0.1
_STD = 0.02


class _Patches(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, size, _PATCH, _PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, T, size)`."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class _Attention(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(size, 3 * size, bias=False)
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, size = x.shape
        qkv = self.qkv(x).view(count, tokens, 3, _HEADS, size // _HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, tokens, size))
        return out


class _Mlp(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, 4 * size)
        self.fc2 = nn.Linear(4 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.relu6(self.fc1(x)))
        return out


class _Block(nn.Module):
    """A pre-norm transformer block.

    Args:
        size: of a token.
        dropped: probability that an image skips a unit in training.
    """

    def __init__(self, size: int, dropped: float) -> None:
        super().__init__()
        self.dropped = dropped
        self.norm1 = nn.LayerNorm(size)
        self.attn = _Attention(size)
        self.norm2 = nn.LayerNorm(size)
        self.mlp = _Mlp(size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attn(self.norm1(x)))
        return x + self._drop(self.mlp(self.norm2(x)))

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        kept = 1 - self.dropped
        return x * x.new_empty(len(x), 1, 1).bernoulli_(kept) / kept


class VisionTransformer(nn.Module):
    """`(N, 3, H, W) float32` in [-1, 1] to `(N, D) float32`.

    Args:
        card: input and embedding size.
        size: of a token.
        depth: blocks.
    """

    def __init__(self, card: ModelCard, size: int, depth: int) -> None:
        super().__init__()
        self.patch_embed = _Patches(size)
        tokens = (card.input_height // _PATCH) * (card.input_width // _PATCH)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size))
        self.blocks = nn.ModuleList(
            [_Block(size, _DROPPED * number / (depth - 1)) for number in range(depth)]
        )
        self.norm = nn.LayerNorm(size)
        self.feature = nn.Sequential(
            nn.Linear(size * tokens, size, bias=False),
            nn.BatchNorm1d(size, eps=2e-5),
            nn.Linear(size, card.embedding_size, bias=False),
            nn.BatchNorm1d(card.embedding_size, eps=2e-5),
        )
        for parameter in (self.pos_embed, self.mask_token):
            nn.init.trunc_normal_(parameter, std=_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        kept = None
        if self.training:
            # Random tokens of each image; where the others were, the head sees the mask's.
            count = round(x.shape[1] * (1 - _MASKED))
            kept = torch.rand(x.shape[:2], device=x.device).topk(count, dim=1).indices
            kept = kept[..., None].expand(-1, -1, x.shape[2])
            places, x = x.shape, x.gather(1, kept)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x.float())
        if kept is not None:
            x = self.mask_token.to(x.dtype).expand(places).scatter(1, kept, x)
        vectors: Tensor = self.feature(x.flatten(1))
        return vectors


@BACKBONES.register("vit_t", help="insightface's ViT-T: 12 blocks of 256.")
def vit_t(card: ModelCard) -> nn.Module:
    return VisionTransformer(card, 256, 12)


@BACKBONES.register("vit_s", help="insightface's ViT-S: 12 blocks of 512.")
def vit_s(card: ModelCard) -> nn.Module:
    return VisionTransformer(card, 512, 12)


@BACKBONES.register("vit_b", help="insightface's ViT-B: 24 blocks of 512.")
def vit_b(card: ModelCard) -> nn.Module:
    return VisionTransformer(card, 512, 24)


@BACKBONES.register("test_vit", help="Tiny, for tests.")
def test_vit(card: ModelCard) -> nn.Module:
    return VisionTransformer(card, 16, 2)
