"""How fast networks train: `python -m tests.benchmarks.training [BACKBONE…]`.

Real work from end to end: JPEG chips from disk, augmentation, ArcFace over 10,000 people, SGD. The
first steps, which choose kernels and fill the queue, are left out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from facerec.imaging.draw import write_image
from facerec.profile.loading import Profile
from facerec.training.callbacks import Callbacks, Progress
from facerec.training.data.synthetic import Synthetic
from facerec.training.run import train
from tests.benchmarks import require_arguments

BACKBONES = (
    "ir_50", "resnet_50", "mobilenet_v2", "mobilenet_v3_large", "mobilefacenet", "iresnet18",
)  # fmt: skip
STEPS, WARM_UP, BATCH = 8, 3, 32


def main(backbones: list[str]) -> None:
    """Print one line a network and precision."""
    with tempfile.TemporaryDirectory() as folder:
        chips = Path(folder) / "chips"
        made = Synthetic(64, 8, 112, 112, seed=0)
        for index, label in enumerate(made.labels):
            write_image(chips / str(label) / f"{index}.jpg", made.image(index))
        print(f"{'backbone':20} precision  img/s  waiting")
        for backbone in backbones or BACKBONES:
            for precision in ("fp32", "bf16"):
                speed, waiting = measure(backbone, precision, chips, Path(folder))
                print(
                    f"{backbone:20} {precision:9} {speed:6.1f}  {100 * waiting:6.1f} %", flush=True
                )


def measure(backbone: str, precision: str, chips: Path, folder: Path) -> tuple[float, float]:
    """Images per second, and the share of time that the network waited for data."""
    profile = Profile.load(
        "ir50_arcface",
        settings=[
            f"data.train={chips}", f"train.backbone={backbone}", f"train.batch={BATCH}",
            f"train.max_steps={STEPS}", f"train.precision={precision}", "train.lr=0.001",
            "train.save_every=1000", "data.photometric=0.2", "data.crop=0.2",
        ],
    )  # fmt: skip
    steps: list[Progress] = []
    callbacks = Callbacks(on_step=lambda step, *_: steps.append(step))
    train(profile, backbone, folder / f"{backbone}-{precision}", callbacks, resume=False)
    steady = steps[WARM_UP:]
    seconds = sum(step.seconds for step in steady)
    return sum(step.images for step in steady) / seconds, sum(s.waited for s in steady) / seconds


if __name__ == "__main__":
    require_arguments(__doc__, 0)
    main(sys.argv[1:])
