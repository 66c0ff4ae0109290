"""`facerec serve`: answer other programs over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerec.cli.console import Results, print_line, say, waiting
from facerec.cli.help import INPUT, OUTPUT, RUNTIME, SECURITY, App
from facerec.cli.options import (
    BATCH,
    CAMERAS,
    DETECTOR,
    FACES,
    FAR,
    GALLERY,
    IMMICH_UPSTREAM,
    METRIC,
    MQTT,
    THRESHOLD,
    TOP,
    WEBHOOK,
    WEBHOOK_SECRET,
    WORKERS,
    Json,
    ProfileOptions,
    argument,
    option,
    profile_options,
)
from facerec.errors import MissingError, UsageError
from facerec.listening import is_loopback, listen, url_of

if TYPE_CHECKING:
    from facerec.profile.loading import Profile

app = App(
    invoke_without_command=True,
    examples=[
        "facerec serve -g people.h5",
        "facerec serve keys add keys.json door --scope read",
        "facerec serve -g people.h5 --host 0.0.0.0 --keys keys.json",
    ],
)
keys = App(no_args_is_help=True, examples=["facerec serve keys add keys.json door --scope read"])
app.add_typer(keys, name="keys", help="Make, list and remove API keys.")

KeyFile = Annotated[Path, argument("FILE", help="The file of the keys' hashes.")]


@app.callback()
@profile_options(
    GALLERY, FACES, DETECTOR, THRESHOLD, FAR, METRIC, TOP, WORKERS, BATCH, CAMERAS, WEBHOOK,
    WEBHOOK_SECRET, MQTT, IMMICH_UPSTREAM,
)  # fmt: skip
def serve(
    context: typer.Context,
    host: Annotated[
        str, option("--host", panel=RUNTIME, help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, option("--port", panel=RUNTIME, min=0, max=65535, help="Port; 0: any free one.")
    ] = 8000,
    key_file: Annotated[
        Path | None,
        option(
            "--keys",
            panel=SECURITY,
            metavar="FILE",
            help="Answer only requests with a key of this file; needed beyond this machine.",
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        option("--cert", panel=SECURITY, metavar="FILE", help="Certificate chain for TLS, as PEM."),
    ] = None,
    key: Annotated[
        Path | None,
        option("--key", panel=SECURITY, metavar="FILE", help="The certificate's private key."),
    ] = None,
    allow_urls: Annotated[
        bool,
        option(
            "--allow-urls",
            panel=SECURITY,
            help="Fetch photos by URL, from public addresses only.",
        ),
    ] = False,
    audit: Annotated[
        Path | None,
        option(
            "--audit",
            panel=OUTPUT,
            metavar="FILE",
            help="Append who enrolled or removed whom, as JSON lines.",
            default="on stderr",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        option(
            "--keep-faces",
            panel=OUTPUT,
            metavar="TIME",
            help="Remove what was enrolled over HTTP after this time, such as 12h, 30d or 4w.",
            default="never",
        ),
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Answer other programs over HTTP: detect, embed, recognise, compare, enrol.

    The engine is warm before the first request; requests that come together are detected and
    embedded together. Ctrl-C or SIGTERM answers what was asked, then ends. Beyond this machine a
    key is needed; a photo or a vector is never written anywhere but into the gallery.
    """
    if context.invoked_subcommand is not None:
        return
    loaded = profile.load()
    _require_packages()
    local = is_loopback(host.strip("[]"))
    if not local and key_file is None:
        raise UsageError(
            f"--host {host}: beyond this machine an API key is needed: "
            "facerec serve keys add keys.json NAME, then --keys keys.json"
        )
    tls = _tls(cert, key)
    if not (local or tls):
        say("no TLS: others on the way can read photos and keys; --cert and --key, or a proxy")
    address = _gallery(loaded, named=profile.given(GALLERY) is not None)
    if loaded.serve.cameras and address is None:
        raise UsageError("--camera: people are recognised by a gallery: name one, -g GALLERY")
    bound = listen(host, port)
    with waiting("loading models"):
        from facerec.serving.app import Settings, create_app
        from facerec.serving.audit import Audit
        from facerec.serving.bodies import MAX_BODY
        from facerec.serving.fetching import Fetcher
        from facerec.serving.immich import Upstream
        from facerec.serving.keys import Keys
        from facerec.serving.metrics import Metrics
        from facerec.serving.retention import parse_duration
        from facerec.serving.running import run
        from facerec.serving.service import Service, open_engines
        from facerec.serving.watching import sinks_of

        upstream = loaded.serve.immich_upstream
        settings = Settings(
            keys=None if key_file is None else Keys(key_file),
            local=local,
            fetch=Fetcher(MAX_BODY).fetch if allow_urls else None,
            keep=None if keep is None else parse_duration(keep),
            upstream=None if upstream is None else Upstream(upstream),
            sinks=sinks_of(loaded, say),
            say=say,
        )
        metrics, log = Metrics(), Audit(audit)
        service = Service(open_engines(loaded), loaded, address, log, metrics.note_batch)
        asyncio.run(service.warm_up())
    where = url_of(host, bound.getsockname()[1])
    where = where.replace("http://", "https://", 1) if tls else where
    served = create_app(service, settings, metrics)
    run(served, bound, lambda: say(f"{where} answers; {where}docs says what"), **tls)
    say("ended")


