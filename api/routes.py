"""Every router of the application, in one list."""

from fastapi import FastAPI

from api import health


def install(app: FastAPI) -> None:
    """Add all routes."""
    for router in (health.router,):
        app.include_router(router)
