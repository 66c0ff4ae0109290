"""Trains the network that rejects crops before RNet: `python -m tests.train_crop_screen`.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531): the teacher is RNet, the student RNet
thinned to a third of its multiplications, which then learns its log-odds by regression. The crops
are those that MTCNN proposes on the images of LFW's folds 1-8, each image as it is and three times
varied; an underestimate of a crop that passes RNet costs four times as much as another error.
Figures are of folds 9-10, whose people are others, and of the shared photos and videos.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d, huber_loss, max_pool2d, prelu, unfold

from facerec.detection.mtcnn.boxes import crop, image_indices
from facerec.detection.mtcnn.crop_screen import CHANNELS, WEIGHTS, array_names
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.networks import RNet, dense_kernel
from facerec.detection.mtcnn.pyramid import pyramid_levels
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.faces import Floats, Image
from facerec.files.writing import replacing
from facerec.imaging.archives import open_source
from facerec.imaging.decode import decode_image, read_image
from tests.benchmarks.pipeline import DATA

THRESHOLD = 0.7
"""`detector.thresholds`' default for RNet."""

PASSING = math.log(THRESHOLD / (1 - THRESHOLD))
"""Log-odds that RNet's exceed of a crop that passes."""

MARGIN = 2.0
"""Of the crops that pass RNet, 0.05 % are lost on LFW's folds 9-10 and 0.2 % on the photos, where
half of the crops are of varied images, and of the photos more; none of log-odds above 2.0, whose
boxes could become faces. With 1.5 it is four times as many."""

_FAR = 4.0
"""Log-odds from 0 beyond which the student need only be beyond too."""

_UNDERESTIMATED = 4.0
_STEPS, _BATCH, _RATE, _REPORTED = 10000, 256, 1e-3, 500
_THINNED_BY = 5000
"""Crops for the least squares."""

_SIDES = (3, 3, 2, 3, 1)
"""Of RNet's kernels, the dense layers' too."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


class Crops(NamedTuple):
    """Attributes:
    pixels: `(N, 3, 24, 24) uint8`, rounded.
    log_odds: RNet's, `(N,) float32`.
    """

    pixels: NDArray[np.uint8]
    log_odds: Floats


def lfw_images(folds: range) -> Iterator[Image]:
    """Images of the people in these folds, in the order of their names."""
    lines = (DATA / "lfw" / "pairs.txt").read_text("utf-8").splitlines()[1:]
    size = len(lines) // 10
    people = set()
    for fold in folds:
        for line in lines[fold * size : (fold + 1) * size]:
            fields = line.split("\t")
            people |= {fields[0]} if len(fields) == 3 else {fields[0], fields[2]}
    source = open_source(DATA / "lfw" / "lfw-deepfunneled-pairs.tar")
    for name in sorted(source.names()):
        if name.endswith(".jpg") and name.split("/")[-2] in people:
            yield decode_image(source.read(name), name, 10**8)


def other_images() -> Iterator[Image]:
    """The shared photos, and every fifth frame of the videos."""
    for path in [*sorted((DATA / "photos").iterdir()), *sorted((DATA / "people").glob("*/*"))]:
        yield read_image(path, 10**9)
    for path in (DATA / "videos" / "hamilton.mp4", DATA / "videos" / "faces.mp4"):
        with av.open(str(path)) as video:
            for number, frame in enumerate(video.decode(video=0)):
                if number % 5 == 0:
                    yield frame.to_ndarray(format="rgb24")


def varied(image: Image, random: np.random.Generator) -> Image:
    """The image in another size, turned, cut, in other colours, blurred, noisy or compressed."""
    pixels = _recoloured(_reshaped(image, random).astype(np.float32), random)
    if random.random() < 0.15:
        pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.5, 2))
    if random.random() < 0.2:
        pixels = pixels + random.normal(0, random.uniform(2, 15), pixels.shape)
    result: Image = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    if random.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(20, 80))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result


def _reshaped(image: Image, random: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    scale = float(np.exp(random.uniform(np.log(0.45), np.log(1.5))))
    if random.random() < 0.85:
        size = max(24, round(width * scale)), max(24, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, size, interpolation=how)
    height, width = image.shape[:2]
    if random.random() < 0.5:
        image = image[:, ::-1]
    turn = random.random()
    if turn < 0.25:
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-45, 45), 1)
        border = cv2.BORDER_REFLECT if random.random() < 0.5 else cv2.BORDER_CONSTANT
        upright = np.ascontiguousarray(image)
        image = cv2.warpAffine(upright, matrix, (width, height), borderMode=border)
    elif turn < 0.33:
        image = np.rot90(image, random.integers(1, 4))
    if random.random() < 0.25:
        top, left = (int(random.integers(0, side // 2)) for side in image.shape[:2])
        bottom = top + int(image.shape[0] * random.uniform(0.4, 0.9))
        image = image[top:bottom, left : left + int(image.shape[1] * random.uniform(0.4, 0.9))]
    return np.ascontiguousarray(image)


def _recoloured(pixels: Floats, random: np.random.Generator) -> Floats:
    if random.random() < 0.2:
        pixels = np.repeat(pixels @ _GREY[:, None], 3).reshape(pixels.shape)
    elif random.random() < 0.4:
        pixels = pixels * random.uniform(0.7, 1.3, 3).astype(np.float32)
    if random.random() < 0.5:
        pixels = (pixels - 128) * random.uniform(0.4, 1.5) + 128 + random.uniform(-50, 50)
    if random.random() < 0.3:
        pixels = 255 * np.clip(pixels / 255, 0, 1) ** random.uniform(0.5, 2)
    return pixels


@torch.inference_mode()
def collect(images: Iterable[Image], variants: int, seed: int) -> Crops:
    """The crops that MTCNN proposes on each image and on variants of it."""
    random = np.random.default_rng(seed)
    detector = MTCNN(load_mtcnn_weights(), threads=1)
    pixels, log_odds = [], []
    for original in images:
        for image in (original, *(varied(original, random) for _ in range(variants))):
            levels = pyramid_levels(*image.shape[:2], min_face=20, scale_factor=0.709)
            if not levels:
                continue
            boxes, counts = detector._propose(detector._proposer([image], levels), 1, levels)
            if len(boxes):
                centred = torch.from_numpy(image[None] - np.float32(127.5))
                crops = crop(centred, boxes, image_indices(counts), RNet.side)
                log_odds.append(detector._rnet(crops)[:, 4].numpy())
                pixels.append(np.clip(crops.numpy() + 128, 0, 255).astype(np.uint8))
    return Crops(np.concatenate(pixels), np.concatenate(log_odds))


class Student(nn.Module):
    """RNet with fewer channels, and of its heads the score alone.

    Args:
        channels: of its four hidden layers.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = [3, *channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(into, out, side)
            for into, out, side in zip(inputs, [*channels, 1], _SIDES, strict=True)
        )
        self.activations = nn.ModuleList(nn.PReLU(out) for out in channels)

    def forward(self, crops: Tensor) -> Tensor:
        for number, activation in enumerate(self.activations):
            crops = _pool(activation(self.layers[number](crops)), number)
        score: Tensor = self.layers[-1](crops).flatten()
        return score

    def arrays(self) -> list[Floats]:
        """Kernels `(height, width, in, out)`, biases and slopes, in the order of the file."""
        found = []
        for layer, activation in zip_longest(self.layers, self.activations):
            found += [layer.weight.permute(2, 3, 1, 0), layer.bias]
            found += [activation.weight] if activation else []
        return [np.ascontiguousarray(tensor.detach().numpy()) for tensor in found]


