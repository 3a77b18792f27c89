"""Managers' pages: figures with their cases, the knowledge base, and what surrounds them."""

from fastapi import APIRouter

from api.dashboard import around, cases, consortium, knowledge, people, rates, report

router = APIRouter()
for part in (rates, cases, people, report, consortium, knowledge, around):
    router.include_router(part.router)
