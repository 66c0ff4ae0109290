"""`facerec serve`: answer other programs over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from facerec.cli.console import say, waiting
from facerec.cli.help import RUNTIME, App
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
    WEBHOOK,
    WEBHOOK_SECRET,
    WORKERS,
    ProfileOptions,
    option,
    profile_options,
)
from facerec.errors import MissingError, UsageError

if TYPE_CHECKING:
    from facerec.profile.loading import Profile

app = App()


@app.command(examples=["facerec serve -g people.h5", "facerec serve -g people.h5 --port 9000"])
@profile_options(
    GALLERY, FACES, DETECTOR, THRESHOLD, FAR, METRIC, WORKERS, BATCH, CAMERAS, WEBHOOK,
    WEBHOOK_SECRET, MQTT, IMMICH_UPSTREAM,
)  # fmt: skip
def serve(
    host: Annotated[
        str, option("--host", panel=RUNTIME, help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, option("--port", panel=RUNTIME, min=0, max=65535, help="Port; 0: any free one.")
    ] = 8000,
    *,
    profile: ProfileOptions,
) -> None:
    """Answer other programs over HTTP: detect, embed, recognise, compare, enrol.

    The engine is warm before the first request; requests that come together are detected and
    embedded together. Ctrl-C or SIGTERM answers what was asked, then ends.
    """
    loaded = profile.load()
    address = _gallery(loaded, named=profile.given(GALLERY) is not None)
    _require_packages()
    if loaded.serve.cameras and address is None:
        raise UsageError("--camera: people are recognised by a gallery: name one, -g GALLERY")
    with waiting("loading models"):
        from facerec.serving.app import Settings, create_app
        from facerec.serving.immich import Upstream
        from facerec.serving.running import run
        from facerec.serving.service import Service, open_engines
        from facerec.serving.watching import sinks_of

        upstream = loaded.serve.immich_upstream
        settings = Settings(
            upstream=None if upstream is None else Upstream(upstream),
            sinks=sinks_of(loaded, say),
            say=say,
        )
        service = Service(open_engines(loaded), loaded, address)
        asyncio.run(service.warm_up())
    run(create_app(service, settings), host, port, say)


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
            raise MissingError(f"{package} is not installed: pip install 'facerec[serve]'")
