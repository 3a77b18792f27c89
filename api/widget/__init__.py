"""The chat widget: its script, its sessions, its messages up and its events down.

Requests come from foreign pages, so there are no cookies here: a session is a signed token
that only the widget's own storage holds. What it may do is talk in one conversation.
"""

from fastapi import APIRouter

from api.widget import events, files, foreign, links, script, sessions, talk

router = APIRouter()
for part in (script, foreign, sessions, talk, files, links, events):
    router.include_router(part.router)
