"""`facerec logs`: TensorBoard over all runs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

from facerec.cli.board import PORT, start_board
from facerec.cli.console import say
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import argument, option
from facerec.errors import MissingError
from facerec.files.text import counted

app = App()


@app.command(examples=["facerec logs", "facerec logs runs/first runs/second"])
def logs(
    runs: Annotated[
        list[Path] | None,
        argument("[RUNS]", help="Folders of runs, or folders that hold some. [default: runs]"),
    ] = None,
    port: Annotated[
        int, option("--port", panel=OUTPUT, min=1, max=65535, help="The next free one is taken.")
    ] = PORT,
) -> None:
    """Show the logs of training runs in TensorBoard, until Ctrl-C.

    Losses, rates and figures of all runs lie in the same charts.
    """
    places = runs or [Path("runs")]
    found = {}
    for place in places:
        inside = sorted({events.parent for events in place.rglob("events.out.tfevents.*")})
        if not inside:
            raise MissingError(f"{place}: holds no logs of a run")
        found[place] = inside
    if len(places) == 1:
        arguments = ["--logdir", str(places[0])]
    else:
        named = (f"{place.name}:{place.resolve()}" for place in places)
        arguments = ["--logdir_spec", ",".join(named)]
    count = sum(len(inside) for inside in found.values())
    say(f"logs of {counted(count, 'run')}; Ctrl-C ends")
    board = start_board(arguments, port)
    ended = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if board.wait():
            raise MissingError(f"TensorBoard ended with {board.returncode}")
    except KeyboardInterrupt:
        # The way to end it, not an interruption of work.
        return
    finally:
        signal.signal(signal.SIGTERM, ended)
        board.terminate()
        board.wait()
