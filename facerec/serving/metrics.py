"""Figures of a running server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import Scope

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts requests by route, and photos by batch; no label holds what a request chose."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "facerec_requests", "Requests by route, method and status.",
            ("route", "method", "status"), registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "facerec_request_seconds", "Seconds until the answer, by route.",
            ("route",), buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._batches = Histogram(
            "facerec_batch_photos", "Photos that were detected together.",
            buckets=_SIZES, registry=self._registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "facerec_photos_waiting", "Photos that are being answered.", registry=self._registry
        )

    def watch(self, waiting: Callable[[], int]) -> None:
        """Read the number of photos in work from a function."""
        self._waiting.set_function(waiting)

    def note_answer(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer; see `guard.Observe`."""
        route = getattr(scope.get("route"), "path", "other")
        known = scope["method"] in ("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS")
        method = scope["method"] if known else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def note_batch(self, photos: int) -> None:
        """Count a batch of the engine."""
        self._batches.observe(photos)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
