"""Load on `facerec serve`: images a second and latencies by clients, beside what it is made of.

python -m tests.benchmarks.serve [TAR] [--count N] [--rounds R] [--seconds S] [--clients 1,8,32]

Measured over the same photos, all faces embedded and matched with a gallery of four people:
one call of the engine after the other; the stream that `facerec recognize image` is; a FastAPI
application that calls the engine in its endpoint, as such servers are written; and this server.
The client is one asyncio process with an HTTP connection per client, each of which sends its next
photo when it has the answer to the last.
"""

from __future__ import annotations

import argparse
import asyncio
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
start, used = time.perf_counter(), time.process_time()
frames = read_frames(photos, workers=profile.runtime.workers,
                     max_pixels=profile.runtime.max_pixels, downscale=engine.reduction)
for frame, faces in engine.faces(frames):
    matcher.match_faces(faces)
print(len(photos) / (time.perf_counter() - start),
      1000 * (time.process_time() - used) / len(photos))
"""


STREAMED = "the command's stream"


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


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def _measure(
    folder: Path, photos: Sequence[bytes], clients: Sequence[int], seconds: float, port: int
) -> dict[str, tuple[float, list[float], float, str]]:
    """One round: by name the images a second, the latencies in seconds, the processor's
    milliseconds an image, and the memory."""
    gallery = folder / "people.h5"
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(gallery), str(folder / "photos"), "1", "60"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    single = [float(one) for one in first.split()]
    streamed, used = map(float, second.split())
    found = {
        "one call after the other": (len(single) / sum(single), single, 0.0, ""),
        STREAMED: (streamed, [], used, ""),
    }
    commands = {
        "naive": ["-c", NAIVE, str(gallery), str(port)],
        "facerec serve": ["-m", "facerec", "serve", "-g", str(gallery), "--port", str(port)],
    }
    for name, command in commands.items():
        server = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            load = Load(port, photos, form=name == "naive")
            asyncio.run(load.run(1, 1))
            for count in clients:
                before = _processor_seconds(server.pid)
                rate = asyncio.run(load.run(count, seconds))
                used = 1000 * (_processor_seconds(server.pid) - before) / len(load.seconds)
                told = f"{name}, {count} client{'s' if count > 1 else ''}"
                found[told] = (rate, load.seconds, used, _memory(server.pid))
        finally:
            server.terminate()
            server.wait()
    return found


def main() -> None:
    """Print the table: medians of the rounds' rates, all rounds' latencies."""
    parser = argparse.ArgumentParser(description=__doc__)
    tar = DATA / "lfw" / "lfw-deepfunneled-pairs.tar"
    parser.add_argument("tar", nargs="?", type=Path, default=tar)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    photos = _photos(given.tar, given.count)
    clients = [int(one) for one in given.clients.split(",")]
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        for number, photo in enumerate(photos):
            (folder / "photos" / f"{number:05}.jpg").write_bytes(photo)
        subprocess.run(
            [sys.executable, "-m", "facerec", "embed", str(DATA / "people"), "-o",
             str(folder / "people.h5")],
            check=True, capture_output=True,
        )  # fmt: skip
        for _ in range(given.rounds):
            rounds.append(_measure(folder, photos, clients, given.seconds, given.port))
            shares = [
                f"{name} {100 * rate / rounds[-1][STREAMED][0]:.0f} %"
                for name, (rate, *_) in rounds[-1].items()
            ]
            print(f"load {os.getloadavg()[0]:.1f}, of the stream: {', '.join(shares)}", flush=True)
    print(f"\n{len(photos)} photos, {given.rounds} rounds, {os.cpu_count()} cores\n")
    print("| | img/s | p50 ms | p95 ms | p99 ms | processor ms/img | memory |")
    print("|---|---|---|---|---|---|---|")
    for name in rounds[0]:
        rate = float(np.median([one[name][0] for one in rounds]))
        seconds = [second for one in rounds for second in one[name][1]]
        cells = ["", "", ""]
        if seconds:
            cells = [f"{p:.0f}" for p in np.percentile(np.array(seconds) * 1000, [50, 95, 99])]
        used = float(np.median([one[name][2] for one in rounds]))
        cells.append(f"{used:.1f}" if used else "")
        print(f"| {name} | {rate:.1f} | {' | '.join(cells)} | {rounds[-1][name][3]} |")


if __name__ == "__main__":
    main()
