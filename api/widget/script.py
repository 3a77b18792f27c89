"""The script that a page embeds: one file, with its style and its texts in it."""

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache

from fastapi import Request, Response

from api.i18n import LANGUAGES, catalogue
from api.rendering import STATIC
from api.widget.foreign import open_router

RETENTION_DAYS = 180

router = open_router()


@dataclass(frozen=True, slots=True)
class Script:
    """The widget's script with its style and texts in it, ready to be sent."""

    plain: bytes
    packed: bytes
    tag: str


@cache
def script() -> Script:
    """Put the style and the texts of all languages into the script, once per process."""
    texts = {language: _texts(language) for language in LANGUAGES}
    source = _bare((STATIC / "widget.js").read_text(encoding="utf-8"))
    style = re.sub(r"\s+", " ", (STATIC / "widget.css").read_text(encoding="utf-8"))
    source = source.replace('"__TEXTS__"', json.dumps(texts, ensure_ascii=False))
    source = source.replace('"__STYLE__"', json.dumps(style, ensure_ascii=False))
    plain = source.encode()
    return Script(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:16])


def _bare(source: str) -> str:
    """The source without what only we read: lines of comment, and indentation."""
    lines = (line.strip() for line in re.sub(r"(?ms)^ */\*.*?\*/$", "", source).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _texts(language: str) -> dict[str, str]:
    found = catalogue(language)
    return {
        key.removeprefix("widget."): text.replace("{days}", str(RETENTION_DAYS))
        for key, text in found.items()
        if key.startswith("widget.")
    }


@router.get("/widget.js")
def widget_script(request: Request) -> Response:
    """The script that a page embeds."""
    made = script()
    headers = {
        "ETag": f'"{made.tag}"',
        "Cache-Control": "public, max-age=300",
        "Vary": "Accept-Encoding",
    }
    if made.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    if packed:
        headers["Content-Encoding"] = "gzip"
    body = made.packed if packed else made.plain
    return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)
