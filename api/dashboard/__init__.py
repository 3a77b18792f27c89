"""Managers' pages: figures with their cases, the knowledge base, and what surrounds them."""

from fastapi import APIRouter

from api.dashboard import around, cases, knowledge, rates, report

router = APIRouter()
for part in (rates, cases, report, knowledge, around):
    router.include_router(part.router)
