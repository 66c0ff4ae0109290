"""What is sent to a worker process arrives as it was."""

from __future__ import annotations

import os
from io import BufferedReader

import numpy as np
import pytest

from facerec.engine.messages import pack, receive
from facerec.faces import Frame, Original
from tests.conftest import noise


def delivered(message: object, *, lost: int = 0) -> object:
    """A message by way of a pipe that is closed before its last bytes."""
    data = b"".join(pack(message))
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data[: len(data) - lost])
    with os.fdopen(reading, "rb") as pipe:
        assert isinstance(pipe, BufferedReader)
        return receive(pipe)


def test_frames_arrive_with_their_pixels() -> None:
    original = Original(b"\xff\xd8", 26, 40, 2)
    sent = [
        Frame("a", noise(13, 20), "0a", original=original),
        Frame("b", np.asfortranarray(noise(5, 7))),
        Frame("c", noise(9, 9)[2:, 1:4]),
        Frame("d", np.empty((0, 3, 3), np.uint8)),
    ]
    got = delivered(sent)
    assert isinstance(got, list) and len(got) == len(sent)
    for one, other in zip(got, sent, strict=True):
        assert (one.source, one.sha256) == (other.source, other.sha256)
        np.testing.assert_array_equal(one.image, other.image)
        assert one.image.flags.writeable and one.image.dtype == np.uint8
    assert got[0].original.encoded == original.encoded
    assert got[0].image.ctypes.data % 16 == got[1].image.ctypes.data % 16 == 0


def test_an_array_that_may_not_be_written_still_may_not() -> None:
    array = np.arange(5.0)
    array.flags.writeable = False
    got = delivered(array)
    assert isinstance(got, np.ndarray) and not got.flags.writeable
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("lost", [1, 1000, 1170])
def test_a_pipe_closed_within_a_message_is_told(lost: int) -> None:
    with pytest.raises((EOFError, ValueError)):
        delivered(noise(13, 30), lost=lost)
