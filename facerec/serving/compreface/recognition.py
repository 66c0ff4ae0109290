"""CompreFace's recognition, detection and verification of photos and embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from facerec.card import ModelCard
from facerec.faces import Face, Floats
from facerec.gallery.match import comparing
from facerec.serving.answers import answer
from facerec.serving.callers import READ
from facerec.serving.compreface import schema
from facerec.serving.compreface.lookups import nearest_people, unit_vectors
from facerec.serving.compreface.options import (
    Options,
    Predictions,
    WithOptions,
    json_schema,
    photo_schema,
    read_json,
    read_photos,
)
from facerec.serving.compreface.shapes import Scale, counted, face_record
from facerec.serving.failures import RequestError
from facerec.serving.service import Service, Upload

_MOST_BYTES = 16 << 20
"""Bytes of a body with embeddings: a thousand of 512 values have ten million."""
_EMBEDDINGS = TypeAdapter(schema.Embeddings)
_VERIFICATION = TypeAdapter(schema.Verification)
DetectFaces = Annotated[
    bool, Query(description="If false, the photo is one cropped face: its largest counts.")
]


class Seen:
    """The faces of a photo that count, and what is told of them."""

    def __init__(
        self, faces: Sequence[Face], size: tuple[int, int], options: Options, seconds: float
    ) -> None:
        self.faces = faces
        self._size, self._plugins = size, options.plugins
        self._milliseconds = 1000 * seconds if options.status else None

    @property
    def vectors(self) -> Floats:
        """`(F, D) float32`."""
        return np.stack([face.embedding for face in self.faces if face.embedding is not None])

    def record(self, face: Face) -> dict[str, Any]:
        """What is told of a face."""
        return face_record(face, self._size, self._plugins, self._milliseconds)


def recognition_routes(router: APIRouter, service: Service) -> None:
    """Add the routes to CompreFace's router."""
    section = service.profile.recognize
    detector = service.profile.detector.name
    versions = {"detector": f"facerec.{detector}", "calculator": f"facerec.{service.card.name}"}

    async def look(upload: Upload, options: Options, *, embed: bool = True) -> Seen:
        """Raises RequestError where no face counts."""
        began = time.monotonic()
        found = await service.faces(upload, embed=embed or "calculator" in options.plugins)
        faces = counted(found.faces, least=options.least, limit=options.limit)
        if not faces:
            raise RequestError(422, "no_face", f"{upload.name}: no face found")
        return Seen(faces, found.size, options, time.monotonic() - began)

    def told(record: dict[str, Any], options: Options) -> dict[str, Any]:
        return {**record, "plugins_versions": versions} if options.status else record

    async def gallery_scale(*, pair: bool = False) -> Scale:
        """Of the gallery's people, or with `pair` of two faces that are compared."""
        matcher = await service.matcher()
        if pair:
            return pair_scale(matcher.card)
        return Scale(matcher.threshold, matcher.metric, matcher.certainty)

    def pair_scale(card: ModelCard) -> Scale:
        metric, threshold, certainty = comparing(card, section)
        return Scale(threshold, metric, certainty)

    @router.post(
        "/recognition/recognize",
        dependencies=READ,
        response_model=schema.Recognized,
        summary="Recognise the faces of a photo",
        openapi_extra=photo_schema("file"),
    )
    async def recognize(
        request: Request, options: WithOptions, prediction_count: Predictions = 1,
        detect_faces: DetectFaces = True,
    ) -> Response:  # fmt: skip
        (upload,) = await read_photos(request, "file")
        scale = await gallery_scale()
        seen = await look(upload, options)
        faces = seen.faces if detect_faces else seen.faces[:1]
        found = await service.read(
            lambda store: nearest_people(store, seen.vectors, prediction_count, section)
        )
        result = [
            {
                **seen.record(face),
                "subjects": scale.likenesses(hits, prediction_count),
            }
            for face, hits in zip(faces, found, strict=False)
        ]
        return answer(told({"result": result}, options))

    @router.post(
        "/recognition/faces/{image_id}/verify",
        dependencies=READ,
        response_model=schema.Verified,
        summary="Compare the faces of a photo with an example",
        openapi_extra=photo_schema("file"),
    )
    async def verify_example(request: Request, image_id: str, options: WithOptions) -> Response:
        (upload,) = await read_photos(request, "file")
        entry, known = await service.vector(image_id)
        scale = await gallery_scale(pair=True)
        seen = await look(upload, options)
        result = [
            {
                **seen.record(face),
                "subject": entry.person,
                **scale.likeness(float(cosine)),
            }
            for face, cosine in zip(seen.faces, seen.vectors @ known, strict=True)
        ]
        return answer(told({"result": result}, options))

    @router.post(
        "/detection/detect",
        dependencies=READ,
        response_model=schema.Detected,
        summary="Detect the faces of a photo",
        openapi_extra=photo_schema("file"),
    )
    async def detect(request: Request, options: WithOptions) -> Response:
        (upload,) = await read_photos(request, "file")
        seen = await look(upload, options, embed=False)
        return answer(told({"result": [seen.record(face) for face in seen.faces]}, options))

    @router.post(
        "/verification/verify",
        dependencies=READ,
        response_model=schema.Matches,
        summary="Compare the one face of a photo with the faces of another",
        openapi_extra=photo_schema("source_image", "target_image"),
    )
    async def verify(request: Request, options: WithOptions) -> Response:
        first, second = await read_photos(request, "source_image", "target_image")
        source = await look(first, options)
        if len(source.faces) > 1:
            raise RequestError(422, "several_faces", f"{first.name}: {len(source.faces)} faces")
        target = await look(second, options)
        scale = pair_scale(service.card)
        matches = [
            {**target.record(face), **scale.likeness(float(cosine))}
            for face, cosine in zip(target.faces, target.vectors @ source.vectors[0], strict=True)
        ]
        both = {"source_image_face": source.record(source.faces[0]), "face_matches": matches}
        return answer({"result": [told(both, options)]})

    @router.post(
        "/recognition/embeddings/recognize",
        dependencies=READ,
        response_model=schema.RecognizedEmbeddings,
        openapi_extra=json_schema(_EMBEDDINGS),
        summary="Recognise embeddings",
    )
    async def recognize_embeddings(request: Request, prediction_count: Predictions = 1) -> Response:
        body = await read_json(request, _EMBEDDINGS, _MOST_BYTES)
        vectors = unit_vectors(body.embeddings, service.card.embedding_size)
        scale = await gallery_scale()
        found = await service.read(
            lambda store: nearest_people(store, vectors, prediction_count, section)
        )
        result = [
            {
                "embedding": given,
                "similarities": scale.likenesses(hits, prediction_count),
            }
            for given, hits in zip(body.embeddings, found, strict=True)
        ]
        return answer({"result": result})

    @router.post(
        "/recognition/embeddings/faces/{image_id}/verify",
        dependencies=READ,
        response_model=schema.ComparedEmbeddings,
        openapi_extra=json_schema(_EMBEDDINGS),
        summary="Compare embeddings with an example",
    )
    async def verify_embeddings(image_id: str, request: Request) -> Response:
        body = await read_json(request, _EMBEDDINGS, _MOST_BYTES)
        vectors = unit_vectors(body.embeddings, service.card.embedding_size)
        _, known = await service.vector(image_id)
        scale = await gallery_scale(pair=True)
        return answer(_similarities(body.embeddings, vectors @ known, scale))

    @router.post(
        "/verification/embeddings/verify",
        dependencies=READ,
        response_model=schema.ComparedEmbeddings,
        openapi_extra=json_schema(_VERIFICATION),
        summary="Compare embeddings with one",
    )
    async def compare_embeddings(request: Request) -> Response:
        body = await read_json(request, _VERIFICATION, _MOST_BYTES)
        size = service.card.embedding_size
        (source,) = unit_vectors([body.source], size)
        targets = unit_vectors(body.targets, size)
        return answer(_similarities(body.targets, targets @ source, pair_scale(service.card)))


def _similarities(
    given: Sequence[Sequence[float]], cosines: Floats, scale: Scale
) -> dict[str, Any]:
    """Embeddings with their similarities, most similar first."""
    rows: list[dict[str, Any]] = [
        {"embedding": row, **scale.likeness(float(cosine))}
        for row, cosine in zip(given, cosines, strict=True)
    ]
    return {"result": sorted(rows, key=lambda row: -float(row["similarity"]))}
