"""`facerec album web`: look at the album in a browser, and decide."""

from __future__ import annotations

from typing import Annotated

from facerec.cli.album.options import open_it
from facerec.cli.console import say
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import ALBUM, ProfileOptions, option, profile_options
from facerec.errors import MissingError


def register(app: App) -> None:
    """Add the command of this theme."""
    app.command(
        examples=["facerec album web", "facerec album web -a family.db --host 0.0.0.0 --port 8080"]
    )(web)


@profile_options(ALBUM)
def web(
    host: Annotated[
        str,
        option(
            "--host",
            panel=OUTPUT,
            help="Name or address to listen on; on any but this machine's own, only a browser that "
            "opened the printed URL is answered.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, option("--port", panel=OUTPUT, help="0: any free one.", min=0, max=65535)
    ] = 0,
    *,
    profile: ProfileOptions,
) -> None:
    """Show the album in a browser: look, name, merge, split, answer suggestions, undo.

    Needs the extra [web]. Ctrl-C ends it.
    """
    loaded = profile.load()
    open_it(profile).close()
    try:
        from facerec.album.web.serving import serve_album
    except ModuleNotFoundError as error:
        raise MissingError(f"{error.name} is not installed; pip install 'facerec[web]'") from error
    serve_album(
        loaded.album.path,
        host,
        port,
        ready=lambda url: say(f"{loaded.album.path}: {url} (Ctrl-C ends it)"),
    )
