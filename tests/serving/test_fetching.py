"""Photos behind URLs: fetched from the public internet, and from nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from facerec.errors import InputError
from facerec.serving.client import parse_url
from facerec.serving.fetching import Fetcher, is_public

PHOTO = b"\xff\xd8\xff" + bytes(1000)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
        "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:7f00:1::", "100::1", "3fff::1",
    ],
)  # fmt: skip
def test_an_address_inside_a_network_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2001:4860:4860::8888",
                "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/a", "gopher://example.com", "data:image/png,a",
        "http://", "http:///a", "//example.com/a", "example.com/a", "", "http://[::1", "http://a:b",
        "http://example.com:0/", "http://example.com:99999/", "http://me:secret@example.com/",
        "http://example.com/a b", "http://example.com/\r\nX: y", "http://example.com\\@a/",
        "http://" + "a" * 300 + ".com/", "http://exam\x00ple.com/",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused(url):
    with pytest.raises(InputError) as refused:
        parse_url(url)
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)


def test_a_url_is_sent_percent_encoded():
    target = parse_url("HTTPS://Bücher.example:8443/Zoë?q=é%20")
    assert target.url == "https://xn--bcher-kva.example:8443/Zo%C3%AB?q=%C3%A9%20"


def answer(body: bytes = PHOTO, status: str = "200 OK", **headers: object) -> bytes:
    named = {"Content-Length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@contextlib.asynccontextmanager
async def serving(
    reply: Callable[[bytes], bytes], pause: float = 0
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on 127.0.0.1 that answers each request with raw bytes; its port and the requests."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data := reply(requests[-1])), 200):
                writer.write(data[start : start + 200])
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()


class Names:
    """A resolver of fixed names, which counts what it was asked for."""

    def __init__(self, **hosts: str | Sequence[str]) -> None:
        self.asked: list[str] = []
        self._hosts = hosts

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        found = self._hosts[host.replace(".", "_")]
        return [found] if isinstance(found, str) else found


def fetcher(names: Names, most_bytes: int = 10_000, seconds: float = 2.0) -> Fetcher:
    """One for which 127.0.0.1 is the public internet and all else is judged as always."""
    return Fetcher(
        most_bytes, seconds, resolve=names,
        is_allowed=lambda address: address == "127.0.0.1" or is_public(address),
    )  # fmt: skip


def test_a_photo_is_fetched_by_its_name_from_the_address_that_was_judged():
    async def check() -> None:
        names = Names(photos_example="127.0.0.1")
        async with serving(lambda _: answer()) as (port, requests):
            url = f"http://photos.example:{port}/a.jpg?size=1"
            assert await fetcher(names).fetch(url) == PHOTO
        assert names.asked == ["photos.example"]
        assert requests[0].startswith(b"GET /a.jpg?size=1 HTTP/1.1\r\n")
        assert f"Host: photos.example:{port}".encode() in requests[0]

    asyncio.run(check())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "[::1]"])
def test_nothing_of_this_machine_is_fetched_however_it_is_written(host):
    async def check() -> None:
        async with serving(lambda _: answer()) as (port, requests):
            with pytest.raises(InputError):
                await Fetcher(1000).fetch(f"http://{host}:{port}/")
        assert not requests

    asyncio.run(check())


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    names = Names(mixed_example=["127.0.0.1", "10.0.0.1"])
    with pytest.raises(InputError, match=r"mixed\.example: is no public address"):
        asyncio.run(fetcher(names).fetch("http://mixed.example/"))


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    async def check() -> None:
        async with serving(lambda _: answer(b"proxy")) as (proxy, asked):
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
            async with serving(lambda _: answer()) as (port, _):
                names = Names(photos_example="127.0.0.1")
                assert await fetcher(names).fetch(f"http://photos.example:{port}/") == PHOTO
        assert not asked

    asyncio.run(check())


@pytest.mark.parametrize(
    "location",
    ["http://inside.example/", "//inside.example", "http://169.254.169.254/latest/meta-data",
     "file:///etc/passwd", "http://me:secret@photos.example/", "http://[::1"],
)  # fmt: skip
def test_a_redirect_is_judged_like_the_first_address(location):
    async def check() -> None:
        names = Names(
            photos_example="127.0.0.1", inside_example="192.168.0.1",
            **{"169_254_169_254": "169.254.169.254"},
        )  # fmt: skip
        reply = answer(b"", "302 Found", Location=location)
        async with serving(lambda _: reply) as (port, requests):
            with pytest.raises(InputError):
                await fetcher(names).fetch(f"http://photos.example:{port}/")
        assert len(requests) == 1

    asyncio.run(check())


def test_a_relative_redirect_is_followed_and_a_circle_is_not():
    async def check() -> None:
        def reply(request: bytes) -> bytes:
            if b"GET /a" in request:
                return answer(b"", "301 Moved", Location="/b")
            return answer() if b"GET /b" in request else answer(b"", "307 Again", Location="/c")

        async with serving(reply) as (port, requests):
            url = f"http://photos.example:{port}"
            names = Names(photos_example="127.0.0.1")
            assert await fetcher(names).fetch(f"{url}/a") == PHOTO
            assert names.asked == ["photos.example"] * 2
            with pytest.raises(InputError, match="redirected more than 3 times"):
                await fetcher(names).fetch(f"{url}/c")
            assert len(requests) == 2 + 4

    asyncio.run(check())


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (answer(bytes(2001)), "more than 2000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2001), "more than 2000 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 9 * (b"ff\r\n" + bytes(255)
         + b"\r\n"), "more than 2000 bytes"),
        (answer(b"", "404 Not Found"), "answers with status 404"),
        (answer(b"", "302 Found"), "answers with status 302"),
        (answer(Content_Encoding="gzip"), "encoding that was not asked for"),
        (b"SSH-2.0-OpenSSH_9\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\nabc", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nA: " + bytes(100_000), "no HTTP"),
        (b"", "closed|no HTTP"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_photo_is_told_in_one_line(reply, problem):
    async def check() -> None:
        async with serving(lambda _: reply) as (port, _):
            with pytest.raises(InputError, match=problem) as refused:
                names = Names(photos_example="127.0.0.1")
                await fetcher(names, 2000).fetch(f"http://photos.example:{port}/?token=secret")
        assert "\n" not in str(refused.value) and "secret" not in str(refused.value)

    asyncio.run(check())


def test_an_answer_that_trickles_ends_at_the_deadline():
    async def check() -> None:
        # 20 parts, a tenth of a second each: no single pause is long.
        async with serving(lambda _: answer(bytes(4000)), pause=0.1) as (port, _):
            names = Names(photos_example="127.0.0.1")
            with pytest.raises(InputError, match=r"no answer within 0\.3 s"):
                await fetcher(names, seconds=0.3).fetch(f"http://photos.example:{port}/")

    asyncio.run(check())


def test_a_host_that_is_not_there_is_told():
    async def check() -> None:
        async def nothing(host: str, port: int) -> Sequence[str]:
            raise OSError("no such name")

        with pytest.raises(InputError, match=r"gone\.example: no such host"):
            await Fetcher(1000, resolve=nothing).fetch("http://gone.example/")
        async with serving(lambda _: answer()) as (port, _):
            pass
        names = Names(photos_example="127.0.0.1")
        with pytest.raises(InputError, match="cannot be reached"):
            await fetcher(names).fetch(f"http://photos.example:{port}/")

    asyncio.run(check())
