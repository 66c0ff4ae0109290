"""Worker process: answers pickled batches; see `facerec.engine.pool`."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from io import BufferedReader
from typing import Any, BinaryIO

import cv2

from facerec.engine.engine import Engine
from facerec.engine.messages import receive
from facerec.engine.pool import WorkerConfig
from facerec.parallel.openvino import is_installed


def main() -> None:
    """Be a worker on stdin and stdout."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # stdout is for answers alone
    _serve(requests, answers)


def fork(workers: Sequence[tuple[int, int]]) -> None:
    """Fork a worker for each pair of pipe ends, to read from and to write to; once stdin closes,
    kill those left. Exits with 0 if all ended by themselves."""
    os.dup2(2, 1)
    with contextlib.suppress(Exception):
        is_installed()  # imports OpenVINO
    gc.freeze()  # a collection would write to pages that all share
    pids = []
    for number, (requests, answers) in enumerate(workers):
        try:
            pid = os.fork()
        except OSError:  # out of memory, or too many processes
            pid = -1
        if not pid:
            try:
                os.setsid()  # Linux shares the processor among sessions
                for others in workers[number + 1 :]:
                    for end in others:
                        os.close(end)
                _serve(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))
            finally:
                os._exit(0)
        os.close(requests)
        os.close(answers)
        if pid > 0:
            pids.append(pid)
    sys.stdin.buffer.read()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    os._exit(any(statuses))


def _serve(requests: BufferedReader, answers: BinaryIO) -> None:
    """Answer requests until they end.

    An error outside of a batch ends the process silently; the parent then does its work.
    """
    with contextlib.suppress(Exception):
        _send(answers, os.getpid())
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


def _send(answers: BinaryIO, answer: Any) -> None:
    answers.write(pickle.dumps(answer, protocol=5))
    answers.flush()
