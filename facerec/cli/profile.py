"""`facerec profile`: show profiles: every setting and where its value comes from."""

from __future__ import annotations

import json
import sys
from typing import Annotated

from facerec.cli.completing import complete_profile
from facerec.cli.console import Results
from facerec.cli.help import PROFILE, App
from facerec.cli.options import Json, Settings, argument

app = App(
    no_args_is_help=True,
    examples=["facerec profile list", "facerec profile show fast --set detector.min_face=40"],
)


@app.callback()
def profile() -> None:
    """Show profiles: the settings that all commands read."""


@app.command("list", examples=["facerec profile list"])
def list_profiles(as_json: Json = None) -> None:
    """List the shipped profiles."""
    from facerec.profile.loading import resolve, shipped_profiles

    results = Results("profile", "description", "file", as_json=as_json)
    for name, path in shipped_profiles().items():
        description = resolve(name, environment={}).profile.description
        results.add(
            {"name": name, "description": description, "file": str(path)},
            (name, description, str(path)),
        )
    results.close()


@app.command(examples=["facerec profile show default"])
def show(
    name: Annotated[
        str,
        argument(
            help="A shipped profile, or a YAML file.",
            panel=PROFILE,
            envvar="FACEREC_PROFILE",
            autocompletion=complete_profile,
        ),
    ] = "default",
    as_json: Json = None,
    settings: Settings = None,
) -> None:
    """Show every value of a profile, and where it came from."""
    from facerec.profile.loading import known_keys, resolve

    resolved = resolve(name, settings=settings or ())
    values = resolved.profile.model_dump(mode="json")
    results = Results("key", "value", "from", "meaning", as_json=as_json, whole=["key"])
    for key, meaning in known_keys().items():
        section, _, inner = key.rpartition(".")
        value = values[section][inner] if section else values[inner]
        origin = resolved.origins[key]
        results.add(
            {"key": key, "value": value, "from": origin},
            (key, json.dumps(value, ensure_ascii=False), origin, meaning),
        )
    results.close(title=name)


@app.command(examples=["facerec profile schema > profile.schema.json"])
def schema() -> None:
    """Print the JSON Schema of profiles, for editors."""
    from facerec.profile.loading import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
