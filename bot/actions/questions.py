"""Actions that answer: a question, a choice, a rating, the opening hours."""

import asyncio
from dataclasses import replace

from rasa_sdk import Action, Tracker
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from bot.actions.desk import ReferenceDesk
from bot.actions.hearing import heard, language
from bot.actions.telling import Events, tell
from bot.channels.base import storable
from bot.channels.rasa_server.payloads import ENTRY, HELPED
from bot.messages import InboundKind

_RATINGS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}


class DeskAction(Action):  # type: ignore[misc]  # rasa_sdk carries no types
    """An action with its desk. Its work waits for a database, and so runs in a thread."""

    action_name: str

    def __init__(self, desk: ReferenceDesk) -> None:
        self.desk = desk

    def name(self) -> str:
        return self.action_name

    async def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> Events:
        return await asyncio.to_thread(self.act, dispatcher, tracker)

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        """Do it; returns Rasa's events."""
        return tell(dispatcher, self.desk.take(heard(tracker), language(tracker)))


class AnswerQuestion(DeskAction):
    """Answer the latest message, offer choices, or hand over."""

    action_name = "action_answer_question"


class ChooseEntry(DeskAction):
    """Answer with the entry that the patron chose, by button or in words."""

    action_name = "action_choose_entry"

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        inbound = heard(tracker)
        chosen = next(tracker.get_latest_entity_values(ENTRY), None)
        if inbound.payload is None and isinstance(chosen, str):
            inbound = replace(
                inbound, kind=InboundKind.CHOICE, payload=f"/entry {storable(chosen)}"
            )
        return tell(dispatcher, self.desk.take(inbound, language(tracker)))


class RateAnswer(DeskAction):
    """Record whether the last answer helped; a "no" hands over."""

    action_name = "action_rate_answer"

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        inbound = heard(tracker)
        helped = str(next(tracker.get_latest_entity_values(HELPED), None)).lower()
        if inbound.payload is None and helped in _RATINGS:
            payload = f"/helped {_RATINGS[helped]}"
            inbound = replace(inbound, kind=InboundKind.CHOICE, payload=payload)
        return tell(dispatcher, self.desk.take(inbound, language(tracker)))


class OpeningHours(DeskAction):
    """Say the opening hours on the days asked for, from the calendars."""

    action_name = "action_opening_hours"

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        return tell(dispatcher, self.desk.opening_hours(heard(tracker), language(tracker)))
