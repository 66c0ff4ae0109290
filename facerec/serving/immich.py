"""Immich's machine-learning API: `/predict` for `facial-recognition`, `/ping`.

Immich's server posts a form with `entries` (JSON: task, type, `modelName` and `options`) and
`image` or `text`; see `machine-learning/immich_ml/main.py` of immich-app/immich. It stores a face's
embedding as the string that it gets, in a column of 512 values.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from facerec.errors import InputError, UsageError
from facerec.faces import Face, Floats
from facerec.files.parsing import parse_json
from facerec.serving.answers import FAILURES, answer
from facerec.serving.bodies import Part, parse_form, read_body
from facerec.serving.callers import READ
from facerec.serving.client import Target, parse_url, send
from facerec.serving.failures import RequestError, unavailable
from facerec.serving.immich_schema import PREDICT_BODY, Greeting, Prediction
from facerec.serving.service import Service, Upload

FACES = "facial-recognition"
STORED_VALUES = 512
_MIN_SCORE = 0.7
"""Immich's own default."""
_UPSTREAM_SECONDS = 120.0
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a request asks for.

    Attributes:
        faces: whether faces are wanted.
        embed: whether their embeddings are.
        min_score: least score of a face, in [0, 1].
        others: names of all other tasks.
    """

    faces: bool
    embed: bool
    min_score: float
    others: Sequence[str]


def parse_entries(text: str) -> Tasks:
    """Parse a request's `entries`. Any model name is accepted: there is one model.

    Raises:
        RequestError: it is not of Immich's form.
    """
    wrong = RequestError(422, "invalid_entries", "entries: is not of Immich's form")
    try:
        tasks = parse_json(text.encode())
    except ValueError as error:
        raise wrong from error
    if not isinstance(tasks, dict) or not tasks or not all(map(_is_task, tasks.values())):
        raise wrong
    kinds = tasks.get(FACES, {})
    score = kinds.get("detection", {}).get("options", {}).get("minScore", _MIN_SCORE)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise RequestError(422, "invalid_entries", "entries: minScore is a number from 0 to 1")
    if set(kinds) - {"detection", "recognition"}:
        raise wrong
    others = [name for name in tasks if name != FACES]
    return Tasks(FACES in tasks, "recognition" in kinds, float(score), others)


def _is_task(kinds: object) -> bool:
    """Whether a task has types, each with a model's name and perhaps options."""
    return isinstance(kinds, dict) and bool(kinds) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("modelName"), str)
        and isinstance(entry.get("options", {}), dict)
        for entry in kinds.values()
    )  # fmt: skip


def stored_embedding(vector: Floats) -> str:
    """A unit vector `(D,) float32` as the string that Immich stores, filled up with zeros, which
    change neither length nor cosine.

    Raises:
        UsageError: it has more values than Immich stores.
    """
    if len(vector) > STORED_VALUES:
        raise UsageError(
            f"Immich stores {STORED_VALUES} values of a face; this model gives {len(vector)}"
        )
    values = [float(f"{value:.9g}") for value in vector.tolist()]
    return json.dumps(values + [0.0] * (STORED_VALUES - len(values)), separators=(",", ":"))


def faces_answer(faces: Sequence[Face], size: tuple[int, int], tasks: Tasks) -> dict[str, Any]:
    """The answer for one photo.

    Args:
        faces: with embeddings if these were asked for.
        size: height and width.
    """
    height, width = size
    strong = [face for face in faces if face.score >= tasks.min_score]
    told = [_face(face, height, width) for face in strong]
    return {FACES: told, "imageHeight": height, "imageWidth": width}


def _face(face: Face, height: int, width: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(float(side)) for side in face.box)
    record: dict[str, Any] = {
        "boundingBox": {
            "x1": min(max(x1, 0), width),
            "y1": min(max(y1, 0), height),
            "x2": min(max(x2, 0), width),
            "y2": min(max(y2, 0), height),
        },
        "score": round(float(face.score), 6),
    }
    if face.embedding is not None:
        record["embedding"] = stored_embedding(face.embedding)
    return record


class Upstream:
    """Immich's own machine-learning server, which does the other tasks.

    Args:
        url: its address, such as `http://immich-machine-learning:3003`.

    Raises:
        UsageError: it is none.
    """

    def __init__(self, url: str) -> None:
        try:
            self._base = parse_url(url)
        except InputError as error:
            raise UsageError(f"--immich-upstream {error}") from error

    async def predict(self, content_type: str, body: bytes) -> Response:
        """Its answer to a request, passed on as it is.

        Raises:
            RequestError: it does not answer.
        """
        base = self._base
        target = Target(base.scheme, base.host, base.port, base.path.rstrip("/") + "/predict")
        headers = {"Content-Type": content_type, "Accept-Encoding": "identity"}
        try:
            found = await send(
                target, "POST", headers=headers, body=body, most_bytes=_MOST_BYTES,
                seconds=_UPSTREAM_SECONDS,
            )  # fmt: skip
        except InputError as error:
            raise unavailable("upstream", f"Immich's own server: {error}") from error
        kind = found.headers.get("content-type", "application/json")
        return Response(found.body, found.status, media_type=kind)


def immich_router(service: Service, upstream: Upstream | None) -> APIRouter:
    """The routes at the server's root, where Immich looks for them.

    Args:
        upstream: does the tasks that are not ours; None: these are refused.
    """
    router = APIRouter(tags=["Immich"], dependencies=READ, responses=FAILURES)

    @router.get(
        "/ping",
        response_class=PlainTextResponse,
        summary="Whether the server lives, as Immich asks",
    )
    async def ping() -> Response:
        return PlainTextResponse("pong")

    @router.get(
        "/", response_model=Greeting, summary="What answers here, as Immich's own server tells it"
    )
    async def root() -> Response:
        return answer({"message": "Immich ML"})

    @router.post(
        "/predict",
        response_model=Prediction,
        openapi_extra=PREDICT_BODY,
        summary="Immich's tasks: the faces of a photo",
    )
    async def predict(request: Request) -> Response:
        body = await read_body(request)
        kind = request.headers.get("content-type", "")
        parts = {part.name: part for part in await asyncio.to_thread(parse_form, kind, body)}
        tasks = parse_entries(_required(parts, "entries").text)
        if tasks.others:
            if upstream is None or tasks.faces:
                raise _refused(tasks)
            return await upstream.predict(kind, body)
        image = _required(parts, "image")
        found = await service.faces(Upload(image.file or "image", image.data), embed=tasks.embed)
        return answer(faces_answer(found.faces, found.size, tasks))

    return router


def _required(parts: Mapping[str, Part], name: str) -> Part:
    if name not in parts:
        raise RequestError(422, "missing_part", f"the form has no {name}")
    return parts[name]


def _refused(tasks: Tasks) -> RequestError:
    asked = ", ".join(tasks.others)[:200]
    if tasks.faces:
        told = f"{asked}: is asked for together with {FACES}; Immich asks for one task at a time"
    else:
        told = f"{asked}: facerec does {FACES}; --immich-upstream URL names who does the others"
    return RequestError(501, "other_task", told)
