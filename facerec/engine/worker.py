"""Worker process: answers pickled batches on stdin; see `facerec.engine.pool`."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from typing import Any, BinaryIO

import cv2

from facerec.engine.engine import Engine
from facerec.engine.messages import receive
from facerec.engine.pool import WorkerConfig


def main() -> None:
    """Answer requests until stdin closes.

    An error outside of a batch ends the process silently; the parent then does its work.
    """
    with contextlib.suppress(Exception):
        requests, answers = os.fdopen(os.dup(0), "rb"), _take_stdout()
        config: WorkerConfig = pickle.load(requests)
        cv2.setNumThreads(config.profile.runtime.threads)
        engine = Engine.from_profile(config.profile)
        if config.whole_batches:
            engine = engine.in_whole_batches()
        if config.apart:
            engine = engine.apart()
        gc.freeze()
        gc.enable()
        # They differ if the model's file was replaced meanwhile.
        if engine.described == config.described:
            _send(answers, True)
            while True:
                _send(answers, _answer(engine, config, receive(requests)))


def _answer(engine: Engine, config: WorkerConfig, frames: Any) -> Any:
    try:
        return engine.faces_of(frames, select=config.select, embed=config.embed)
    except Exception as error:  # noqa: BLE001  (raised in the parent)
        return error


def _take_stdout() -> BinaryIO:
    """Stdout for answers alone: whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _send(answers: BinaryIO, answer: Any) -> None:
    answers.write(pickle.dumps(answer, protocol=5))
    answers.flush()
