"""Reports: what a manager signs and passes on, in five formats and four languages."""

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module

from api.reports.content import Content

FORMATS: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}
PLAIN = frozenset({"html", "csv"})  # formats that do not say when they were made


def write(content: Content, *, form: str, made_at: datetime) -> bytes:
    """The report as a file. Imports what the format needs only now: PDF and office are large."""
    writer = import_module(f"api.reports.{form}")
    made: bytes = writer.write(content) if form in PLAIN else writer.write(content, made_at=made_at)
    return made
