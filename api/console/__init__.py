"""The librarians' console: the queue, one consultation, and what is done to it."""

from fastapi import APIRouter

from api.console import actions, case, live, queue, undelivered

router = APIRouter()
for part in (queue, live, undelivered, case, actions):
    router.include_router(part.router)
