"""Files that patrons send: checked by what is in them, kept in the database, never as pages.

They lie beside the conversation that they belong to, so that backups, retention and erasure
reach them. Only staff of the library can fetch one, as a download.
"""

import io
import re
import secrets
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.errors import BadRequest, NotFound, TooLarge, TooManyAttempts
from api.models import Upload
from bot.messages import InboundKind
from bot.models import Conversation

LARGEST = 5 * 1024 * 1024  # bytes of one file
A_DAY = 20  # files of one conversation
LIBRARY_A_DAY = 500 * 1024 * 1024  # bytes: no crowd of strangers fills the disk
MEDIA = "upload:"  # how an inbox row names one of these files
LONGEST_NAME = 120
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
}


class UnknownUpload(NotFound):
    """There is no such file in this conversation."""


class NotAccepted(BadRequest):
    """Files of this kind are not accepted: send a picture, a PDF, a text or an office document."""

    status = 415


class EmptyFile(BadRequest):
    """There is nothing in this file."""


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file that we take: known by its content, sent on under our own name for it."""

    content_type: str
    suffix: str
    matches: Callable[[bytes], bool]

    @property
    def kind(self) -> InboundKind:
        """An image is an image for the bot; everything else is a file."""
        return InboundKind.IMAGE if self.content_type in PICTURES else InboundKind.FILE


PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What a browser can show and cannot run."""


def _begins(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(marks)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"mif1", b"heif"}


def _office(part: str) -> Callable[[bytes], bool]:
    """An office document: a ZIP archive that holds this part and no program."""

    def matches(data: bytes) -> bool:
        if not data.startswith(b"PK\x03\x04"):
            return False
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = set(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return False
        return part in names and not any(name.lower().endswith("vbaproject.bin") for name in names)

    return matches


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(letter < " " and letter not in "\t\r\n\f" for letter in text)


_OFFICE = "application/vnd.openxmlformats-officedocument"
TYPES = (
    FileType("image/png", ".png", _begins(b"\x89PNG\r\n\x1a\n")),
    FileType("image/jpeg", ".jpg", _begins(b"\xff\xd8\xff")),
    FileType("image/gif", ".gif", _begins(b"GIF87a", b"GIF89a")),
    FileType("image/webp", ".webp", _is_webp),
    FileType("image/heic", ".heic", _is_heic),
    FileType("application/pdf", ".pdf", _begins(b"%PDF-")),
    FileType(f"{_OFFICE}.wordprocessingml.document", ".docx", _office("word/document.xml")),
    FileType(f"{_OFFICE}.spreadsheetml.sheet", ".xlsx", _office("xl/workbook.xml")),
    FileType(f"{_OFFICE}.presentationml.presentation", ".pptx", _office("ppt/presentation.xml")),
)
TEXT = FileType("text/plain; charset=utf-8", ".txt", _is_text)
_PLAIN = (".txt", ".csv", ".md", ".bib", ".ris")


def type_of(data: bytes, name: str) -> FileType:
    """What a file is, by its content. Raises EmptyFile, TooLarge, NotAccepted.

    A text must also be called one: a page or a script is text as well, and has no business here.
    """
    if not data:
        raise EmptyFile
    if len(data) > LARGEST:
        raise TooLarge
    found = next((each for each in TYPES if each.matches(data)), None)
    if found is None and name.lower().endswith(_PLAIN) and _is_text(data):
        found = TEXT
    if found is None:
        raise NotAccepted
    return found


def check_share(session: Session, conversation: Conversation, *, now: datetime) -> None:
    """Raises TooManyAttempts when a conversation, or the library, has had its share of a day."""
    today = (Upload.library_id == conversation.library_id, Upload.at > now - timedelta(days=1))
    sent = session.scalar(
        select(func.count()).where(*today, Upload.conversation_id == conversation.id)
    )
    if (sent or 0) >= A_DAY:
        raise TooManyAttempts("That is enough files for one day.")
    stored = session.scalar(select(func.sum(Upload.size)).where(*today))
    if (stored or 0) >= LIBRARY_A_DAY:
        raise TooManyAttempts("This library has received enough files for one day.")


def new_key() -> str:
    """A name that nobody guesses."""
    return secrets.token_urlsafe(18)


def keep(
    session: Session,
    conversation: Conversation,
    *,
    key: str,
    name: str,
    data: bytes,
    now: datetime,
) -> Upload:
    """Store a file of a conversation under its key."""
    found = type_of(data, name)
    row = Upload(
        library_id=conversation.library_id,
        conversation_id=conversation.id,
        key=key,
        name=plain_name(name, found),
        content_type=found.content_type,
        size=len(data),
        data=data,
        at=now,
    )
    session.add(row)
    session.flush()
    return row


def plain_name(name: str, found: FileType) -> str:
    """The name without folders, controls and what turns text around, with the right ending."""
    base = re.split(r"[/\\]", name)[-1]
    shown = "".join(letter for letter in base if letter.isprintable() and letter not in '<>"*?|:')
    stem = " ".join(shown.split()).strip(". ") or "file"
    endings = {found.suffix, *({".jpeg"} if found.suffix == ".jpg" else ())}
    if found is TEXT:
        endings.update(_PLAIN)
    has_ending = any(stem.lower().endswith(ending) for ending in endings)
    return stem[-LONGEST_NAME:] if has_ending else stem[:LONGEST_NAME] + found.suffix


def described(
    session: Session, conversation: Conversation, media: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Key, name, size and content type of the files that these inbox rows name."""
    keys = [each.removeprefix(MEDIA) for each in media if each.startswith(MEDIA)]
    if not keys:
        return {}
    rows = session.execute(
        select(Upload.key, Upload.name, Upload.size, Upload.content_type).where(
            Upload.conversation_id == conversation.id, Upload.key.in_(keys)
        )
    )
    return {f"{MEDIA}{row.key}": dict(row._mapping) for row in rows}


def upload_of(session: Session, library_id: int, key: str) -> Upload:
    """A library's file. Raises UnknownUpload, for another library's too."""
    found = session.scalar(select(Upload).where(Upload.library_id == library_id, Upload.key == key))
    if found is None:
        raise UnknownUpload
    return found


def download_headers(upload: Upload) -> dict[str, str]:
    """What makes a browser save a file and never open it as a page of ours."""
    return {
        **HEADERS,
        "Content-Type": upload.content_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(upload.name, safe='')}",
    }