def _pool(x: Tensor, layer: int) -> Tensor:
    return max_pool2d(x, 3, 2, ceil_mode=True) if layer < 2 else x


def open_teacher() -> Student:
    """RNet itself, with its score's head."""
    *trunk, _, _, head, bias = load_mtcnn_weights()["rnet"][:16]
    trunk[9] = dense_kernel(trunk[9])
    arrays = [*trunk, (head[:, 1:] - head[:, :1])[None, None], bias[1:] - bias[:1]]
    teacher = Student([28, 48, 64, 128])
    tensors = [torch.from_numpy(np.array(array)) for array in arrays]
    with torch.no_grad():
        for number, layer in enumerate(teacher.layers):
            layer.weight.copy_(tensors[3 * number].permute(3, 2, 0, 1))
            layer.bias.copy_(tensors[3 * number + 1])
        for number, activation in enumerate(teacher.activations):
            activation.weight.copy_(tensors[3 * number + 2].flatten())
    return teacher


@torch.no_grad()
def thin(teacher: Student, crops: Tensor) -> Student:
    """The student to start from: of each layer the channels from which the teacher's next layer is
    predicted best by least squares, and that prediction as weights (as ThiNet, Luo et al. 2017,
    arXiv:1707.06342)."""
    targets, x = [], crops
    for number, layer in enumerate(teacher.layers):
        targets.append(layer(x))
        if number < len(teacher.activations):
            x = _pool(teacher.activations[number](targets[-1]), number)
    student, x = Student(CHANNELS), crops
    weight, bias = teacher.layers[0].weight, teacher.layers[0].bias
    for number, kept in enumerate(CHANNELS):
        slopes = teacher.activations[number].weight
        outputs = _pool(prelu(conv2d(x, weight, bias), slopes), number)
        channels, solution = _choose_channels(outputs, targets[number + 1], kept)
        student.layers[number].weight.copy_(weight[channels])
        student.layers[number].bias.copy_(bias[channels])
        student.activations[number].weight.copy_(slopes[channels])
        x = outputs[:, channels]
        side = _SIDES[number + 1]
        weight, bias = solution[:-1].T.reshape(-1, kept, side, side), solution[-1]
    student.layers[-1].weight.copy_(weight)
    student.layers[-1].bias.copy_(bias)
    return student


