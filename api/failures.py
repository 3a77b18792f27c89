"""How errors look from outside: one sentence, the right status, and nothing of our insides."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException

from api.errors import NotSignedIn, RefdeskError, TooManyAttempts
from api.logs import log_problem
from api.rendering import is_fragment, reader_of, render
from bot.channels.base import Refused
from kb.errors import BadFile, KnowledgeError
from tracker.errors import TrackerError

Handler = Callable[[Request, Exception], Awaitable[Response]]
RASA_PATHS = "/webhooks/"
MACHINE_PATHS = ("/api/", RASA_PATHS, "/channels/", "/socket.io", "/widget/")
OUR_FAMILIES: tuple[type[Exception], ...] = (RefdeskError, KnowledgeError, TrackerError, Refused)


def install(app: FastAPI) -> None:
    """Give every family of errors its one handler."""
    for family in OUR_FAMILIES:
        app.add_exception_handler(family, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(SQLAlchemyError, _database)
    for kind in (UnicodeEncodeError, OverflowError, DataError):
        app.add_exception_handler(kind, _impossible)


async def _ours(request: Request, error: Exception) -> Response:
    status: int = getattr(error, "status", 500)
    if isinstance(error, NotSignedIn) and _is_page(request):
        return _to_sign_in(request)
    if status >= 500:
        log_problem("failed", error)
    headers = {}
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after)
    rows = {"rows": list(error.rows)} if isinstance(error, BadFile) else {}
    return respond(request, status, str(error), headers=headers, **rows)


async def _http(request: Request, error: Exception) -> Response:
    error = cast("HTTPException", error)
    sentences = {404: "There is nothing at this address.", 405: "This method is not used here."}
    sentence = sentences.get(error.status_code, str(error.detail))
    return respond(request, error.status_code, sentence, headers=dict(error.headers or {}))


async def _unreadable(request: Request, error: Exception) -> Response:
    """Says which fields are wrong, without repeating what was sent."""
    error = cast("RequestValidationError", error)
    problems = [
        {"field": ".".join(str(part) for part in problem["loc"][1:]), "problem": problem["msg"]}
        for problem in error.errors()
    ]
    fields = ", ".join(problem["field"] or "body" for problem in problems)
    return respond(
        request, 422, f"The request is not complete or not right: {fields}.", problems=problems
    )


async def _impossible(request: Request, error: Exception) -> Response:
    """A number, a day or a character that neither calendars nor databases know."""
    log_problem("impossible_value", error)
    sentence = "A number, a date or a character in the request is beyond what can be kept."
    return respond(request, 400, sentence)


async def _database(request: Request, error: Exception) -> Response:
    log_problem("database_error", error)
    away = isinstance(error, DBAPIError) and (
        error.connection_invalidated
        or type(error).__name__ in {"OperationalError", "InterfaceError"}
    )
    if away:
        headers = {"Retry-After": "5"}
        return respond(request, 503, "The database does not answer. Try again.", headers=headers)
    return respond(request, 500, "Something went wrong here.")


def respond(
    request: Request,
    status: int,
    sentence: str,
    *,
    headers: dict[str, str] | None = None,
    **details: Any,
) -> Response:
    """The sentence as JSON for programs, with Rasa's keys for its; as a page for people."""
    if request.url.path.startswith(RASA_PATHS):
        shape = {"description": HTTPStatus(status).phrase, "status": status, "message": sentence}
        to_any_page = {**(headers or {}), "access-control-allow-origin": "*"}
        return JSONResponse({**shape, **details}, status_code=status, headers=to_any_page)
    if not _is_page(request):
        content = {"error": sentence, "request": request.state.request_id, **details}
        return JSONResponse(content, status_code=status, headers=headers)
    reader = reader_of(request)
    page = {"heading": _heading(reader.text, status), "text": sentence}
    return render(request, "message.html", page, reader=reader, status=status, headers=headers)


def _heading(text: Callable[[str], str], status: int) -> str:
    try:
        return text(f"errors.{status}")
    except KeyError:
        return str(status)


def _is_page(request: Request) -> bool:
    if request.url.path.startswith(MACHINE_PATHS):
        return False
    return "text/html" in request.headers.get("accept", "") or is_fragment(request)


def _to_sign_in(request: Request) -> Response:
    """To the sign-in page and back; a fragment's page goes there as a whole."""
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = path if request.method == "GET" else "/desk"
    return RedirectResponse(f"/sign-in?next={quote(back)}", status_code=303)
