"""Every router of the application, in one list."""

from fastapi import FastAPI

from api import activity, console, dashboard, health, openapi, pages, rasa, v1, webhooks, widget

ROUTERS = (
    health.router,
    webhooks.router,
    rasa.router,
    widget.router,
    v1.router,
    activity.router,
    openapi.router,
    pages.router,
    console.router,
    dashboard.router,
)


def install(app: FastAPI) -> None:
    """Add all routes."""
    for router in ROUTERS:
        app.include_router(router)
