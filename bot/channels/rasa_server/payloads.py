"""Our quick replies as Rasa's: `/intent{"entity": "value"}`, which bypasses its classifier."""

import json
import re

from bot.channels.base import Json, members, storable, words

CHOOSE, NONE, ASK, RATE = (
    "refdesk_choose_entry",
    "refdesk_none_of_these",
    "refdesk_ask_librarian",
    "refdesk_rate_answer",
)
ENTRY, HELPED = "entry", "helped"  # entities
_INTENT = re.compile(r"/(refdesk_[a-z_]+)\s*(\{.*\})?\s*", re.DOTALL)


def to_rasa(payload: str) -> str:
    """What a button sends to Rasa."""
    verb, _, argument = payload.partition(" ")
    match verb:
        case "/entry":
            return f"/{CHOOSE}{json.dumps({ENTRY: argument})}"
        case "/helped":
            return f"/{RATE}{json.dumps({HELPED: argument})}"
        case "/none":
            return f"/{NONE}"
        case "/person":
            return f"/{ASK}"
    return payload


def from_rasa(message: Json) -> str | None:
    """The quick reply that a parsed message stands for, None for ordinary words.

    Read from the text too, because Rasa 3.6 takes a slash for words where its domain lacks
    the intent.
    """
    found = _INTENT.fullmatch(words(message, "text").strip())
    if found is None:
        return None
    given = _entities(message) | _written(found[2])
    match found[1]:
        case "refdesk_choose_entry" if given.get(ENTRY):
            return f"/entry {storable(given[ENTRY])}"
        case "refdesk_rate_answer" if given.get(HELPED):
            return f"/helped {storable(given[HELPED])}"
        case "refdesk_none_of_these":
            return "/none"
        case "refdesk_ask_librarian":
            return "/person"
    return None


def _entities(message: Json) -> dict[str, str]:
    return {
        words(each, "entity"): str(each.get("value") or "") for each in members(message, "entities")
    }


def _written(text: str | None) -> dict[str, str]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
