"""Every router of the application, in one list."""

from fastapi import FastAPI

from api import health, webhooks, widget

ROUTERS = (health.router, webhooks.router, widget.router)


def install(app: FastAPI) -> None:
    """Add all routes."""
    for router in ROUTERS:
        app.include_router(router)
