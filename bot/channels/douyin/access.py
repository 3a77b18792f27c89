"""Douyin's access token: about 15 days, refreshed with a token of 30 days that is renewed.

All workers share both through the token store; the refresh runs under the access token's lock.
"""

import hashlib
from collections.abc import Mapping

import httpx

from bot.channels.base import (
    Json,
    SendError,
    SendFailure,
    TokenStore,
    answered,
    call,
    member,
    seconds_of,
    shorten,
    status_error,
    words,
)

API_BASE = "https://open.douyin.com"
DAY = 24 * 3600.0
# Reported lives, where the answer does not name them.
ACCESS_SECONDS, REFRESH_SECONDS = 15 * DAY, 30 * DAY
# A refresh token that would not live until the next refresh is renewed, up to five times
# (reported); then the account must be authorised anew.
RENEWED_BELOW = ACCESS_SECONDS + DAY


class Access:
    """Gives the account's access token, refreshed when it ends or is refused."""

    def __init__(self, given: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore) -> None:
        self._given = given
        self._http = http
        self._tokens = tokens
        self._base = given.get("api_base", API_BASE).rstrip("/")
        # A new refresh_token in the settings, after authorising anew, starts a new line; and
        # who only knows another's client_key shares nothing with them.
        first = hashlib.sha256(f"{given['client_secret']}\n{given['refresh_token']}".encode())
        self._key = f"douyin:{given['client_key']}:{first.hexdigest()[:32]}"
        self._refresh_key = f"refresh:{self._key}"

    def token(self, *, stale: str | None = None) -> str:
        """The access token, never the one that was just refused. Raises SendError."""
        return self._tokens.get(self._key, self._exchange, stale=stale)

    def _exchange(self) -> tuple[str, float]:
        refresh = self._tokens.get(self._refresh_key, self._first_refresh)
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        data = self._ask("/oauth/refresh_token/", form)
        access = words(data, "access_token")
        if not access:
            raise _refused(data)
        self._keep(refresh, words(data, "refresh_token") or refresh, _life(data, "refresh_"))
        return access, _life(data, "") or ACCESS_SECONDS

    def _keep(self, used: str, following: str, seconds: float | None) -> None:
        """Store the refresh token that holds from now on, renewed where it ends too soon."""
        if seconds is not None and seconds < RENEWED_BELOW:
            data = self._ask("/oauth/renew_refresh_token/", {"refresh_token": following})
            following, seconds = words(data, "refresh_token") or following, _life(data, "")
        if following != used:
            # Storing is fetching what is at hand: the one just used is stale by its use.
            kept = (following, seconds or REFRESH_SECONDS)
            self._tokens.get(self._refresh_key, lambda: kept, stale=used)

    def _first_refresh(self) -> tuple[str, float]:
        return self._given["refresh_token"], REFRESH_SECONDS

    def _ask(self, path: str, form: Mapping[str, str]) -> Json:
        response = call(
            self._http,
            "POST",
            self._base + path,
            platform="Douyin",
            when_lost=SendFailure.RETRY,
            form={"client_key": self._given["client_key"], **form},
        )
        if not response.is_success:
            error = status_error(response, "Douyin")
            uncertain = error.failure is SendFailure.UNCERTAIN  # nothing was sent yet
            failure = SendFailure.RETRY if uncertain else error.failure
            raise SendError(str(error), failure=failure, code=error.code)
        return member(answered(response), "data")


def _life(data: Json, prefix: str) -> float | None:
    return seconds_of(data.get(f"{prefix}expires_in"), at_most=365 * DAY)


def _refused(data: Json) -> SendError:
    reason = shorten(words(data, "description"), 200) or "no reason given"
    return SendError(
        f"Douyin gives no access token: authorise the account anew ({reason}).",
        failure=SendFailure.PERMANENT,
        code=f"oauth {data.get('error_code', '')}".strip(),
    )
