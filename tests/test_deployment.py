"""The scaled-out size as described: every part of it exists. (No Docker engine is needed.)"""

from pathlib import Path

import pytest
import yaml

from api.cli import MODULES
from api.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OURS = {name: service for name, service in SERVICES.items() if service.get("build")}


@pytest.mark.parametrize("name", OURS)
def test_every_service_of_ours_runs_a_command_that_exists(name):
    program, command, *_ = OURS[name]["command"]

    assert program == "refdesk"
    assert command in MODULES


@pytest.mark.parametrize("name", OURS)
def test_every_setting_given_is_one_that_is_read(name):
    known = {f"REFDESK_{field.upper()}" for field in Settings.model_fields}

    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_depends_only_on_services_that_exist(name):
    needed = SERVICES[name].get("depends_on", {})

    assert set(needed) <= set(SERVICES)
    for other, how in needed.items():
        if how["condition"] == "service_healthy":
            assert SERVICES[other]["healthcheck"]["test"]


def test_volumes_are_declared():
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
    }

    assert used == set(COMPOSE["volumes"])


def test_nothing_is_open_to_the_network_but_through_a_proxy_on_this_machine():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_is_written_down():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "SECRET" in name:
                assert value.startswith("${")


def test_the_image_copies_what_exists_and_runs_as_nobody_special():
    copied = [
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert "USER 1000" in DOCKERFILE
