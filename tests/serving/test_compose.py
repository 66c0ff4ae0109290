"""`.ci/compose.yaml`, which no test can run: that its parts name each other and what there is."""

from __future__ import annotations

import re

import yaml

from tests.conftest import ROOT, Run

TEXT = (ROOT / ".ci" / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


def test_it_says_that_it_was_never_run():
    assert "it was never run" in " ".join(TEXT.split("name: facerec")[0].replace("#", " ").split())


def test_services_name_services_configs_secrets_and_volumes_that_are_there():
    for name, service in SERVICES.items():
        assert ("image" in service) != ("build" in service), name
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for other in service.get("depends_on", {}):
            assert "healthcheck" in SERVICES[other]
        assert {one["source"] for one in service.get("configs", [])} <= set(COMPOSE["configs"])
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        volumes = {one.partition(":")[0] for one in service.get("volumes", [])}
        assert volumes <= set(COMPOSE["volumes"])


def test_the_server_is_started_with_options_that_it_has(run: Run):
    facerec = SERVICES["facerec"]
    code, told, _ = run(facerec["command"][0], "--help")
    assert code == 0
    options = {one.partition("=")[0] for one in facerec["command"][1:]}
    assert all(re.search(rf"{option}\b", told) for option in options)
    assert (ROOT / ".ci" / facerec["build"]["dockerfile"].removeprefix(".ci/")).is_file()


def test_extras_are_those_of_the_package():
    declared = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in SERVICES["facerec"]["build"]["args"]["EXTRAS"].split(","):
        assert re.search(rf"^{extra} = \[", declared, re.MULTILINE)


def test_nginx_sends_requests_to_the_servers_and_streams_events_at_once():
    # Compose replaces `$$` by `$`.
    nginx = COMPOSE["configs"]["nginx"]["content"].replace("$$", "$")
    assert nginx.count("{") == nginx.count("}")
    (port,) = re.findall(r"server facerec:(\d+);", nginx)
    assert f"--port={port}" in SERVICES["facerec"]["command"]
    (place,) = re.findall(r"location ~ (\S+) \{", nginx)
    assert re.search(place, "/v1/cameras/front/events") and not re.search(place, "/v1/cameras")
    assert "proxy_buffering off" in nginx.partition(place)[2]
    assert SERVICES["nginx"]["ports"] == [f"127.0.0.1:8000:{port}"]


def test_only_loopback_is_opened():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
