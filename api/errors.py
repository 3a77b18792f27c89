"""What can go wrong between the world and the desk: each class is one sentence and a status."""

from typing import Any, ClassVar


class RefdeskError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.details = details


class WrongSetting(RefdeskError):
    """A setting has a wrong value."""


class NotSignedIn(RefdeskError):
    """Sign in first."""

    status = 401


class NotAllowed(RefdeskError):
    """Your role does not allow this."""

    status = 403


class ForgedForm(RefdeskError):
    """This form is no longer valid: reload the page and send it again."""

    status = 403


class WrongPassword(RefdeskError):
    """The e-mail address or the password is wrong."""

    status = 403


class TooManyAttempts(RefdeskError):
    """Too many attempts: wait a few minutes and try again."""

    status = 429

    def __init__(self, message: str | None = None, *, retry_after: int = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class NotFound(RefdeskError):
    """There is nothing at this address."""

    status = 404


class BadRequest(RefdeskError):
    """The request cannot be read."""

    status = 400


class TooLarge(RefdeskError):
    """The request is too large."""

    status = 413


class UnknownHost(RefdeskError):
    """This server does not answer for that host name."""

    status = 421


class UnreadableSecret(RefdeskError):
    """A stored secret cannot be decrypted with this REFDESK_SECRET_KEY."""


class UnknownLibrary(NotFound):
    """There is no library of that name."""


class NoDefaultLibrary(RefdeskError):
    """No library exists yet: run "refdesk library add" or "refdesk demo"."""

    status = 503
