"""Running a PyTorch network as an `Embedder`."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.faces import Floats, Image
from facerec.models import fill_batch, require_chips
from facerec.models.folding import fold_batch_norms
from facerec.parallel.threads import TorchThreads

_ROW_BLOCK = 8
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEmbedder:
    """A network and the card that says how to feed it.

    Args:
        network: maps `(N, 3, H, W) float32` to `(N, D) float32`; the embedder takes it over.
        card: preprocessing and metric.
        device: a torch device.
        batch: most chips in one forward pass.
        precision: `fp32`, `bf16` or `fp16`, of weights and arithmetic; vectors are float32.
        pool: each thread embeds a share of the chips; None: PyTorch parallelises each operation.
    """

    def __init__(
        self, network: nn.Module, card: ModelCard, *, device: str, batch: int,
        precision: str = "fp32", pool: TorchThreads | None = None,
    ) -> None:  # fmt: skip
        self.card = card
        self.arithmetic = f"torch {precision}"
        self._device = torch.device(device)
        self._dtype = _DTYPES[precision]
        self._batch = batch
        self._pool, self._threads = pool, torch.get_num_threads()
        self._whole: int | None = None
        self._parameters = count_parameters(network)
        network = fold_batch_norms(network.eval())
        network = network.to(self._device, self._dtype)
        self._network = network.to(memory_format=torch.channels_last)
        self._mean = self._plane(card, card.mean)
        self._scale = 1 / self._plane(card, card.std)

    def _plane(self, card: ModelCard, channels: tuple[float, float, float]) -> Tensor:
        """`(1, 3, H, W)`, channels last: broadcasting over rows is many times faster than over
        three channels."""
        one = torch.tensor(channels, device=self._device, dtype=torch.float32).view(1, 3, 1, 1)
        plane = one.expand(1, 3, card.input_height, card.input_width)
        return plane.contiguous(memory_format=torch.channels_last)

    def in_whole_batches(self, usual: int) -> TorchEmbedder:
        """This embedder with a fixed batch size: a vector is bitwise independent of the other
        chips and of the number of threads.

        Args:
            usual: typical number of chips at once; on a GPU, the batch size.
        """
        whole = copy.copy(self)
        # Matrix products work on blocks of rows; in whole blocks, rows do not affect each other.
        whole._whole = _ROW_BLOCK if self._device.type == "cpu" else usual
        return whole

    @torch.inference_mode()
    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`.

        Raises:
            ValueError: the chips are not of the card's input size.
        """
        return self.embed_with_norms(chips)[0]

    @torch.inference_mode()
    def embed_with_norms(self, chips: Image) -> tuple[Floats, Floats]:
        """See `Embedder.embed_with_norms`; raises what `embed` does."""
        require_chips(chips, self.card)
        count = len(chips)
        if not count:
            return np.empty((0, self.card.embedding_size), np.float32), np.empty(0, np.float32)
        pool = self._pool
        if self._whole is not None:
            chips, share = fill_batch(chips, self._whole), self._whole
        elif pool is None or count == 1:
            pool, share = None, self._batch
        else:
            share = min(-(-count // self._threads), self._batch)
        parts = torch.split(torch.from_numpy(chips), share)
        passes = map(self._forward, parts) if pool is None else pool.map(self._forward, parts)
        units, norms = zip(*passes, strict=True)
        return torch.cat(units).numpy()[:count], torch.cat(norms).numpy()[:count]

    def _forward(self, chips: Tensor) -> tuple[Tensor, Tensor]:
        # The permuted view of (N, H, W, 3) is already channels-last: no copy is made.
        x = chips.to(self._device).permute(0, 3, 1, 2).float()
        if self.card.colour == "BGR":
            x = x.flip(1)
        x = x.sub_(self._mean).mul_(self._scale).to(self._dtype)
        y = self._run(x)
        norms = y.norm(dim=1)
        if self.card.augment != "none":
            # Mirror averaging: the sum of both views' unit vectors, renormalised.
            mirrored = self._run(x.flip(3))
            norms = (norms + mirrored.norm(dim=1)) / 2
            y = F.normalize(y) + F.normalize(mirrored)
        return F.normalize(y).cpu(), norms.cpu()

    def _run(self, x: Tensor) -> Tensor:
        """`(N, D) float32` of network input."""
        y: Tensor = self._network(x)
        return y.float()

    def parameters(self) -> int:
        """Learned parameters."""
        return self._parameters

    def multiply_adds(self) -> int:
        """Multiply-adds (MACs) of convolutions and linear layers per face."""
        return count_multiply_adds(self._network, self.card)


def count_parameters(network: nn.Module) -> int:
    """Learned parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.inference_mode()
def count_multiply_adds(network: nn.Module, card: ModelCard) -> int:
    """Multiply-adds (MACs) of a network's convolutions and linear layers per face."""
    from torch.utils.flop_counter import FlopCounterMode

    weight = next(network.parameters())
    with FlopCounterMode(display=False) as counter:
        network(weight.new_zeros(1, 3, card.input_height, card.input_width))
    return int(counter.get_total_flops()) // 2
