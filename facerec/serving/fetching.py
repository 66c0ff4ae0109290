"""Photos behind URLs that a request names, never from inside the network (against SSRF).

A name is resolved once, all its addresses are judged, and the connection goes to one that was
judged, so that a name that resolves otherwise a moment later (DNS rebinding) reaches nothing. Each
redirect is judged likewise. Proxies of the environment are not used: they would resolve the name
themselves.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urljoin

from facerec.errors import InputError
from facerec.serving.client import Answer, Target, parse_url, send, within

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""IP addresses of a host and port."""
IsAllowed = Callable[[str], bool]

_REDIRECTS = 3
_REDIRECTING = {301, 302, 303, 307, 308}
_HEADERS = {"User-Agent": "facerec", "Accept": "image/*", "Accept-Encoding": "identity"}
# IPv6 networks whose addresses stand for an IPv4 address, and how far right that lies in the bits.
_CARRIERS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
# Not public, whatever the tables of this Python's version say.
_CLOSED = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF's protocols
        "2001::/23",  # the same: Teredo, ORCHID
        "3fff::/20",  # documentation
        "64:ff9b:1::/48",  # NAT64 of a local network
        "fec0::/10",  # site-local
    )
]


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet: not private, loopback, link-local,
    multicast, shared or reserved, also where an IPv6 address carries an IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        for network, shift in _CARRIERS:
            if ip in network:
                return is_public(str(ipaddress.IPv4Address((int(ip) >> shift) & 0xFFFFFFFF)))
    if any(ip in network for network in _CLOSED):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class Fetcher:
    """Fetches what a URL holds.

    Args:
        most_bytes: of a photo.
        seconds: for a photo, redirects counted.
        resolve: the resolver.
        is_allowed: whether an address may be connected to.
    """

    def __init__(
        self, most_bytes: int, seconds: float = 10.0,
        *, resolve: Resolve = resolve, is_allowed: IsAllowed = is_public,
    ) -> None:  # fmt: skip
        self._most_bytes, self._seconds = most_bytes, seconds
        self._resolve, self._is_allowed = resolve, is_allowed

    async def fetch(self, url: str) -> bytes:
        """The bytes behind a URL.

        Raises:
            InputError: it is no http or https URL, is not public, or answers with something else
                than its content, too much of it, or too slowly.
        """
        target = parse_url(url)
        return await within(self._seconds, target, self._follow(target))

    async def _follow(self, target: Target) -> bytes:
        for _ in range(1 + _REDIRECTS):
            answer = await send(
                target, headers=_HEADERS, address=await self._address(target),
                most_bytes=self._most_bytes, seconds=self._seconds,
            )  # fmt: skip
            if answer.status not in _REDIRECTING or "location" not in answer.headers:
                return _content(target, answer)
            target = _redirected(target, answer.headers["location"])
        raise InputError(f"{target.host}: is redirected more than {_REDIRECTS} times")

    async def _address(self, target: Target) -> str:
        try:
            found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise InputError(f"{target.host}: no such host") from error
        if not found or not all(map(self._is_allowed, found)):
            raise InputError(f"{target.host}: is no public address; nothing is fetched from it")
        return found[0]


def _redirected(target: Target, location: str) -> Target:
    try:
        found = parse_url(urljoin(target.url, location))
    except ValueError as error:
        raise InputError(f"{target.host}: redirects to what is no URL") from error
    if target.scheme == "https" and found.scheme != "https":
        raise InputError(f"{target.host}: redirects from https to http, which is not followed")
    return found


def _content(target: Target, answer: Answer) -> bytes:
    if answer.status != 200:
        raise InputError(f"{target.host}: answers with status {answer.status}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise InputError(f"{target.host}: answers in an encoding that was not asked for")
    return answer.body
