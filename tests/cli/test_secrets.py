"""No password or token of a URL is printed or written, by any command and in any error."""

from __future__ import annotations

import base64
import io
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from facerec.errors import (
    InputError,
    MissingError,
    UsageError,
    without_credentials,
    without_path,
    without_user,
)
from facerec.imaging.sources import find_photos, photo_tree
from facerec.profile.schema import ServeSection
from facerec.serving.webhooks import Webhook
from facerec.training import run_folder
from facerec.video.sources import open_video
from tests.conftest import Run

SECRETS = ("hunter2", "s3cr3t", "t0ken", "Signature")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://me:hunter2@cam/1", "rtsp://cam/1"),
        ("rtsp://hunter2@cam:554/1", "rtsp://cam:554/1"),
        ("http:/me:hunter2@cam/1.jpg?t0ken=1", "http:/cam/1.jpg"),
        ("C:/me@home/a?.jpg", "C:/me@home/a?.jpg"),
        ("rtsp://me:hun@ter2@cam/1", "rtsp://cam/1"),
        ("rtsp://me:hun/te?r#2@cam/1", "rtsp://cam/1"),
        ("HTTPS://me:@h/a.jpg?X-Amz-Signature=1&b=2", "HTTPS://h/a.jpg"),
        ("zip://a.jpg::https://me:hunter2@h/x.zip?t0ken=1", "zip://a.jpg::https://h/x.zip"),
        ("https://h/a.jpg?t0ken=1 and http://u:hunter2@g/", "https://h/a.jpg and http://g/"),
        ("http://h:8080/@me/x.jpg", "http://h:8080/@me/x.jpg"),
        ("https://h/a#access_token=t0ken", "https://h/a"),
        ("https://h/a;jsessionid=1;t=2/b", "https://h/a"),
        ("https://h/a;b/c#part.jpg", "https://h/a;b/c#part.jpg"),
        ("mqtt://me:hun%40ter2@h:1883/x", "mqtt://h:1883/x"),
        ("http://[::1]:80/@me", "http://[::1]:80/@me"),
        ("https://h/a@b:c@d.jpg", "https://h/a@b:c@d.jpg"),
        ("milvus://h:19530/people", "milvus://h:19530/people"),
        ("me@home.org: hunter?", "me@home.org: hunter?"),
    ],
)
def test_credentials_are_left_out_of_urls_and_nothing_else(url: str, expected: str) -> None:
    assert without_credentials(url) == expected
    assert without_credentials(f"'{url}': no such file") == f"'{expected}': no such file"


def test_a_query_is_kept_where_only_the_user_must_go() -> None:
    assert without_user("http://u:p@h/?token=1") == "http://h/?token=1"


def test_a_webhooks_path_is_its_secret() -> None:
    url = "https://me:hunter2@hooks.example.com/services/T0/t0ken?x=1"
    assert without_path(f"webhook {url}: 404") == "webhook https://hooks.example.com/… 404"
    shown = ServeSection(webhook=url).model_dump(mode="json")["webhook"]
    assert shown == "https://hooks.example.com/…"
    with pytest.raises(UsageError) as caught:
        Webhook("ftp://hooks.example.com/services/t0ken", None, print)
    assert "t0ken" not in str(caught.value)


def test_a_runs_folder_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["facerec", "--set", "serve.mqtt=mqtt://me:hunter2@h/x"])
    assert run_folder._environment()["command"][-1] == "serve.mqtt=mqtt://h/x"


def test_errors_have_none_whatever_library_wrote_them() -> None:
    error = InputError("x: cannot be read: 404 of https://me:hunter2@h/a?X-Amz-Signature=t0ken")
    assert str(error) == "x: cannot be read: 404 of https://h/a"


class _Handler(BaseHTTPRequestHandler):
    """Serves a photo below /people/ to whoever knows the password or the token."""

    photo = b""

    def do_GET(self) -> None:
        known = base64.b64encode(b"me:hunter2").decode()
        allowed = self.headers.get("Authorization") == f"Basic {known}" or "t0ken" in self.path
        self.send_response(200 if allowed and "/people/" in self.path else 404)
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(portraits: dict[str, Path]) -> Iterator[str]:
    _Handler.photo = portraits["grace_hopper"].read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def assert_no_secret(folder: Path, *texts: str) -> None:
    for text in texts:
        assert not any(secret in text for secret in SECRETS), text
    for path in folder.rglob("*"):
        assert not any(secret in str(path) for secret in SECRETS), path
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in SECRETS), path


