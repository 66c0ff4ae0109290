"""Benchmark of training steps on synthetic faces."""

from __future__ import annotations

import tempfile
from pathlib import Path

from facerec.bench.timing import Advance, Measurement, Timer, ignore
from facerec.profile.loading import Profile
from facerec.training.callbacks import Callbacks, Progress
from facerec.training.run import train

_STEPS, _WARM_UP = 5, 2


def bench_training(profile: Profile, advance: Advance = ignore) -> list[Measurement]:
    """Time three steps of the profile's recipe, after two that select kernels and fill the queue.

    Raises:
        MissingError: the network or the device is missing.
    """
    section = profile.train.model_copy(update={"max_steps": _STEPS, "evaluate": ()})
    data = profile.data.model_copy(update={"synthetic": True, "people": None, "validation": 0.0})
    steps: list[Progress] = []
    timer = Timer(_STEPS, advance)

    def count(step: Progress, *_: object) -> None:
        steps.append(step)
        timer.step()

    with tempfile.TemporaryDirectory() as folder:
        train(
            profile.model_copy(update={"train": section, "data": data}),
            section.backbone, Path(folder) / "run", Callbacks(on_step=count), resume=False,
        )  # fmt: skip
    steady = steps[_WARM_UP:]
    seconds = sum(step.seconds for step in steady)
    waited = sum(step.waited for step in steady)
    name = f"{section.backbone}, {section.precision}, batches of {section.batch}"
    images = sum(step.images for step in steady)
    computing = 1 - waited / seconds
    return [Measurement(name, 1000 * seconds / images, "image", computing, "the time: computing")]
