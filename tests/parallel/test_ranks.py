"""Ranks: what is told when the others cannot be reached."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from facerec.errors import MissingError
from facerec.parallel import ranks


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1\nframe 0"), MissingError),
        (torch.cuda.OutOfMemoryError("tried to allocate 2 GiB"), torch.cuda.OutOfMemoryError),
    ],
)
def test_only_a_lost_connection_is_told_as_another_process_that_ended(
    error: Exception, told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(dist, "barrier", fail)
    with pytest.raises(told) as raised:
        ranks.barrier()
    assert str(error).split("\n")[0] in str(raised.value)
    assert "frame" not in str(raised.value)
