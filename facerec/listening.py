"""Addresses that a server of facerec listens on, and what it may be called there."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from facerec.errors import UsageError


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, without looking anything up."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    return _address(host) is not None


def host_of(header: str) -> str | None:
    """The host in a `Host` header, in lower case and without its port; None: it is not one."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # Raises where it is no number.
    except ValueError:
        return None
    if parts.netloc != header or parts.username is not None or parts.path:
        return None
    return parts.hostname


def names_of(host: str) -> frozenset[str]:
    """What a server bound to `host` may be called, beside any IP address."""
    own = socket.gethostname().lower()
    return frozenset((host.lower(), own, f"{own.partition('.')[0]}.local", "localhost"))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that listens; port 0: any free one.

    Raises:
        UsageError: it cannot be bound.
    """
    # As people write it in URLs.
    place = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: {_reason(error)}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except (OSError, OverflowError) as error:
        bound.close()
        where = f"--host {host} --port {port}"
        raise UsageError(f"{where}: {_reason(error)}") from error
    return bound


def url_of(host: str, port: int) -> str:
    """The URL of a server that is bound to a host; of all addresses: by the machine's name."""
    named = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://[{named}]:{port}/" if ":" in named else f"http://{named}:{port}/"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
