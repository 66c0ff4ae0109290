"""Addresses that servers listen on."""

from __future__ import annotations

import pytest

from facerec.errors import UsageError
from facerec.listening import host_of, is_address, is_loopback, listen, names_of, url_of


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_alone(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example", "127.1"])
def test_not_this_machine_alone(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "host"),
    [("127.0.0.1:80", "127.0.0.1"), ("NAS.local", "nas.local"), ("[::1]:8000", "::1"),
     ("a@b", None), ("a/b", None), ("a?b", None), ("a:b", None), ("[", None), ("", None)],
)  # fmt: skip
def test_a_host_header_is_a_host_and_perhaps_a_port(header, host):
    assert host_of(header) == host


def test_names_are_told_from_addresses():
    assert is_address("192.0.2.1")
    assert is_address("::1")
    assert not is_address("nas")
    assert {"nas", "localhost"} < names_of("NAS")


def test_any_free_port_is_found_and_a_taken_one_refused():
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert url_of("127.0.0.1", port) == f"http://127.0.0.1:{port}/"
        with pytest.raises(UsageError, match=f"--port {port}: .*in use"):
            listen("127.0.0.1", port)
    assert url_of("::1", 80) == "http://[::1]:80/"
    assert url_of("0.0.0.0", 80).startswith("http://")
    assert "0.0.0.0" not in url_of("0.0.0.0", 80)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "é" * 70, ""])
def test_what_cannot_be_listened_on_is_one_line(host):
    with pytest.raises(UsageError, match=r"^--host") as refused:
        listen(host, 0)
    assert "\n" not in str(refused.value)