def _choose_channels(inputs: Tensor, target: Tensor, count: int) -> tuple[list[int], Tensor]:
    """Channels of the inputs, and the least-squares weights with which they predict the target:
    from all of them, the one that costs least is left out until `count` remain."""
    channels = inputs.shape[1]
    patches = unfold(inputs, inputs.shape[2] - target.shape[2] + 1).transpose(1, 2).flatten(0, 1)
    size = patches.shape[1] // channels
    patches = torch.cat([patches, torch.ones(len(patches), 1)], 1)
    wanted = target.flatten(2).transpose(1, 2).flatten(0, 1)
    gram, products = (patches.T @ patches).double(), (patches.T @ wanted).double()
    gram += torch.eye(len(gram)) * 1e-4 * gram.diagonal().mean()

    def columns(chosen: list[int]) -> Tensor:
        inner = [channel * size + offset for channel in chosen for offset in range(size)]
        return torch.tensor([*inner, channels * size])

    left = list(range(channels))
    while len(left) > count:
        rows = columns(left)
        inverse = torch.linalg.inv(gram[rows][:, rows])
        weights = inverse @ products[rows]
        groups = [slice(at, at + size) for at in range(0, len(left) * size, size)]
        costs = [
            (weights[g] * torch.linalg.solve(inverse[g, g], weights[g])).sum().item()
            for g in groups
        ]
        left.pop(int(np.argmin(costs)))
    rows = columns(left)
    return left, torch.linalg.solve(gram[rows][:, rows], products[rows]).float()


def as_input(pixels: NDArray[np.uint8]) -> Tensor:
    scaled = (torch.from_numpy(pixels).float() - 127.5) / 128
    return scaled.contiguous(memory_format=torch.channels_last)


def loss(estimate: Tensor, log_odds: Tensor) -> Tensor:
    """Huber's, but the square where a crop that passes RNet is underestimated."""
    error = estimate - log_odds.clamp(-_FAR, _FAR)
    beyond = ((log_odds >= _FAR) & (error > 0)) | ((log_odds <= -_FAR) & (error < 0))
    error = error.masked_fill(beyond, 0)
    under = (error < 0) & (log_odds > PASSING - 0.5)
    other = huber_loss(error, torch.zeros_like(error), reduction="none")
    return torch.where(under, _UNDERESTIMATED / 2 * error.square(), other).mean()


def train(student: Student, crops: Crops, random: np.random.Generator) -> None:
    optimiser = torch.optim.Adam(student.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _RATE, total_steps=_STEPS, pct_start=0.1
    )
    total = 0.0
    for step in range(1, _STEPS + 1):
        rows = random.integers(0, len(crops.pixels), _BATCH)
        error = loss(student(as_input(crops.pixels[rows])), torch.from_numpy(crops.log_odds[rows]))
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        total += error.item()
        if step % _REPORTED == 0:
            print(f"step {step}: loss {total / _REPORTED:.3f}", flush=True)
            total = 0


@torch.inference_mode()
def print_losses(name: str, student: Student, crops: Crops) -> None:
    """What each margin rejects of all crops, and loses of those that pass RNet."""
    parts = (crops.pixels[row : row + 2048] for row in range(0, len(crops.pixels), 2048))
    estimate = np.concatenate([student(as_input(part)).numpy() for part in parts])
    passing = crops.log_odds > PASSING
    print(f"{name}: {len(passing)} crops, of which {passing.mean():.1%} pass RNet")
    for margin in np.arange(MARGIN - 1.5, MARGIN + 1.6, 0.5):
        lost = (estimate < PASSING - margin) & passing
        kept = (estimate >= PASSING - margin).mean()
        print(
            f"  margin {margin:.1f}: {kept:.1%} kept, {lost.sum()} passing ones lost "
            f"({lost.sum() / passing.sum():.4%}), highest log-odds of them "
            f"{crops.log_odds[lost].max(initial=-np.inf):.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    started = time.process_time()
    crops = collect(lfw_images(range(8)), variants=3, seed=3)
    print(f"{len(crops.pixels)} crops after {time.process_time() - started:.0f} s", flush=True)
    random = np.random.default_rng(0)
    some = np.sort(random.permutation(len(crops.pixels))[:_THINNED_BY])
    student = thin(open_teacher(), as_input(crops.pixels[some]))
    student.to(memory_format=torch.channels_last)
    train(student, crops, random)
    arrays = dict(zip(array_names(), student.arrays(), strict=True))
    with replacing(options.out) as path, path.open("wb") as file:
        np.savez(file, threshold=THRESHOLD, margin=MARGIN, **arrays)
    print(f"written after {time.process_time() - started:.0f} s", flush=True)
    print_losses("LFW's folds 9-10", student, collect(lfw_images(range(8, 10)), variants=1, seed=2))
    print_losses("photos and videos", student, collect(other_images(), variants=4, seed=1))


if __name__ == "__main__":
    main()
