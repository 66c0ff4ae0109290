"""MTCNN's PNet, RNet and ONet in PyTorch, for pixels less 127.5; the first kernel divides by 128.

Convolutions run channels-last, where oneDNN's kernels are fastest for these narrow layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d, pad, prelu

Arrays = Sequence[NDArray[np.float32]]

_SCALE = 1 / 128
_POOLED = 10
"""Channels of PNet's first layer."""


class PNet:
    """Proposals: a score and a box for every second pixel.

    The first convolution and the 2 x 2 pooling after it are one convolution with stride 2 whose
    four groups of channels are the four positions that the pooling compares.

    Args:
        arrays: the network's weights in order, kernels `(height, width, in, out)`.
        device: where it runs.
    """

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        w = [_tensor(a, device) for a in arrays]
        self._first = _pooling_kernel(w[0] * _SCALE), w[1].repeat(4)
        self._second = _kernel(w[3]), w[4]
        self._third = _kernel(w[6]), w[7]
        self._slopes = w[2].flatten().repeat(4), w[5].flatten(), w[8].flatten()
        self._boxes = w[9].view(-1, 4), w[10]
        self._face = (w[11][..., 1:] - w[11][..., :1]).view(1, -1, 1, 1), w[12][1:] - w[12][:1]

        layers = self._first, self._second, self._third, self._face
        self._products = [(_matrix(kernel), bias) for kernel, bias in layers]

    def __call__(
        self, pixels: Tensor, ends: Sequence[tuple[slice, slice, slice]] = ()
    ) -> tuple[Tensor, Tensor]:
        """Features `(N, h, w, 32)` and log-odds of a face `(N, h, w)` for `(N, H, W, 3) float32`.

        Args:
            pixels: images, height and width even.
            ends: channels, rows and columns of the first layer's four groups that lie outside the
                level of the rest; pooling ignores them.
        """
        # the first layer at the four positions of each pooling cell, `(N, 40, h, w)`
        x = prelu(_convolve(pixels.permute(0, 3, 1, 2), *self._first, 2), self._slopes[0])
        for channels, rows, columns in ends:
            x[:, channels, rows, columns] = -torch.inf
        one, two, three, four = torch.split(x, _POOLED, 1)
        x = torch.maximum(torch.maximum(one, two), torch.maximum(three, four))
        x = prelu(_convolve(x, *self._second), self._slopes[1])
        x = prelu(_convolve(x, *self._third), self._slopes[2])
        return x.permute(0, 2, 3, 1), _convolve(x, *self._face)[:, 0]

    def cells(self, patches: Tensor, below: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """Features `(N, 32)` and log-odds `(N,)` of single cells.

        As matrix products over unfolded patches: for inputs this small, twice as fast as
        convolutions.

        Args:
            patches: the cells' inputs, `(N, 12, 12, 3) float32`.
            below: indices of cells whose last row lies outside their level.
            beside: indices of cells whose last column does.
        """
        first, second, third, face = self._products
        x = prelu(_product(patches, 4, 2, *first), self._slopes[0])
        positions = x.view(-1, 5, 5, 2, 2, _POOLED)
        positions[below, 4, :, 1] = -torch.inf
        positions[beside, :, 4, :, 1] = -torch.inf
        x = x.view(-1, 2, 2 * _POOLED)
        x = torch.maximum(x[:, 0], x[:, 1])
        x = torch.maximum(x[:, :_POOLED], x[:, _POOLED:]).view(-1, 5, 5, _POOLED)
        x = prelu(_product(x, 3, 1, *second), self._slopes[1]).view(-1, 3, 3, 16)
        x = prelu(_product(x, 3, 1, *third), self._slopes[2])
        return x, torch.addmm(face[1], x, face[0])[:, 0]

    def offsets(self, features: Tensor) -> Tensor:
        """Offsets `(…, 4)` of the boxes at features `(…, 32)`, as shares of the cell."""
        flat = torch.addmm(self._boxes[1], features.reshape(-1, 32), self._boxes[0])
        return flat.view(*features.shape[:-1], 4)


LAST_ROW = slice(2 * _POOLED, 4 * _POOLED)
"""Channels of `PNet`'s first layer that hold the lower positions of each pooling cell."""

LAST_COLUMN = (slice(_POOLED, 2 * _POOLED), slice(3 * _POOLED, 4 * _POOLED))
"""Channels of `PNet`'s first layer that hold the right positions of each pooling cell."""


class RNet:
    """Refinement of 24-pixel crops.

    Args:
        arrays: the network's weights in order, kernels `(height, width, in, out)`.
        device: where it runs.
    """

    side = 24
    multiple = 16
    """Batches must be multiples of it for each output to be bitwise independent of the rest of its
    batch, on a CPU."""

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        w = [_tensor(a, device) for a in arrays]
        # oneDNN works on eight channels at a time; the first layer's 28 become 32.
        self._first = _kernel(pad(w[0] * _SCALE, (0, 4))), pad(w[1], (0, 4))
        self._second = _kernel(pad(w[3], (0, 0, 0, 4))), w[4]
        self._third = _kernel(w[6]), w[7]
        self._fourth = _kernel(_tensor(dense_kernel(arrays[9]), device)), w[10]
        self._slopes = pad(w[2].flatten(), (0, 4)), w[5].flatten(), w[8].flatten(), w[11]
        self._heads = _heads(arrays[12::2], arrays[13::2], device)

    def __call__(self, crops: Tensor) -> Tensor:
        """Offsets and log-odds of a face `(N, 5)` for crops `(N, 3, 24, 24) float32`."""
        x = _pool(prelu(_convolve(crops, *self._first), self._slopes[0]))
        x = _pool(prelu(_convolve(x, *self._second), self._slopes[1]))
        x = prelu(_convolve(x, *self._third), self._slopes[2])
        x = prelu(_convolve(x, *self._fourth), self._slopes[3])
        return _convolve(x, *self._heads).flatten(1)


class ONet:
    """Final boxes, scores and landmarks of 48-pixel crops.

    Args:
        arrays: the network's weights in order, kernels `(height, width, in, out)`.
        device: where it runs.
    """

    side = 48
    multiple = 2
    """See `RNet`."""

    def __init__(self, arrays: Arrays, device: torch.device) -> None:
        w = [_tensor(a, device) for a in arrays]
        self._first = _kernel(w[0] * _SCALE), w[1]
        self._second = _kernel(w[3]), w[4]
        self._third = _kernel(w[6]), w[7]
        self._fourth = _kernel(w[9]), w[10]
        self._fifth = _kernel(_tensor(dense_kernel(arrays[12]), device)), w[13]
        self._slopes = w[2].flatten(), w[5].flatten(), w[8].flatten(), w[11].flatten(), w[14]
        self._heads = _heads(arrays[15::2], arrays[16::2], device)

    def __call__(self, crops: Tensor) -> Tensor:
        """Offsets, landmarks and log-odds of a face `(N, 15)` for crops `(N, 3, 48, 48) float32`.

        Landmarks are five x, then five y, as shares of the box.
        """
        x = _pool(prelu(_convolve(crops, *self._first), self._slopes[0]))
        x = _pool(prelu(_convolve(x, *self._second), self._slopes[1]))
        x = max_pool2d(prelu(_convolve(x, *self._third), self._slopes[2]), 2)
        x = prelu(_convolve(x, *self._fourth), self._slopes[3])
        x = prelu(_convolve(x, *self._fifth), self._slopes[4])
        return _convolve(x, *self._heads).flatten(1)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """A convolution without TF32, whose ten bits would move scores across the thresholds.

    PyTorch's own setting is one for all threads: what others compute meanwhile, such as
    embeddings, must not depend on it. The operation itself takes it as an argument.
    """
    return torch._convolution(
        x, kernel, bias, (stride, stride), (0, 0), (1, 1),
        transposed=False, output_padding=(0, 0), groups=1,
        benchmark=False, deterministic=False, cudnn_enabled=True, allow_tf32=False,
    )  # fmt: skip


def _product(x: Tensor, side: int, stride: int, matrix: Tensor, bias: Tensor) -> Tensor:
    """A convolution's outputs `(N h w, out)` for `x` `(N, H, W, in)`.

    Args:
        matrix: its kernel, `(side * side * in, out)`.
    """
    inputs = x.shape[3]
    rows = x.flatten(2).unfold(1, side, stride).unfold(2, side * inputs, stride * inputs)
    return torch.addmm(bias, rows.reshape(-1, len(matrix)), matrix)


def _matrix(kernel: Tensor) -> Tensor:
    return kernel.permute(2, 3, 1, 0).reshape(-1, len(kernel))


def _kernel(weight: Tensor) -> Tensor:
    return weight.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)


