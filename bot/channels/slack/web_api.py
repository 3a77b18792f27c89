"""Slack's Web API: posting, asking who somebody is, and what its errors mean."""

import httpx

from bot.channels.base import (
    Http,
    Json,
    SendError,
    SendFailure,
    answered,
    call,
    member,
    seconds_of,
    shorten,
    status_error,
    unclear,
    words,
)

PLATFORM = "Slack"
API_BASE = "https://slack.com/api"
RATE_PAUSE = 1.0  # seconds, where Slack does not say: about one message a second and channel
_RETRY, _PERMANENT = SendFailure.RETRY, SendFailure.PERMANENT
_UNCERTAIN = SendFailure.UNCERTAIN
_KNOWN: dict[str, tuple[SendFailure, str]] = {
    "ratelimited": (_RETRY, "too many calls"),
    "rate_limited": (_RETRY, "too many messages"),
    "service_unavailable": (_RETRY, "the service is unavailable"),
    "team_added_to_org": (_RETRY, "the workspace is being moved"),
    # Documented: some part of it may have been done.
    "fatal_error": (_UNCERTAIN, "something broke while it worked"),
    "internal_error": (_UNCERTAIN, "something broke while it worked"),
    "request_timeout": (_RETRY, "the request did not arrive whole"),
    "invalid_auth": (_PERMANENT, "the bot_token is wrong"),
    "not_authed": (_PERMANENT, "the bot_token is missing"),
    "token_revoked": (_PERMANENT, "the bot_token was revoked"),
    "token_expired": (_PERMANENT, "the bot_token has expired"),
    "account_inactive": (_PERMANENT, "the app was removed from the workspace"),
    "missing_scope": (_PERMANENT, "the app lacks a permission: see step 1 of the guide"),
    "channel_not_found": (_PERMANENT, "the channel does not exist, or the app may not see it"),
    "not_in_channel": (_PERMANENT, "the app is not in the channel: invite it"),
    "is_archived": (_PERMANENT, "the channel is archived"),
    "cannot_dm_bot": (_PERMANENT, "another bot cannot be written to"),
    "user_disabled": (_PERMANENT, "the account was closed"),
    "user_not_found": (_PERMANENT, "there is no such person"),
    "msg_too_long": (_PERMANENT, "the message is too long"),
    "restricted_action": (_PERMANENT, "the workspace does not let the app post there"),
}


class WebApi:
    """Calls Slack with one bot token."""

    def __init__(self, bot_token: str, api_base: str, *, http: Http) -> None:
        self._token = bot_token
        self._base = api_base
        self._http = http

    def ask(self, method: str, **query: str) -> Json:
        """A question, which may be asked again. Raises SendError."""
        response = call(
            self._http,
            "GET",
            f"{self._base}/{method}",
            platform=PLATFORM,
            when_lost=_RETRY,
            headers=self._authorization,
            query=query,
        )
        return self._accepted(response)

    def post(self, message: Json) -> Json:
        """Post one message. Raises SendError."""
        response = call(
            self._http,
            "POST",
            f"{self._base}/chat.postMessage",
            platform=PLATFORM,
            headers=self._authorization,
            body=message,
        )
        return self._accepted(response)

    def respond(self, address: str, message: Json) -> bool:
        """Answer a command where it was typed; False once that is no longer possible."""
        response = call(self._http, "POST", address, platform=PLATFORM, body=message)
        if response.is_success:
            return True
        if response.status_code in {404, 410}:
            return False
        raise status_error(response, PLATFORM)

    @property
    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"}

    def _accepted(self, response: httpx.Response) -> Json:
        answer = answered(response)
        if response.is_success and answer.get("ok") is True:
            return answer
        code = words(answer, "error")
        if not code:
            raise unclear(PLATFORM) if response.is_success else status_error(response, PLATFORM)
        failure, sentence = _KNOWN.get(code, (_PERMANENT, ""))
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            failure = _RETRY
        pause = seconds_of(response.headers.get("retry-after"))
        asked = pause if pause is not None else RATE_PAUSE
        raise SendError(
            f"Slack refused: {sentence or shorten(code, 100)} ({shorten(code, 100)}).",
            failure=failure,
            code=shorten(code, 100),
            retry_after=asked if failure is _RETRY else None,
        )


def email_in(answer: Json) -> str | None:
    """The confirmed address of a full member; None for guests of other workspaces and bots."""
    user = member(answer, "user")
    stranger = user.get("is_stranger") or user.get("is_restricted") or user.get("is_bot")
    if user.get("deleted") or stranger or user.get("is_email_confirmed") is False:
        return None
    return words(member(user, "profile"), "email").lower() or None
