"""C libraries are silenced where that can be done, and left alone elsewhere."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

from facerec.files import hush


def windows(_: str) -> str:
    raise AttributeError("module 'os' has no attribute 'confstr'")


def macos(_: str) -> str:
    raise ValueError("unrecognized configuration name")


@pytest.fixture(params=[windows, macos])
def elsewhere(request, monkeypatch) -> Iterator[None]:
    """A system without glibc, where asking for its `stderr` fails as it does there."""

    def no_library(name: object) -> object:
        raise TypeError("argument 1 must be str, not None")

    monkeypatch.setattr(os, "confstr", request.param, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    hush.can_hush.cache_clear()
    hush._streams.cache_clear()
    yield
    hush.can_hush.cache_clear()
    hush._streams.cache_clear()


@pytest.mark.parametrize("confstr", [True, False])
def test_without_glibc_nothing_is_silenced_and_nothing_fails(
    elsewhere, confstr, monkeypatch, capfd
):
    if not confstr:
        monkeypatch.delattr(os, "confstr", raising=False)
    assert not hush.can_hush()
    with hush.hushed(), hush.hushed():
        os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


@pytest.mark.skipif(not hush.can_hush(), reason="the C library is not glibc")
def test_what_c_code_writes_is_discarded_within_and_kept_without(capfd):
    c = ctypes.CDLL(None)

    def complain(text: bytes) -> None:
        stream = ctypes.c_void_p.in_dll(c, "stderr")
        c.fputs(text, stream)
        c.fflush(stream)

    with hush.hushed():
        complain(b"within")
    complain(b"without")
    assert capfd.readouterr().err == "without"
