"""Probes for the machine that watches over this one."""

import ipaddress
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from api.auth import probe
from api.errors import NotAllowed
from api.logs import log_problem
from api.state import state_of

PASSED_ON = ("x-forwarded-for", "forwarded", "x-real-ip", "via")  # what proxies add

router = APIRouter(dependencies=[Depends(probe)], include_in_schema=False)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """This process can do its work: database, event bus and index answer."""
    state = state_of(request)
    checks = {
        "database": _database_answers(request),
        "bus": state.bus.is_healthy(),
        "index": state.warmed.is_set(),
    }
    ready = all(checks.values())
    content: dict[str, Any] = {"status": "ok" if ready else "not ready", "checks": checks}
    return JSONResponse(content, status_code=200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Counters in Prometheus' format, for callers within our own network only.

    And only directly: behind a proxy that we do not know, the whole world has its address.
    """
    near = _is_private(request.client.host if request.client else "")
    if not near or any(name in request.headers for name in PASSED_ON):
        raise NotAllowed
    return Response(state_of(request).measures.text(), media_type="text/plain; version=0.0.4")


def _is_private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def _database_answers(request: Request) -> bool:
    try:
        return state_of(request).database.is_healthy()
    except SQLAlchemyError as error:
        log_problem("database_unavailable", error)
        return False
