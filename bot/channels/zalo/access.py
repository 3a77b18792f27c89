"""Zalo's access token, and the refresh token that each refresh uses up.

All workers share both through the token store. The exchange runs under the access token's
lock, and the new refresh token is stored before the access token is used: what is lost then
is at most an access token, never the right to ask for one.
"""

import hashlib
from collections.abc import Mapping

import httpx

from bot.channels.base import (
    SendError,
    SendFailure,
    TokenStore,
    answered,
    call,
    seconds_of,
    shorten,
    status_error,
    words,
)

OAUTH_BASE = "https://oauth.zaloapp.com"
# Reported: three months, from each refresh anew.
REFRESH_SECONDS = 90 * 24 * 3600.0
# Reported: 25 hours. Zalo's answer names it, too; this holds only where it does not.
ACCESS_SECONDS = 25 * 3600.0


class Access:
    """Gives the account's access token, refreshed when it ends or is refused."""

    def __init__(self, given: Mapping[str, str], *, http: httpx.Client, tokens: TokenStore) -> None:
        self._given = given
        self._http = http
        self._tokens = tokens
        self._address = given.get("api_base", OAUTH_BASE).rstrip("/") + "/v4/oa/access_token"
        # A new refresh_token in the settings, after authorising anew, starts a new line; and
        # who only knows another's app_id shares nothing with them.
        first = hashlib.sha256(f"{given['app_secret']}\n{given['refresh_token']}".encode())
        self._key = f"zalo:{given['app_id']}:{first.hexdigest()[:32]}"
        self._refresh_key = f"refresh:{self._key}"

    def token(self, *, stale: str | None = None) -> str:
        """The access token, never the one that was just refused. Raises SendError."""
        return self._tokens.get(self._key, self._exchange, stale=stale)

    def _exchange(self) -> tuple[str, float]:
        refresh = self._tokens.get(self._refresh_key, self._first_refresh)
        access, seconds, following = self._ask(refresh)
        if following != refresh:
            # Storing is fetching what is at hand: the one just used is stale by its use.
            self._tokens.get(self._refresh_key, lambda: (following, REFRESH_SECONDS), stale=refresh)
        return access, seconds

    def _first_refresh(self) -> tuple[str, float]:
        return self._given["refresh_token"], REFRESH_SECONDS

    def _ask(self, refresh: str) -> tuple[str, float, str]:
        """Access token, its life, and the next refresh token."""
        response = call(
            self._http,
            "POST",
            self._address,
            platform="Zalo",
            when_lost=SendFailure.RETRY,
            headers={"secret_key": self._given["app_secret"]},
            form={
                "app_id": self._given["app_id"],
                "grant_type": "refresh_token",
                "refresh_token": refresh,
            },
        )
        answer = answered(response)
        access, following = words(answer, "access_token"), words(answer, "refresh_token")
        if access and following:
            life = seconds_of(answer.get("expires_in"), at_most=REFRESH_SECONDS)
            return access, ACCESS_SECONDS if life is None else life, following
        if response.status_code >= 500 or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _retried(status_error(response, "Zalo"))
        reason = shorten(words(answer, "error_description") or words(answer, "error_name"), 200)
        raise SendError(
            "Zalo gives no access token: authorise the account anew, see step 5 of the guide"
            f" ({reason or 'no reason given'}).",
            failure=SendFailure.PERMANENT,
            code=f"oauth {answer.get('error', response.status_code)}",
        )


def _retried(error: SendError) -> SendError:
    """Nothing was sent to the patron yet, so that nothing is uncertain."""
    return SendError(
        str(error), failure=SendFailure.RETRY, code=error.code, retry_after=error.retry_after
    )
