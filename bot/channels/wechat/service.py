"""WeChat's customer-service interface: the shared access token, and sending with it."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx

from bot.channels.base import SendError, SendFailure, TokenStore
from bot.channels.wechat.account import Account

SEND = "/cgi-bin/message/custom/send"
TYPING = "/cgi-bin/message/custom/typing"
SUBSCRIBED = "/cgi-bin/message/subscribe/bizsend"
MENU_CREATE, MENU_GET = "/cgi-bin/menu/create", "/cgi-bin/menu/get"
MENU_DELETE, MENU_OF_CONSOLE = "/cgi-bin/menu/delete", "/cgi-bin/get_current_selfmenu_info"
AUTOREPLIES = "/cgi-bin/get_current_autoreply_info"
NO_MENU = "46003"
# Documented: the patron has not written within 30 seconds, or the sign is shown already.
TYPING_NOT_NOW = {"45080", "45081"}
TIMEOUT = httpx.Timeout(6.0, connect=3.0, pool=3.0)  # seconds; a lease lasts 60
MINUTE_QUOTA_PAUSE = 60.0  # seconds after 45011
# Undocumented when exactly a daily quota returns; with the outbox's 12 attempts, two hours
# between them span a day.
DAILY_QUOTA_PAUSE = 7200.0
# Undocumented: reported for menus sent from test accounts.
MENU_REFUSED = 40200
# Unverified recollection: this server is not on the account's IP allow-list.
ADDRESS_REFUSED = 40164
ADDRESS_PAUSE = 600.0  # seconds for someone to list it
TOKEN_REFUSED = {40001, 40014, 42001}
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

_RETRY, _CLOSED = SendFailure.RETRY, SendFailure.WINDOW_CLOSED
_PERMANENT = SendFailure.PERMANENT
_KNOWN: dict[int, tuple[SendFailure, str, float | None]] = {
    -1: (_RETRY, "WeChat is busy", None),
    40001: (_RETRY, "WeChat does not accept the access token", None),
    40014: (_RETRY, "WeChat does not accept the access token", None),
    42001: (_RETRY, "the access token has expired", None),
    45009: (_RETRY, "the account has used up its daily quota of calls", DAILY_QUOTA_PAUSE),
    45011: (_RETRY, "too many calls within a minute", MINUTE_QUOTA_PAUSE),
    # Not the message's fault: once the address is listed, the same message goes out.
    ADDRESS_REFUSED: (
        _RETRY,
        "this server's address is not on the account's IP allow-list",
        ADDRESS_PAUSE,
    ),
    45015: (_CLOSED, "the patron has not written within the time that WeChat allows", None),
    45047: (_CLOSED, "no more messages are allowed before the patron writes again", None),
    40003: (_PERMANENT, "WeChat does not know this patron", None),
    43004: (_PERMANENT, "the patron no longer follows the account", None),
    43019: (_PERMANENT, "the patron is on the account's blacklist", None),
    45002: (_PERMANENT, "the message is too long", None),
    43101: (_PERMANENT, "the patron has not agreed to a notice", None),
    47003: (_PERMANENT, "the notice's template has another field: see subscribe_field", None),
    48001: (_PERMANENT, "the account has no right to the customer-service interface", None),
    48002: (_PERMANENT, "the patron does not accept messages of this account", None),
    48004: (_PERMANENT, "WeChat has barred the account from this interface", None),
    50002: (_PERMANENT, "WeChat has restricted the account", None),
    40013: (_PERMANENT, "the app_id is wrong", None),
    40125: (_PERMANENT, "the app_secret is wrong", None),
}


class CustomerService:
    """Sends messages as one account. All workers share its token through the store."""

    def __init__(self, account: Account, *, http: httpx.Client, tokens: TokenStore) -> None:
        self._account = account
        self._http = http
        self._tokens = tokens
        # With the secret's digest: a library that only knows another's app_id shares nothing.
        proof = hashlib.sha256(f"{account.app_id}\n{account.app_secret}".encode()).hexdigest()
        self._key = f"wechat:{account.app_id}:{proof[:32]}"

    def token(self, *, stale: str | None = None) -> str:
        """An access token, never the one that was just refused unless WeChat insists on it."""
        return self._tokens.get(self._key, self._fetch(stale), stale=stale)

    def send(self, message: dict[str, Any]) -> str | None:
        """Send one message; returns WeChat's id for it, if any. Raises SendError."""
        identifier = self.ask(SEND, message).get("msgid")
        return None if identifier is None else str(identifier)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call an interface with the access token, GET without a body. Raises SendError."""
        token = self.token()
        answer = self._ask_with(token, path, body)
        if answer.get("errcode") in TOKEN_REFUSED:
            answer = self._ask_with(self.token(stale=token), path, body)
        has_content = body is None and "errcode" not in answer
        if answer.get("errcode") != 0 and not has_content:
            raise self._refusal(answer)
        return answer

    def show_typing(self, to: str) -> None:
        """Let the patron see that somebody writes. Raises SendError."""
        try:
            self.ask(TYPING, {"touser": to, "command": "Typing"})
        except SendError as error:
            if error.code not in TYPING_NOT_NOW:
                raise

    def _fetch(self, stale: str | None) -> Callable[[], tuple[str, float]]:
        def fetch() -> tuple[str, float]:
            """Ask for the current token; force a new one only if that is the refused one."""
            token, seconds = self._request_token(force=False)
            if token == stale:
                token, seconds = self._request_token(force=True)
            return token, seconds

        return fetch

    def _request_token(self, *, force: bool) -> tuple[str, float]:
        body = {
            "grant_type": "client_credential",
            "appid": self._account.app_id,
            "secret": self._account.app_secret,
            "force_refresh": force,
        }
        try:
            answer = self._read(self._post("/cgi-bin/stable_token", body))
        except SendError as error:
            # Nothing was sent to the patron yet, so that nothing is uncertain.
            failure = _RETRY if error.failure is SendFailure.UNCERTAIN else error.failure
            raise SendError(
                str(error), failure=failure, code=error.code, retry_after=error.retry_after
            ) from None
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(seconds, int):
            raise self._refusal(answer)
        return token, float(seconds)

    def _ask_with(self, token: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        query = {"access_token": token}
        if body is None:
            return self._read(self._call("GET", path, query=query))
        return self._read(self._post(path, body, query=query))

    def _post(
        self, path: str, body: dict[str, Any], *, query: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST as UTF-8 (WeChat shows `\\u` escapes as they stand, or refuses them)."""
        content = json.dumps(body, ensure_ascii=False).encode()
        return self._call("POST", path, query=query, content=content)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        try:
            return self._http.request(
                method,
                self._account.api_base + path,
                params=query,
                content=content,
                headers={"content-type": "application/json; charset=utf-8"},
                timeout=TIMEOUT,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            # Without the cause: it holds the request, and that holds the token.
            name = type(error).__name__
            if isinstance(error, NOT_SENT):
                message = f"WeChat could not be reached ({name})."
                raise SendError(message, failure=_RETRY) from None
            message = f"The connection to WeChat broke after the message was sent ({name})."
            raise SendError(message, failure=SendFailure.UNCERTAIN) from None

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code != httpx.codes.OK:
            raise _http_error(response.status_code)
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("errcode", 0), int):
            message = "WeChat answered something that cannot be read."
            raise SendError(message, failure=SendFailure.UNCERTAIN)
        return answer

    def _refusal(self, answer: dict[str, Any]) -> SendError:
        code = answer.get("errcode")
        if code is None or code == 0:
            message = "WeChat's answer does not say whether it accepted the message."
            return SendError(message, failure=SendFailure.UNCERTAIN)
        failure, sentence, pause = _KNOWN.get(code, (_PERMANENT, "", None))
        said = sentence or self._redacted(str(answer.get("errmsg", "")))
        return SendError(
            f"WeChat refused: {said} ({code}).",
            failure=failure,
            code=str(code),
            retry_after=pause,
        )

    def _redacted(self, text: str) -> str:
        for secret in (self._account.app_secret, self._account.token):
            text = text.replace(secret, "…")
        return " ".join(text.split())[:200] or "no reason given"


def _http_error(status: int) -> SendError:
    """Only a gateway's time-out leaves open whether the message went through."""
    message = f"WeChat answered with HTTP status {status}."
    if status == httpx.codes.GATEWAY_TIMEOUT:
        failure = SendFailure.UNCERTAIN
    elif status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS:
        failure = _RETRY
    else:
        failure = _PERMANENT
    return SendError(message, failure=failure, code=f"http {status}")
