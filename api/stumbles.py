"""A bug of ours must not cost a patron the question: librarians get what the bot stumbles over."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from api.errors import RefdeskError
from api.logs import log_problem
from api.standby import is_away

T = TypeVar("T")


def or_else(answer: Callable[[], T], hand_over: Callable[[], T]) -> T:
    """What the bot made of a message; where it stumbled, what handing it over makes.

    With the database away neither would be stored: that is raised, and whoever brought the
    message brings it again.
    """
    try:
        return answer()
    except Exception as error:  # a bug of ours has any type; what is none is raised again
        if isinstance(error, SQLAlchemyError | RefdeskError) or is_away(error):
            raise
        log_problem("bot_stumbled", error)
        return hand_over()
