"""The router of `/api/v1`."""

from __future__ import annotations

from fastapi import APIRouter

from facerec.serving.compreface.collection import Subjects, example_routes, subject_routes
from facerec.serving.compreface.faults import CompreFaceRoute
from facerec.serving.compreface.recognition import recognition_routes
from facerec.serving.compreface.schema import FAULTS
from facerec.serving.service import Service


def compreface_router(service: Service) -> APIRouter:
    """All routes of CompreFace's API."""
    router = APIRouter(
        prefix="/api/v1", tags=["CompreFace"], route_class=CompreFaceRoute, responses=FAULTS
    )
    recognition_routes(router, service)
    subjects = Subjects(service)
    subject_routes(router, service, subjects)
    example_routes(router, service, subjects)
    return router
