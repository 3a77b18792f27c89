"""What all routes of the widget share: any page may call them, and may read what they say."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from api.auth import public
from api.errors import BadRequest, RefdeskError, TooLarge
from bot.channels.base import Refused

BODY_BYTES = 32 * 1024
OPEN_TO_ALL = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
PREFLIGHT = {
    **OPEN_TO_ALL,
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


class OpenRoute(APIRoute):
    """A route for foreign pages: they may read its answers, refusals included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response: Response = await handler(request)
            except (RefdeskError, Refused) as refusal:
                response = JSONResponse({"error": str(refusal)}, refusal.status)
            except RequestValidationError:
                response = JSONResponse({"error": "The request is not complete or not right."}, 400)
            response.headers.update(OPEN_TO_ALL)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return answer


def open_router() -> APIRouter:
    """A router whose routes anybody may call, from any page."""
    return APIRouter(route_class=OpenRoute, dependencies=[Depends(public)], include_in_schema=False)


router = open_router()


@router.options("/widget/{slug}/{rest:path}")
def preflight(slug: str, rest: str) -> Response:
    """Any page may embed the widget; there is nothing here that a cookie would open."""
    return Response(status_code=204, headers=PREFLIGHT)


async def body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent, whatever its content type says.

    Raises TooLarge over 32 KiB, BadRequest for anything else that is no object.
    """
    raw = await request.body()
    if len(raw) > BODY_BYTES:
        raise TooLarge
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.")
    return found


Body = Annotated[dict[str, Any], Depends(body)]
