"""`facerec album`: every face of your photos, grouped, named once, found again."""

from __future__ import annotations

from facerec.cli.album import (
    decide,
    export,
    forget,
    grouping,
    metadata,
    migrate,
    people,
    scan,
    search,
    web,
)
from facerec.cli.help import App

app = App(
    no_args_is_help=True,
    examples=[
        "facerec album scan ~/Pictures",
        "facerec album name person-0007 anna",
        "facerec album search --with anna --with ben --from 2019",
    ],
)


@app.callback()
def album() -> None:
    """Every face of your photos: grouped, named once, found again.

    The album is one SQLite file; photos are never changed unless asked.
    """


for theme in (scan, grouping, people, decide, search, forget, export, web, metadata, migrate):
    theme.register(app)
