"""Steps of training, on made-up faces."""

from __future__ import annotations

import tempfile
from pathlib import Path

from facerec.bench.figures import Figure
from facerec.profile.loading import Profile
from facerec.training.callbacks import Callbacks, Progress
from facerec.training.run import train

_STEPS, _WARM_UP = 5, 2


def bench_training(profile: Profile) -> list[Figure]:
    """Five steps of the profile's recipe, of which the first two, that choose kernels and fill the
    queue, do not count.

    Raises:
        MissingError: the network or the device is missing.
    """
    section = profile.train.model_copy(update={"max_steps": _STEPS, "evaluate": ()})
    data = profile.data.model_copy(update={"synthetic": True, "people": None, "validation": 0.0})
    steps: list[Progress] = []
    callbacks = Callbacks(on_step=lambda step, *_: steps.append(step))
    with tempfile.TemporaryDirectory() as folder:
        train(
            profile.model_copy(update={"train": section, "data": data}),
            section.backbone, Path(folder) / "run", callbacks, resume=False,
        )  # fmt: skip
    steady = steps[_WARM_UP:]
    seconds = sum(step.seconds for step in steady)
    waited = sum(step.waited for step in steady)
    name = f"{section.backbone}, {section.precision}, batches of {section.batch}"
    images = sum(step.images for step in steady)
    return [
        Figure(name, 1000 * seconds / images, "image", 1 - waited / seconds, "the time: computing")
    ]
