"""What can go wrong in the tracker. The docstring of each class is its message."""

from typing import ClassVar


class TrackerError(Exception):
    """The tracker could not do that."""

    status: ClassVar[int] = 409  # the HTTP status that the web side answers with

    def __init__(self, detail: str = "") -> None:
        sentence = " ".join((self.__doc__ or "").split())
        super().__init__(f"{sentence} ({detail})" if detail else sentence)
        self.detail = detail


class BadCalendar(TrackerError):
    """The calendar cannot be read."""

    status = 422


class AlreadyAssigned(TrackerError):
    """A colleague has taken this consultation already."""


class AlreadyClosed(TrackerError):
    """This consultation is closed; reopen it first."""


class NotClosed(TrackerError):
    """This consultation is not closed."""


class AlreadyExcluded(TrackerError):
    """This consultation no longer counts; it was excluded or merged."""


class CannotMerge(TrackerError):
    """These two consultations cannot be merged."""


class CannotSplit(TrackerError):
    """This consultation cannot be split there."""


class CannotPause(TrackerError):
    """Only after a librarian has written can a consultation wait for the patron."""


class WrongReason(TrackerError):
    """That is not a reason we know."""

    status = 422
