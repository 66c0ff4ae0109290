"""`facerec album`: every face of your photos, grouped, named once, found again."""

from __future__ import annotations

from facerec.cli.album import metadata, migrate, people, scan
from facerec.cli.help import App

app = App(
    no_args_is_help=True,
    examples=["facerec album scan ~/Pictures", "facerec album people"],
)


@app.callback()
def album() -> None:
    """Every face of your photos: grouped, named once, found again.

    The album is one SQLite file; photos are never changed unless asked.
    """


for theme in (scan, people, metadata, migrate):
    theme.register(app)
