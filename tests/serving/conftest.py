"""A service over the default engine, and clients of its application in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")

from fastapi.testclient import TestClient

from facerec.profile.loading import Profile
from facerec.serving.app import Settings, create_app
from facerec.serving.audit import Audit
from facerec.serving.service import Engines, Service, open_engines

MakeClient = Callable[..., TestClient]
DEFAULT = Settings()


@pytest.fixture(scope="session")
def profile() -> Profile:
    return Profile.load("default")


@pytest.fixture(scope="session")
def engines(profile: Profile) -> Engines:
    return open_engines(profile)


@pytest.fixture
def make_client(engines: Engines, profile: Profile) -> Iterator[MakeClient]:
    """Makes a client of a server with a gallery, and settings of its own."""
    services: list[Service] = []

    def make(
        gallery: Path | None,
        settings: Settings = DEFAULT,
        profile: Profile = profile,
        audit: Path | None = None,
    ) -> TestClient:
        address = None if gallery is None else str(gallery)
        services.append(Service(engines, profile, address, Audit(audit)))
        app = create_app(services[-1], settings)
        client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        client.service = services[-1]  # type: ignore[attr-defined]
        return client

    yield make
    for service in services:
        service.close()


@pytest.fixture(scope="session")
def portrait_bytes(portraits: dict[str, Path]) -> dict[str, bytes]:
    """The encoded portrait of each person."""
    return {name: file.read_bytes() for name, file in portraits.items()}
