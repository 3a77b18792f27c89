"""Habits that no single test guards: every route, setting and channel follows them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from typer.testing import CliRunner

from api.cli import MODULES
from api.cli import app as command_line
from api.settings import PREFIX, Settings
from bot.channels import CHANNELS

ROOT = Path(__file__).parent.parent
INSTALL = ROOT / "docs" / "install.md"
POLICIES = re.compile(
    r"public|public form|channel signature|health probe"
    r"|(staff|token or staff): (librarian|manager|admin)"
)
OPEN_POSTS = {  # what anybody may send without a form of ours, each protected in its own way
    "/channels/{kind}/{name}": "the platform's signature",
    "/webhooks/rest/webhook": "no cookie is read",
    "/webhooks/callback/webhook": "the account's token, no cookie is read",
    "/model/parse": "changes nothing",
    "/widget/{slug}/sessions": "no cookie is read",
    "/widget/{slug}/messages": "a signed session, no cookie",
    "/widget/{slug}/read": "a signed session, no cookie",
    "/widget/{slug}/email": "a signed session, no cookie",
    "/widget/{slug}/transcript": "a signed session, no cookie",
    "/widget/{slug}/files": "a signed session, no cookie",
    "/widget/{slug}/link": "a signed session, no cookie",
    "/widget/{slug}/link/code": "a signed session, no cookie",
    "/widget/{slug}/answers": "a signed session, no cookie",
    "/widget/{slug}/unlink": "a signed session, no cookie",
    "/language": "changes the language cookie only",
}


def policies(dependant: Dependant) -> Iterator[str]:
    """What a route's dependencies say about who may call it."""
    for needed in dependant.dependencies:
        name = getattr(needed.call, "policy", None)
        if name is not None:
            yield name
        yield from policies(needed)


def routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in walk(app.routes) if isinstance(route, APIRoute)]


def walk(found: Any) -> Iterator[Any]:
    for route in found:
        yield route
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner and not isinstance(route, APIRoute):
            yield from walk(inner)


def test_every_route_names_who_may_call_it(app: FastAPI) -> None:
    found = routes(app)

    unnamed = [route.path for route in found if not list(policies(route.dependant))]
    unknown = [
        (route.path, name)
        for route in found
        for name in policies(route.dependant)
        if not POLICIES.fullmatch(name)
    ]

    assert len(found) > 20
    assert unnamed == []
    assert unknown == []


def test_what_changes_something_is_signed_in_signed_or_a_form_of_ours(app: FastAPI) -> None:
    loose = [
        route.path
        for route in routes(app)
        if route.methods & {"POST", "PUT", "PATCH", "DELETE"}
        and set(policies(route.dependant)) <= {"public", "channel signature"}
    ]

    assert set(loose) <= set(OPEN_POSTS)


def test_nothing_of_staff_is_open_to_strangers(app: FastAPI) -> None:
    open_ones = [
        route.path
        for route in routes(app)
        if route.path.startswith(("/desk", "/manage", "/api/v1"))
        and not any("staff" in name for name in policies(route.dependant))
    ]

    assert open_ones == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in INSTALL.read_text(encoding="utf-8")
    assert Settings.model_fields[name].description


@pytest.mark.parametrize("kind", sorted(CHANNELS))
def test_every_channel_has_a_page_and_is_tried(kind: str) -> None:
    if CHANNELS[kind].declaration.built_in:
        pytest.skip("built in: there is nothing to set up")

    assert (ROOT / "bot" / "channels" / kind / "README.md").is_file()
    assert any((ROOT / "tests" / "bot" / "channels").glob(f"*{kind}*"))


@pytest.mark.parametrize("kind", sorted(CHANNELS))
def test_a_guide_lists_every_fact_that_nobody_could_verify(kind: str) -> None:
    unverified = CHANNELS[kind].declaration.unverified
    guide = ROOT / "bot" / "channels" / kind / "README.md"
    confirm = (
        guide.read_text("utf-8").partition("## Confirm on your account")[2] if unverified else ""
    )

    listed = re.findall(r"^(?:- |\| (?!What |---))", confirm, re.MULTILINE)

    assert len(listed) >= len(unverified)


def commands() -> list[list[str]]:
    """Every command and sub-command."""
    runner = CliRunner()
    found = []
    for name in MODULES:
        help_text = runner.invoke(command_line, [name, "--help"]).output
        listed = help_text.partition("Commands:")[2]
        inner = re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE)
        found += [[name, each] for each in inner] if inner else [[name]]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    shown = CliRunner().invoke(command_line, [*command, "--help"])

    assert shown.exit_code == 0
    assert f"Example: refdesk {' '.join(command)}" in " ".join(shown.output.split())


def test_lock_files_name_no_registry() -> None:
    for path in (*ROOT.glob("requirements*.lock"), ROOT / "package-lock.json"):
        assert "://" not in re.sub(r"#.*", "", path.read_text(encoding="utf-8")), path.name