@keys.callback()
def keys_group() -> None:
    """Make, list and remove API keys."""


@keys.command(examples=["facerec serve keys add keys.json door --scope read"])
def add(
    file: KeyFile,
    name: Annotated[str, argument("NAME", help="Whose key it is; the audit log names it.")],
    scope: Annotated[
        str,
        option(
            "--scope",
            panel=INPUT,
            metavar="read|enrol|admin",
            help="What it allows: to ask; also to enrol; also to rename, merge and delete.",
        ),
    ] = "read",
) -> None:
    """Make a key, print it once, and keep its hash."""
    from facerec.serving.keys import SCOPES, add_key

    if scope not in SCOPES:
        raise UsageError(f"--scope {scope}: one of {', '.join(SCOPES)}")
    print_line(add_key(file, name, scope))
    say(f"{file}: {name} may {scope}; the key is printed this once")


@keys.command("list", examples=["facerec serve keys list keys.json"])
def list_keys(file: KeyFile, as_json: Json = None) -> None:
    """List the keys' names, scopes and when they were made."""
    from facerec.serving.keys import read_keys

    results = Results("name", "scope", "made", as_json=as_json)
    for one in read_keys(file):
        record = {"name": one.name, "scope": one.scope, "made": one.made}
        results.add(record, (one.name, one.scope, one.made))
    results.close(title=str(file))


@keys.command(examples=["facerec serve keys remove keys.json door"])
def remove(file: KeyFile, name: Annotated[str, argument("NAME", help="A key's name.")]) -> None:
    """Remove a key; running servers refuse it within a second."""
    from facerec.serving.keys import remove_key

    remove_key(file, name)
    say(f"{file}: {name} removed")


def _tls(cert: Path | None, key: Path | None) -> dict[str, Any]:
    """Options of the server for TLS; none without a certificate.

    Raises:
        UsageError: one of them is missing, or they cannot be read.
    """
    if cert is None and key is None:
        return {}
    if cert is None or key is None:
        raise UsageError("TLS needs both --cert and --key")
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except OSError as error:  # also ssl.SSLError
        reason = error.strerror or str(error)
        raise UsageError(f"--cert {cert} --key {key}: cannot be used: {reason}") from error
    return {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}


def _gallery(profile: Profile, *, named: bool) -> str | None:
    """The gallery to serve; None: none was named, and the default one is not there.

    Raises:
        MissingError: it is damaged or no gallery.
    """
    from facerec.gallery.addresses import backend_of, check_place, open_gallery
    from facerec.profile.schema import GallerySection

    address = profile.gallery.path
    if backend_of(address).exists(address):
        open_gallery(address)
        return address
    if not named and address == GallerySection().path:
        say("no gallery: people are neither enrolled nor recognised; -g GALLERY names one")
        return None
    check_place(address)
    say(f"{address}: no such gallery yet; the first enrolment makes it")
    return address


def _require_packages() -> None:
    """Refuse before models are loaded.

    Raises:
        MissingError: the extra is not installed.
    """
    from importlib.util import find_spec

    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingError(f"{package} is not installed; pip install 'facerec[serve]'")
