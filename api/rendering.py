"""Templates to pages: one environment, the reader's language, and addresses of static files."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from api.i18n import NAMES, Reader, negotiate

HERE = Path(__file__).parent
STATIC = HERE / "static"
LANGUAGE_COOKIE = "refdesk_language"

environment = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(("html", "svg"), default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def static(name: str) -> str:
    """The address of a static file; it changes with the content, so that it can be cached."""
    content = (STATIC / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:10]}"


def language_of(request: Request, preferred: str | None = None) -> str:
    """What the person chose on this page, else in their account, else in their browser."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return negotiate(chosen, preferred, request.headers.get("accept-language"))


def reader_of(request: Request, zone: tzinfo = UTC, *, preferred: str | None = None) -> Reader:
    """Who reads: their language, and the time zone of the library."""
    return Reader(language_of(request, preferred), zone)


def is_fragment(request: Request) -> bool:
    """Whether htmx asked for a piece of a page, rather than a browser for the whole."""
    headers = request.headers
    return (
        headers.get("hx-request") == "true"
        and headers.get("hx-request-type") != "full"
        and "hx-history-restore-request" not in headers
    )


def render(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    reader: Reader,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page or a fragment of one, in the reader's language."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    defaults = {
        "reader": reader,
        "t": reader.text,
        "languages": NAMES,
        "static": static,
        "path": path,
        "staff": None,
        "section": None,
        "flash": None,
        "csrf": "",
        "base": "fragment.html" if is_fragment(request) else "base.html",
    }
    content = environment.get_template(template).render({**defaults, **context})
    return HTMLResponse(
        content,
        status_code=status,
        headers={
            "Content-Language": reader.language,
            "Cache-Control": "no-store",
            "Vary": "Cookie, Accept-Language, HX-Request",
            **(headers or {}),
        },
    )
