"""The fonts that reports carry with them, so that they look the same on every machine.

`npm ci` brings them (package.json) and api/static/vendor.mjs lays them beside the pages' files.
"""

from pathlib import Path

import typst

from api.errors import RefdeskError
from api.rendering import STATIC

FOLDER = STATIC / "vendor" / "fonts"
LAYOUT = Path(__file__).parent / "layout"
NAMES = (
    "NotoSans-Regular.ttf",
    "NotoSans-Bold.ttf",
    "NotoSansHans-Regular.otf",
    "NotoSansHans-Bold.otf",
    "NotoSansHant-Regular.otf",
    "NotoSansHant-Bold.otf",
)
DOTS_PER_INCH = 220  # of a picture: sharp on paper


class FontsMissing(RefdeskError):
    """The fonts of reports are not installed: run "make setup", or "npm ci"."""

    status = 503


def folder() -> Path:
    """Where the fonts are. Raises FontsMissing."""
    if not all((FOLDER / name).is_file() for name in NAMES):
        raise FontsMissing
    return FOLDER


def picture(svg: str) -> bytes:
    """A drawing as PNG, for programs that cannot show it otherwise. Raises FontsMissing."""
    made: bytes = typst.compile(
        str(LAYOUT / "picture.typ"),
        root=str(LAYOUT),
        font_paths=[str(folder())],
        ignore_system_fonts=True,
        format="png",
        ppi=DOTS_PER_INCH,
        sys_inputs={"svg": svg},
    )
    return made