def _pooling_kernel(weight: Tensor) -> Tensor:
    # (3, 3, in, out) → (4 out, in, 4, 4): the kernel at the four offsets of a 2 x 2 cell
    height, width, inputs, outputs = weight.shape
    cell = weight.new_zeros(4, outputs, inputs, height + 1, width + 1)
    for position in range(4):
        down, right = divmod(position, 2)
        cell[position, :, :, down : down + height, right : right + width] = weight.permute(
            3, 2, 0, 1
        )
    return cell.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def dense_kernel(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """A dense layer on a 3 x 3 map, `(9 in, out)`, as a convolution's kernel `(3, 3, in, out)`.

    Its input is flattened with x slowest, channel last.
    """
    return weight.reshape(3, 3, -1, weight.shape[1]).transpose(1, 0, 2, 3)


def merged_heads(
    kernels: Arrays, biases: Arrays
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All heads in one layer, `(in, out)` and `(out,)`.

    The last head is a softmax over (no face, face): of it the difference stays, the log-odds.
    """
    *others, last = (kernel.reshape(-1, kernel.shape[-1]) for kernel in kernels)
    *others_bias, last_bias = biases
    return (
        np.concatenate([*others, last[:, 1:] - last[:, :1]], 1),
        np.concatenate([*others_bias, last_bias[1:] - last_bias[:1]]),
    )


def _tensor(array: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(array)).to(device)


def _heads(kernels: Arrays, biases: Arrays, device: torch.device) -> tuple[Tensor, Tensor]:
    kernel, bias = merged_heads(kernels, biases)
    return _kernel(_tensor(kernel[None, None], device)), _tensor(bias, device)


def _pool(x: Tensor) -> Tensor:
    # 3 x 3 max-pooling with stride 2; a window that hangs over the end is cut. Three views
    # compared are twice as fast as max_pool2d on channels-last maps.
    return _pool_rows(_pool_rows(x).transpose(2, 3)).transpose(2, 3)


def _pool_rows(x: Tensor) -> Tensor:
    pairs = x.shape[2] // 2 * 2
    third = x[:, :, 2::2]
    pooled = torch.maximum(x[:, :, 0:pairs:2], x[:, :, 1:pairs:2])
    inner = pooled[:, :, : third.shape[2]]
    torch.maximum(inner, third, out=inner)
    return pooled
