"""The form that asks for an e-mail address, to which a late answer goes as well."""

import asyncio
import re
from typing import Any

from rasa_sdk import FormValidationAction, Tracker
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from bot.actions.desk import ReferenceDesk
from bot.actions.hearing import language
from bot.assistants import known_language
from bot.phrases import phrasebook
from kb.text import detect_language

EMAIL = "email"
_ADDRESS = re.compile(r"[^@\s<>\"',;:\\]{1,64}@[^@\s<>\"',;:\\]{1,190}\.[^@\s<>\"',;:\\.]{2,63}")


class ValidateContactForm(FormValidationAction):  # type: ignore[misc]  # rasa_sdk has no types
    """Checks the address and keeps it; one that cannot be is asked for again."""

    def __init__(self, desk: ReferenceDesk) -> None:
        self.desk = desk

    def name(self) -> str:
        return "validate_contact_form"

    async def validate_email(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> dict[str, Any]:
        """Keep the address that stands in the patron's message, if one does."""
        found = _ADDRESS.search(value) if isinstance(value, str) else None
        if found is None:
            dispatcher.utter_message(text=phrasebook(_language(tracker)).say("no_email"))
            return {EMAIL: None}
        await asyncio.to_thread(self.desk.keep_email, tracker.sender_id, found[0])
        return {EMAIL: found[0]}


def _language(tracker: Tracker) -> str:
    named = known_language(language(tracker) or "")
    said = (str(each.get("text") or "") for each in tracker.events if each.get("event") == "user")
    return named or detect_language(" ".join(said))
