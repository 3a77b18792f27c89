"""The JSON API's description: for programs as OpenAPI, for people as a plain page.

The usual documentation pages fetch scripts from elsewhere, which our content policy forbids;
this page needs none.
"""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from markupsafe import Markup, escape

from api.auth import public
from api.rendering import static

router = APIRouter(dependencies=[Depends(public)], include_in_schema=False)


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="refdesk",
            version="1",
            description="The JSON API of a library's reference desk.",
            routes=app.routes,
        )
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        document.setdefault("components", {})["securitySchemes"] = schemes
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema


@router.get("/api/openapi.json")
async def openapi_document(request: Request) -> JSONResponse:
    """The description for programs."""
    return JSONResponse(described(request.app))


@router.get("/api/docs")
async def documentation(request: Request) -> HTMLResponse:
    """The description for people."""
    document = described(request.app)
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return HTMLResponse(_page(Markup("\n").join(operations)))


def _page(content: Markup) -> str:
    return Markup(
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>JSON API · refdesk</title>"
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="{icon}" type="image/svg+xml">'
        '<link rel="stylesheet" href="{style}"></head>\n'
        '<body><main id="main" class="page"><h1>JSON API</h1>'
        "<p>Send a token as <code>Authorization: Bearer …</code>; a manager makes one with "
        "<code>refdesk token add</code> or <code>POST /api/v1/tokens</code>. "
        'The same as <a href="/api/openapi.json">OpenAPI</a>.</p>\n{content}\n'
        "</main></body>\n</html>\n"
    ).format(icon=static("mark.svg"), style=static("base.css"), content=content)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Markup:
    rows: list[tuple[str, str, str]] = [
        (parameter["name"], parameter["in"], _prose(parameter.get("description", "")))
        for parameter in operation.get("parameters", [])
    ]
    rows += [(name, "body", "") for name in _body_fields(operation)]
    table = Markup("")
    if rows:
        cells = Markup("").join(
            Markup("<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>").format(*row)
            for row in rows
        )
        head = Markup("<tr><th>Name</th><th>In</th><th>Meaning</th></tr>")
        table = Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(head, cells)
    return Markup('<section class="card"><h2><code>{} {}</code></h2><p>{}</p>{}</section>').format(
        method.upper(), path, _prose(operation.get("description", "")), table
    )


def _prose(text: str) -> Markup:
    """A description as people read it: what stands between backticks is code."""
    parts = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def _body_fields(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return [reference.rpartition("/")[2]] if reference else []
