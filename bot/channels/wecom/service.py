"""WeCom's customer-service interface: the shared access token, fetching and sending with it."""

import hashlib

import httpx

from bot.channels.base import (
    Json,
    SendError,
    SendFailure,
    TokenStore,
    answered,
    call,
    shorten,
    status_error,
    unclear,
    words,
)
from bot.channels.wecom.account import Account

PLATFORM = "WeCom"
FREQUENCY_PAUSE = 60.0  # seconds after 45009
ADDRESS_PAUSE = 600.0  # seconds for someone to list this server's address
TOKEN_REFUSED = {40001, 40014, 42001}
# Unverified recollection: the word of the callback (10 minutes old, or another desk's) is not
# accepted. Fetching without it works, only less often.
BAD_HINT = 95007
# Documented: an id of ours must be new within its desk, "else the interface returns an error";
# not documented which. Our ids are always of the right form, so that a refusal that speaks of
# the id can only mean that WeCom has the message already.
MENTIONS_ID = "msgid"

_RETRY, _CLOSED = SendFailure.RETRY, SendFailure.WINDOW_CLOSED
_PERMANENT = SendFailure.PERMANENT
_KNOWN: dict[int, tuple[SendFailure, str, float | None]] = {
    -1: (_RETRY, "WeCom is busy", None),
    40001: (_RETRY, "the access token is not accepted", None),
    40014: (_RETRY, "the access token is not accepted", None),
    42001: (_RETRY, "the access token has expired", None),
    45009: (_RETRY, "too many calls", FREQUENCY_PAUSE),
    # Not the message's fault: once the address is listed, the same message goes out.
    60020: (_RETRY, "this server's address is not among the app's trusted ones", ADDRESS_PAUSE),
    95001: (_CLOSED, "no more messages are allowed before the patron writes again", None),
    95018: (_CLOSED, "the session is closed, or in a person's hands inside WeCom", None),
    40013: (_PERMANENT, "the corp_id is wrong", None),
    48002: (_PERMANENT, "the app may not call this interface: list it as a callable app", None),
    95000: (_PERMANENT, "the desk (open_kfid) does not exist", None),
}
_WRONG_SECRET = (_PERMANENT, "the secret is wrong", None)


class CustomerService:
    """Calls WeCom as one app. All workers share its token through the store."""

    def __init__(self, account: Account, *, http: httpx.Client, tokens: TokenStore) -> None:
        self._account = account
        self._http = http
        self._tokens = tokens
        # With the secret's digest: a library that only knows another's corp_id shares nothing.
        proof = hashlib.sha256(f"{account.corp_id}\n{account.secret}".encode()).hexdigest()
        self._key = f"wecom:{account.corp_id}:{proof[:32]}"

    def sync(self, desk: str, cursor: str | None, hint: str | None, *, limit: int) -> Json:
        """One page of a desk's messages after the cursor. Raises SendError."""
        body: Json = {"open_kfid": desk, "limit": limit, "voice_format": 0}
        if cursor:
            body["cursor"] = cursor
        answer = self._ask("kf/sync_msg", {**body, "token": hint} if hint else body)
        if hint and answer.get("errcode") == BAD_HINT:
            answer = self._ask("kf/sync_msg", body)
        return self._accepted(answer)

    def send(self, message: Json, *, path: str = "kf/send_msg") -> str:
        """Send one message under its own id, twice or more if need be. Raises SendError.

        As WeCom takes an id once, a broken connection leaves nothing uncertain.
        """
        answer = self._ask(path, message)
        if answer.get("errcode") != 0 and MENTIONS_ID in words(answer, "errmsg").lower():
            return str(message["msgid"])
        self._accepted(answer)
        return str(message["msgid"])

    def desks(self) -> list[str]:
        """The ids of the desks that the app may serve. Raises SendError."""
        answer = self._accepted(self._ask("kf/account/list", {"offset": 0, "limit": 100}))
        found = answer.get("account_list")
        accounts = found if isinstance(found, list) else []
        return [words(each, "open_kfid") for each in accounts if isinstance(each, dict)]

    def _ask(self, path: str, body: Json) -> Json:
        token = self._token()
        answer = self._post(path, body, token)
        if answer.get("errcode") in TOKEN_REFUSED:
            answer = self._post(path, body, self._token(stale=token))
        return answer

    def _token(self, *, stale: str | None = None) -> str:
        return self._tokens.get(self._key, self._fetch_token, stale=stale)

    def _fetch_token(self) -> tuple[str, float]:
        query = {"corpid": self._account.corp_id, "corpsecret": self._account.secret}
        answer = self._read("GET", "gettoken", query=query)
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(seconds, int):
            raise self._refusal(answer, wrong_secret=True)
        return token, float(seconds)

    def _post(self, path: str, body: Json, token: str) -> Json:
        return self._read("POST", path, query={"access_token": token}, body=body)

    def _read(
        self, method: str, path: str, *, query: dict[str, str], body: Json | None = None
    ) -> Json:
        response = call(
            self._http,
            method,
            f"{self._account.api_base}/cgi-bin/{path}",
            platform=PLATFORM,
            when_lost=_RETRY,  # a message has its id, everything else is a question
            query=query,
            body=body,
        )
        if not response.is_success:
            error = status_error(response, PLATFORM)
            lost = error.failure is SendFailure.UNCERTAIN
            raise SendError(
                str(error),
                failure=_RETRY if lost else error.failure,
                code=error.code,
                retry_after=error.retry_after,
            )
        return answered(response)

    def _accepted(self, answer: Json) -> Json:
        if answer.get("errcode") != 0:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: Json, *, wrong_secret: bool = False) -> SendError:
        code = answer.get("errcode")
        if not isinstance(code, int) or code == 0:
            error = unclear(PLATFORM)
            return SendError(str(error), failure=_RETRY)
        known = _WRONG_SECRET if wrong_secret and code == 40001 else _KNOWN.get(code)
        failure, sentence, pause = known or (_PERMANENT, "", None)
        said = sentence or self._redacted(words(answer, "errmsg"))
        return SendError(
            f"WeCom refused: {said} ({code}).", failure=failure, code=str(code), retry_after=pause
        )

    def _redacted(self, text: str) -> str:
        for secret in (self._account.secret, self._account.token):
            text = text.replace(secret, "…")
        return shorten(text, 200) or "no reason given"
