"""A process that takes batches of a stream off an engine's hands; see `facerec.engine.pool`."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import sys
from typing import Any, BinaryIO

import cv2

from facerec.engine.engine import Engine
from facerec.engine.pool import Order


def main() -> None:
    """Answer pickled batches on standard input until it ends.

    Whatever goes wrong outside of a batch ends the process, quietly: its work is then done where
    it came from.
    """
    with contextlib.suppress(Exception):
        questions, answers = sys.stdin.buffer, _answers()
        order: Order = pickle.load(questions)
        cv2.setNumThreads(order.profile.runtime.threads)
        engine = Engine.from_profile(order.profile)
        if order.whole:
            engine = engine.in_whole_batches()
        gc.freeze()
        gc.enable()
        # Otherwise the model's file has become another one.
        if engine.described == order.described:
            _send(answers, True)
            while True:
                _send(answers, _work(engine, order, pickle.load(questions)))


def _work(engine: Engine, order: Order, frames: Any) -> Any:
    try:
        return engine.faces_of(frames, select=order.select, embed=order.embed)
    except Exception as error:  # noqa: BLE001  (raised where the batch came from)
        return error


def _answers() -> BinaryIO:
    """Standard output, which from now on is standard error for whatever else prints."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _send(answers: BinaryIO, answer: Any) -> None:
    answers.write(pickle.dumps(answer, protocol=5))
    answers.flush()
