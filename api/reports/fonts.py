"""The fonts that reports carry with them, so that they look the same on every machine.

`npm ci` brings them (package.json) and api/static/vendor.mjs lays them beside the pages' files.
"""

from functools import cache
from pathlib import Path

import vl_convert

from api.errors import RefdeskError
from api.rendering import STATIC

FOLDER = STATIC / "vendor" / "fonts"
NAMES = (
    "NotoSans-Regular.ttf",
    "NotoSans-Bold.ttf",
    "NotoSansHans-Regular.otf",
    "NotoSansHans-Bold.otf",
    "NotoSansHant-Regular.otf",
    "NotoSansHant-Bold.otf",
)
SCALE = 3  # pixels of a picture per unit of its drawing: sharp on paper


class FontsMissing(RefdeskError):
    """The fonts of reports are not installed: run "make setup", or "npm ci"."""

    status = 503


def folder() -> Path:
    """Where the fonts are. Raises FontsMissing."""
    if not all((FOLDER / name).is_file() for name in NAMES):
        raise FontsMissing
    return FOLDER


@cache
def _registered() -> None:
    vl_convert.register_font_directory(str(folder()))


def picture(svg: str) -> bytes:
    """A drawing as PNG, for programs that cannot show it otherwise. Raises FontsMissing."""
    _registered()
    made: bytes = vl_convert.svg_to_png(svg, scale=SCALE)
    return made