URLS = ["http://{}/people/ann/1.jpg?t0ken=s3cr3t", "http://me:hunter2@{}/people/ann/1.jpg"]
MISSING = ["http://{}/gone/1.jpg?t0ken=s3cr3t", "http://me:hunter2@{}/gone/a.zip"]


@pytest.mark.parametrize("url", URLS)
def test_a_photo_behind_a_password_is_enrolled_and_recognised_without_telling_it(
    url: str, host: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.chdir(tmp_path)
    url = url.format(host)
    code, out, err = run("embed", url, "--name", "ann", "-o", "g.h5", "--chips", "chips")
    assert (code, '"enrolled": 1' in out) == (0, True), err
    assert_no_secret(tmp_path, out, err)
    code, out, err = run("recognize", "image", url, "-g", "g.h5", "--save", "named")
    assert (code, '"ann"' in out) == (0, True), err
    assert_no_secret(tmp_path, out, err)
    code, out, err = run("gallery", "show", "ann", "-g", "g.h5")
    assert host in out
    assert_no_secret(tmp_path, out, err)


@pytest.mark.parametrize("url", MISSING)
@pytest.mark.parametrize(
    "command",
    [
        ["embed", "URL", "--name", "ann", "-o", "g.h5"],
        ["embed", "URL", "-o", "g.h5"],
        ["detect", "URL"],
        ["align", "URL", "out"],
        ["compare", "URL", "URL"],
        ["train", "--data", "URL"],
        ["evaluate", "lfw", "--data", "URL"],
        ["cleanup", "URL", "--report", "r"],
        ["gallery", "list", "-g", "URL"],
        ["recognize", "image", "URL", "-g", "URL"],
        ["recognize", "video", "URL"],
        ["import", "URL"],
        ["profile", "show", "URL"],
        ["download", "URL"],
        ["docs", "URL"],
        ["URL"],
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_no_command_tells_a_secret_when_it_fails(
    command: list[str], url: str, debug: bool, host: str, run: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    monkeypatch.chdir(tmp_path)
    url = url.format(host)
    words = [url if word == "URL" else word for word in command]
    code, out, err = run(*words, *(["--debug"] if debug else []))
    assert code != 0
    assert_no_secret(tmp_path, out, err)


def test_listed_urls_and_trees_have_clean_names(host: str, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    listed = "".join(f"{url.format(host)}\n" for url in URLS).encode()
    for photo in find_photos(["-"], stdin=io.BytesIO(listed)):
        assert photo.name == f"http://{host}/people/ann/1.jpg"
        assert photo.read()
    (key,) = photo_tree(URLS[0].format(host))
    assert key == "1.jpg"


def test_a_camera_is_called_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="rtsp://127") as caught:
        open_video("rtsp://me:hunter2@127.0.0.1:9/1?t0ken=1", stdin=None, max_pixels=100)
    assert_no_secret(Path("/nonexistent"), str(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@127.0.0.1:9/a.m3u8?t0ken=1",
        "rtsp://me:hunter2@127.0.0.1:9/1",
        "rtmp://me:hunter2@127.0.0.1:9/live/s3cr3t?t0ken=1",
        "srt://127.0.0.1:9?passphrase=hunter2hunter2&t0ken=1",
        "tcp://me:hunter2@127.0.0.1:9",
    ],
)
def test_ffmpeg_itself_tells_no_secret(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingError) as caught:
        open_video(url, stdin=None, max_pixels=100)
    told = [str(caught.value), *capfd.readouterr()]
    assert not [text for text in told for secret in ("hunter2", "t0ken") if secret in text]


@pytest.mark.parametrize("debug", [False, True])
def test_a_proxys_password_is_told_by_nobody(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://me:hunter2@127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    flags = ["--debug"] if debug else []
    for command in (
        ["detect", "https://example.invalid/a.jpg"],
        ["recognize", "video", "http://example.invalid/a.mp4", "-g", "g.h5"],
        ["embed", "http://example.invalid/a.zip", "-o", "g.h5"],
    ):
        code, out, err = run(*command, *flags)
        assert code in (3, 4)
        assert_no_secret(tmp_path, out, err)
