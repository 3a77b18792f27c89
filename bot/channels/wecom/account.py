"""A company's customer-service app: its settings, checked when they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot.channels.base import Declaration, read_settings
from bot.channels.wecom.crypto import KEY_CHARACTERS

REQUIRED = ("corp_id", "secret", "token", "encoding_aes_key")
SECRET = ("secret", "token", "encoding_aes_key", "previous_encoding_aes_key")
OPTIONAL = ("open_kfid", "previous_encoding_aes_key", "api_base")
API_BASE = "https://qyapi.weixin.qq.com"
_KEY = re.compile(rf"[A-Za-z0-9+/]{{{KEY_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class Account:
    """What the console shows, and which of the company's desks are ours."""

    corp_id: str
    secret: str
    token: str
    encoding_aes_keys: tuple[str, ...]  # the present one first
    desks: tuple[str, ...]  # customer-service accounts (open_kfid); none: all that call us
    api_base: str

    def __repr__(self) -> str:
        return f"Account({self.corp_id!r})"

    @classmethod
    def read(cls, declaration: Declaration, settings: Mapping[str, str]) -> "Account":
        """Raises ValueError with a sentence for every setting that is wrong."""
        given = read_settings(declaration, settings, free_text=("open_kfid",))
        keys = [given.get(n) for n in ("encoding_aes_key", "previous_encoding_aes_key")]
        for key in filter(None, keys):
            if not _KEY.fullmatch(key):
                raise ValueError(
                    f"The setting encoding_aes_key must be the {KEY_CHARACTERS} letters and digits"
                    f" of the console's EncodingAESKey; one has {len(key)} characters."
                )
        desks = tuple(given.get("open_kfid", "").replace(",", " ").split())
        if any(not desk.startswith("wk") or not desk.isascii() for desk in desks):
            raise ValueError("The setting open_kfid must hold ids that begin with wk.")
        return cls(
            corp_id=given["corp_id"],
            secret=given["secret"],
            token=given["token"],
            encoding_aes_keys=tuple(key for key in keys if key),
            desks=desks,
            api_base=given.get("api_base", API_BASE).rstrip("/"),
        )
