"""Actions that lead to people: hand over, and fetch what a librarian has written."""

from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from bot.actions.hearing import heard, language, said_before
from bot.actions.questions import DeskAction
from bot.actions.telling import Events, tell


class Escalate(DeskAction):
    """Open a consultation with the conversation so far, and say by when it is answered."""

    action_name = "action_escalate"

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        before = said_before(tracker)
        return tell(dispatcher, self.desk.hand_over(heard(tracker), before, language(tracker)))


class CheckReply(DeskAction):
    """Give the patron what a librarian has written, or say by when they will."""

    action_name = "action_check_reply"

    def act(self, dispatcher: CollectingDispatcher, tracker: Tracker) -> Events:
        return tell(dispatcher, self.desk.waiting_replies(heard(tracker), language(tracker)))
