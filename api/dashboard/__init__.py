"""Managers' pages: figures with their cases, the knowledge base, and what surrounds them."""

from fastapi import APIRouter

from api.dashboard import (
    activity,
    alerts,
    around,
    audits,
    calendar,
    calendar_forms,
    cases,
    consortium,
    handling,
    knowledge,
    people,
    rates,
    report,
    reviews,
)

router = APIRouter()
for part in (
    rates,
    cases,
    people,
    handling,
    report,
    consortium,
    reviews,
    knowledge,
    calendar,
    calendar_forms,
    activity,
    alerts,
    around,
    audits,
):
    router.include_router(part.router)
