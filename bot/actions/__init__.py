"""Actions for a Rasa assistant (rasa-sdk): our answers, our queue and our clock in its own bot.

Each is built with the desk that it speaks to and registered as an instance, so that nothing
is global and nothing is learned twice.
"""

from rasa_sdk import Action

from bot.actions.contact import ValidateContactForm
from bot.actions.desk import ReferenceDesk
from bot.actions.people import CheckReply, Escalate
from bot.actions.questions import AnswerQuestion, ChooseEntry, OpeningHours, RateAnswer

__all__ = ["ReferenceDesk", "all_actions"]


def all_actions(desk: ReferenceDesk) -> list[Action]:
    """Every action, ready to be registered."""
    return [
        AnswerQuestion(desk),
        ChooseEntry(desk),
        Escalate(desk),
        CheckReply(desk),
        RateAnswer(desk),
        OpeningHours(desk),
        ValidateContactForm(desk),
    ]
