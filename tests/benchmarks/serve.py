"""Load on `facerec serve`: images a second and latencies by clients, beside what it is made of.

python -m tests.benchmarks.serve [TAR] [--count N] [--seconds S] [--clients 1,8,32]

Measured over the same photos, all faces embedded and matched with a gallery of four people:
one call of the engine after the other; the stream that `facerec recognize image` is; a FastAPI
application that calls the engine in its endpoint, as such servers are written; and this server.
The client is one asyncio process with an HTTP connection per client, each of which sends its next
photo when it has the answer to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[2].parent / "shared" / "data"
NAIVE = """
import sys
import uvicorn
from fastapi import FastAPI, UploadFile
from facerec import Engine, Gallery, Matcher, Profile
from facerec.imaging.decode import decode_image

profile = Profile.load("default")
engine = Engine.from_profile(profile)
matcher = Matcher(Gallery.open(sys.argv[1]), profile.recognize, engine.card)
app = FastAPI()

@app.post("/v1/recognize")
async def recognize(image: UploadFile):
    pixels = decode_image(await image.read(), image.filename or "image")
    (faces,) = engine.embed([pixels])
    matches = matcher.match_faces(faces)
    return {"faces": [{"box": face.box.tolist(), "name": match.name}
                      for face, match in zip(faces, matches)]}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
STREAM = """
import sys, time
from pathlib import Path
from facerec import Engine, Gallery, Matcher, Profile
from facerec.imaging.reader import decode_frame, read_frames

profile = Profile.load("default")
engine = Engine.from_profile(profile)
matcher = Matcher(Gallery.open(sys.argv[1]), profile.recognize, engine.card)
photos = sorted(Path(sys.argv[2]).iterdir()) * int(sys.argv[3])

def one(path):
    frame = decode_frame("", path.read_bytes(), profile.runtime.max_pixels, None, engine.reduction)
    (faces,) = engine.faces_of([frame], select=None, embed=True)
    matcher.match_faces(faces)

one(photos[0])
seconds = []
for path in photos[:int(sys.argv[4])]:
    start = time.perf_counter()
    one(path)
    seconds.append(time.perf_counter() - start)
print(*seconds)
start = time.perf_counter()
frames = read_frames(photos, workers=profile.runtime.workers,
                     max_pixels=profile.runtime.max_pixels, downscale=engine.reduction)
for frame, faces in engine.faces(frames):
    matcher.match_faces(faces)
print(len(photos) / (time.perf_counter() - start))
"""


class Load:
    """Clients that send photos for some seconds, and the latencies they saw."""

    def __init__(self, port: int, photos: Sequence[bytes], *, form: bool) -> None:
        self._port = port
        self._bodies = cycle([_request(photo, form=form) for photo in photos])
        self.seconds: list[float] = []

    async def run(self, clients: int, seconds: float) -> float:
        """Images a second."""
        self.seconds = []
        start = time.perf_counter()
        await asyncio.gather(*(self._client(start + seconds) for _ in range(clients)))
        return len(self.seconds) / (time.perf_counter() - start)

    async def _client(self, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while time.perf_counter() < end:
            start = time.perf_counter()
            writer.write(next(self._bodies))
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            status = int(head.split()[1])
            lengths = [line for line in head.splitlines() if line.startswith("content-length")]
            length = int(lengths[0].partition(":")[2])
            body = await reader.readexactly(length)
            if status != 200:
                raise SystemExit(f"{status}: {body.decode()}")
            self.seconds.append(time.perf_counter() - start)
        writer.close()


def _request(photo: bytes, *, form: bool) -> bytes:
    kind, body = "image/jpeg", photo
    if form:
        kind = "multipart/form-data; boundary=facerec"
        head = 'Content-Disposition: form-data; name="image"; filename="a.jpg"'
        body = f"--facerec\r\n{head}\r\n\r\n".encode() + photo + b"\r\n--facerec--\r\n"
    head = f"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _memory(process: int) -> str:
    """Resident MB, of the process and its children, now."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    total = 0
    for one in [str(process), *children]:
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                total += int(line.split()[1])
    return f"{total / 1024:,.0f} MB"


def _wait(port: int) -> None:
    import socket

    for _ in range(600):
        time.sleep(0.1)
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as link:
                link.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                if link.recv(100):
                    return
        except OSError:
            pass
    raise SystemExit("the server does not answer")


def _photos(tar: Path, count: int) -> list[bytes]:
    photos: list[bytes] = []
    with tarfile.open(tar) as archive:
        for member in islice((one for one in archive if one.isfile()), count):
            file = archive.extractfile(member)
            assert file is not None
            photos.append(file.read())
    return photos


def _row(name: str, rate: float, seconds: Sequence[float], memory: str) -> None:
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000, [50, 95, 99]) if seconds else [0] * 3
    print(f"| {name} | {rate:.1f} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {memory} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    tar = DATA / "lfw" / "lfw-deepfunneled-pairs.tar"
    parser.add_argument("tar", nargs="?", type=Path, default=tar)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    photos = _photos(given.tar, given.count)
    clients = [int(one) for one in given.clients.split(",")]
    print(f"{len(photos)} photos, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("| | img/s | p50 ms | p95 ms | p99 ms | memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder, "people.h5")
        for number, photo in enumerate(photos):
            Path(folder, "photos").mkdir(exist_ok=True)
            Path(folder, "photos", f"{number:05}.jpg").write_bytes(photo)
        subprocess.run(
            [sys.executable, "-m", "facerec", "embed", str(DATA / "people"), "-o", str(gallery)],
            check=True, capture_output=True,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", STREAM, str(gallery), f"{folder}/photos", str(given.rounds),
             "60"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        first, second = done.stdout.splitlines()
        single = [float(one) for one in first.split()]
        _row("one call after the other", len(single) / sum(single), single, "")
        _row("the command's stream", float(second), [], "")
        commands = {
            "naive": [sys.executable, "-c", NAIVE, str(gallery), str(given.port)],
            "facerec serve": [
                sys.executable, "-m", "facerec", "serve", "-g", str(gallery), "--port",
                str(given.port),
            ],
        }  # fmt: skip
        for name, command in commands.items():
            server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                _wait(given.port)
                load = Load(given.port, photos, form=name == "naive")
                asyncio.run(load.run(1, 2))
                for count in clients:
                    rate = asyncio.run(load.run(count, given.seconds))
                    told = f"{name}, {count} client{'s' if count > 1 else ''}"
                    _row(told, rate, load.seconds, _memory(server.pid))
            finally:
                server.terminate()
                server.wait()
    print(json.dumps({"load": os.getloadavg()}))


if __name__ == "__main__":
    main()
