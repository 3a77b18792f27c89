"""Texts that strangers may have written, made harmless for the program that opens a file."""

import re

_STARTS_FORMULA = re.compile(r"^[\s\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_TURNS_AROUND = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")  # bidi, BOM
LONGEST_CELL = 32_767  # characters that a spreadsheet's cell may hold


def plain(text: str) -> str:
    """The text without what XML forbids and without signs that reorder what is read."""
    return _TURNS_AROUND.sub("", _UNPRINTABLE.sub("", text))


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a doubtful one begins with '.

    Full-width signs count too: spreadsheets of Chinese and Japanese systems accept them.
    """
    clean = plain(text)  # first of all: a removed sign could uncover a formula
    quoted = f"'{clean}" if _STARTS_FORMULA.search(clean) else clean
    return quoted[:LONGEST_CELL]
