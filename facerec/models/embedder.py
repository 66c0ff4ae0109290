"""Running a PyTorch network as an `Embedder`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.faces import Floats, Image
from facerec.models import require_chips


class TorchEmbedder:
    """A network and the card that says how to feed it.

    Args:
        network: maps `(N, 3, H, W) float32` to `(N, D) float32`.
        card: preprocessing and metric.
        device: a torch device.
        batch: most chips in one forward pass.
    """

    def __init__(self, network: nn.Module, card: ModelCard, *, device: str, batch: int) -> None:
        self.card = card
        self._device = torch.device(device)
        self._batch = batch
        self._network = network.eval().to(self._device).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(card.mean, device=self._device).view(1, 3, 1, 1)
        self._scale = 1 / torch.tensor(card.std, device=self._device).view(1, 3, 1, 1)

    @torch.inference_mode()
    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`.

        Raises:
            ValueError: the chips are not of the card's input size.
        """
        require_chips(chips, self.card)
        vectors = [
            self._forward(part) for part in torch.split(torch.from_numpy(chips), self._batch)
        ]
        joined = torch.cat(vectors) if len(chips) else torch.empty(0, self.card.embedding_size)
        return joined.numpy()

    def _forward(self, chips: Tensor) -> Tensor:
        # The permuted view of (N, H, W, 3) is already channels-last: no copy is made.
        x = chips.to(self._device).permute(0, 3, 1, 2).float()
        if self.card.colour == "BGR":
            x = x.flip(1)
        x = (x - self._mean) * self._scale
        y = self._network(x)
        if self.card.flip:
            # Mirror averaging: the sum of both views' unit vectors, renormalised.
            y = F.normalize(y) + F.normalize(self._network(x.flip(3)))
        return F.normalize(y).float().cpu()

    def parameters(self) -> int:
        """How many numbers the network has learned."""
        return sum(parameter.numel() for parameter in self._network.parameters())

    @torch.inference_mode()
    def multiply_adds(self) -> int:
        """Multiplications of convolutions and linear layers for one face."""
        from torch.utils.flop_counter import FlopCounterMode

        size = (1, 3, self.card.input_height, self.card.input_width)
        with FlopCounterMode(display=False) as counter:
            self._network(torch.zeros(size, device=self._device))
        return int(counter.get_total_flops()) // 2
