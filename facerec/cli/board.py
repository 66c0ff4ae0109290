"""Starting TensorBoard as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence

from facerec.cli.console import say
from facerec.errors import MissingError, UsageError

PORT = 6006
_PORTS_TRIED = 100
# TensorBoard would import TensorFlow where it is installed; see `evaluation.scalars.open_writer`.
_PROGRAM = (
    "import sys, types; stub = 'tensorboard.compat.notf'"
    "; sys.modules[stub] = types.ModuleType(stub)"
    "; from tensorboard.main import run_main; run_main()"
)


def start_board(places: Sequence[str], port: int = PORT) -> subprocess.Popen[bytes]:
    """Start TensorBoard and say its address.

    Args:
        places: its arguments that name the logs.
        port: the next free one is taken where it is in use.

    Raises:
        UsageError: neither it nor the hundred after it are free.
        MissingError: TensorBoard cannot be started.
    """
    free = next((each for each in range(port, port + _PORTS_TRIED) if _is_free(each)), None)
    if free is None:
        raise UsageError(f"TensorBoard: ports {port} to {port + _PORTS_TRIED - 1} are in use")
    command = [sys.executable, "-c", _PROGRAM, *places, "--host", "localhost", "--port", str(free)]
    try:
        board = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise MissingError(f"TensorBoard: {error}") from error
    taken = "" if free == port else f" (port {port} is in use)"
    say(f"TensorBoard: http://localhost:{free}/{taken}")
    return board


def _is_free(port: int) -> bool:
    try:
        with socket.socket() as probe:
            # As TensorBoard's own: a port that was just given up may be taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("localhost", port))
    except OSError:
        return False
    return True
