"""The knowledge base as managers keep it: entries, their history, and what the bot would say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api import audit
from api.auth import Manager
from api.console.case import consultation_of
from api.console.thread import handed_over_because, reason_text
from api.errors import BadRequest
from api.pages import category_name
from api.screens import Screen, changing, reading
from kb.entries import LANGUAGES, EntryData
from kb.errors import BadEntry, UnknownEntry
from kb.library import Version, entry_versions, export_entries, retire_entry, save_entry
from kb.text import detect_language, normalise
from tracker.fold import Kind
from tracker.models import Consultation, Event

UNANSWERED_DAYS = 60
UNANSWERED = 200
LONGEST = 4_000  # characters of one field
CANDIDATES = 5

router = APIRouter(prefix="/manage/kb", include_in_schema=False)


# --- the list ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to."""

    query: str
    category: str
    due: bool


def narrowed(
    q: Annotated[str, Query(max_length=200)] = "",
    category: Annotated[str, Query(max_length=80)] = "",
    due: bool = False,
) -> Filter:
    """Read the filter from the address."""
    return Filter(q.strip(), category, due)


@router.get("")
def entry_list(
    request: Request, caller: Manager, wanted: Annotated[Filter, Depends(narrowed)]
) -> HTMLResponse:
    """All entries in use, or those that match."""
    with reading(request, caller, section="manage") as (session, screen):
        entries = export_entries(session, screen.library.id)
        today = screen.reader.local(screen.now).date()
        context = {
            "page": "kb",
            "query": wanted.query,
            "category": wanted.category,
            "categories": _categories(entries),
            "category_name": lambda name: category_name(screen.reader, name),
            "total": len(entries),
            "due": sum(_is_due(entry, today) for entry in entries),
            "entries": [
                _listed(entry, screen, today) for entry in entries if _matches(entry, wanted, today)
            ],
        }
        return screen.render("manage/kb.html", context)


def _categories(entries: Iterable[EntryData]) -> list[str]:
    return sorted({entry.category for entry in entries})


def _is_due(entry: EntryData, today: date) -> bool:
    return entry.review_by is not None and entry.review_by <= today


def _matches(entry: EntryData, wanted: Filter, today: date) -> bool:
    if wanted.category and entry.category != wanted.category:
        return False
    if wanted.due and not _is_due(entry, today):
        return False
    texts = [entry.id, *entry.tags, *entry.answers.values()]
    texts += [text for group in entry.questions.values() for text in group]
    return not wanted.query or normalise(wanted.query) in normalise("\n".join(texts))


def _listed(entry: EntryData, screen: Screen, today: date) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title(screen.reader.language),
        "category": entry.category,
        "languages": [code for code in LANGUAGES if entry.answers.get(code)],
        "phrasings": sum(len(texts) for texts in entry.questions.values()),
        "review_by": entry.review_by,
        "is_due": _is_due(entry, today),
    }


# --- what would the bot say? ---------------------------------------------------------------


@router.get("/try")
def try_page(
    request: Request, caller: Manager, q: Annotated[str, Query(max_length=500)] = ""
) -> HTMLResponse:
    """One question, and what the bot would do with it, explained."""
    with reading(request, caller, section="manage") as (session, screen):
        result = _tried(session, screen, q) if q.strip() else None
        context = {"page": "kb", "query": q, "result": result}
        return screen.render("manage/try.html", context)


def _tried(session: Session, screen: Screen, text: str) -> dict[str, Any]:
    desk = screen.state.desks.of(session, screen.library.id, now=screen.now)
    knowledge, now = desk.knowledge, screen.now
    language = detect_language(text)
    decision = knowledge.ask(text, lang=language)
    explanation = knowledge.explain(text, lang=language)
    nearest = {entry: phrasing for entry, phrasing, _ in explanation.nearest}
    features = ", ".join(reason.feature for reason in explanation.reasons)
    answers = [entry for key in decision.entries if (entry := knowledge.entry(key))]
    lines = []
    for index, candidate in enumerate(decision.candidates[:CANDIDATES]):
        entry = knowledge.entry(candidate.entry)
        near = nearest.get(candidate.entry)
        why = [screen.text("kb.nearest", text=near)] if near else []
        lines.append(
            {
                "entry": candidate.entry,
                "title": entry.title(screen.reader.language) if entry else candidate.entry,
                "probability": candidate.probability,
                "why": " · ".join([*why, features] if index == 0 and features else why),
            }
        )
    return {
        "verdict": decision.verdict,
        "language_name": screen.language_name(language),
        "answers": [
            {
                "title": entry.title(language),
                "text": desk.answer(entry, text, language=language, now=now),
            }
            for entry in answers
        ],
        "candidates": lines,
        "p_none": decision.p_none,
    }


# --- what nobody answered ------------------------------------------------------------------


@router.get("/unanswered")
def unanswered(request: Request, caller: Manager) -> HTMLResponse:
    """Questions that the bot handed over because it had no answer, newest first."""
    with reading(request, caller, section="manage") as (session, screen):
        context = {
            "page": "gaps",
            "days": UNANSWERED_DAYS,
            "questions": _unanswered(session, screen),
        }
        return screen.render("manage/unanswered.html", context)


def _unanswered(session: Session, screen: Screen) -> list[dict[str, Any]]:
    since = screen.now - timedelta(days=UNANSWERED_DAYS)
    found = session.scalars(
        select(Consultation)
        .where(
            Consultation.library_id == screen.library.id,
            Consultation.received_at >= since,
            Consultation.excluded_at.is_(None),
            or_(
                Consultation.bot_rejected_at.is_not(None),
                Consultation.escalated_at.is_not(None) & Consultation.bot_at.is_(None),
            ),
        )
        .order_by(Consultation.received_at.desc())
        .limit(UNANSWERED)
    ).all()
    reasons = handed_over_because(session, [item.id for item in found])
    return [
        {
            "id": item.id,
            "title": item.title or "…",
            "reason": reason_text(screen, reasons.get(item.id)),
            "channel_name": screen.channel_name(item.channel),
            "received_at": item.received_at,
        }
        for item in found
    ]


# --- one entry -----------------------------------------------------------------------------


@router.get("/new")
def new_entry(
    request: Request, caller: Manager, consultation: Annotated[int | None, Query()] = None
) -> HTMLResponse:
    """An empty entry, or the draft of one from a consultation's question and answer."""
    with reading(request, caller, section="manage") as (session, screen):
        draft = _blank()
        if consultation is not None:
            draft = _draft(session, consultation_of(session, screen.library.id, consultation))
        return _form(session, screen, draft, versions=None)


def _blank() -> dict[str, Any]:
    return {
        "id": "",
        "title": "",
        "category": "",
        "questions": dict.fromkeys(LANGUAGES, ""),
        "answers": dict.fromkeys(LANGUAGES, ""),
        **dict.fromkeys(("url", "tags", "owner", "review_by", "valid_from", "valid_until"), ""),
    }


def _draft(session: Session, consultation: Consultation) -> dict[str, Any]:
    """What the patron asked as the question, what the librarian wrote as the answer."""
    answer = session.scalars(
        select(Event.text)
        .where(
            Event.library_id == consultation.library_id,
            Event.consultation_id == consultation.id,
            Event.kind == Kind.FEEDBACK,
        )
        .order_by(Event.at.desc())
        .limit(1)
    ).first()
    language = (consultation.language or "zh-Hans").split("-")[0]
    blank = _blank()
    return {
        **blank,
        "questions": {**blank["questions"], language: consultation.title or ""},
        "answers": {**blank["answers"], language: answer or ""},
    }


@router.get("/{key}")
def entry_page(request: Request, caller: Manager, key: str) -> HTMLResponse:
    """An entry to be edited, with its versions. Raises UnknownEntry."""
    with reading(request, caller, section="manage") as (session, screen):
        versions = entry_versions(session, screen.library.id, key)
        return _form(session, screen, _editable(versions[0].entry, screen), versions=versions)


def _editable(entry: EntryData, screen: Screen) -> dict[str, Any]:
    return {
        "id": entry.id,
        "title": entry.title(screen.reader.language),
        "category": entry.category,
        "questions": {code: "\n".join(entry.questions.get(code, ())) for code in LANGUAGES},
        "answers": {code: entry.answers.get(code, "") for code in LANGUAGES},
        "url": entry.url or "",
        "tags": ", ".join(entry.tags),
        "owner": entry.owner or "",
        "review_by": entry.review_by or "",
        "valid_from": entry.valid_from or "",
        "valid_until": entry.valid_until or "",
    }


def _form(
    session: Session,
    screen: Screen,
    entry: Mapping[str, Any],
    *,
    versions: Sequence[Version] | None,
    problem: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    shown = versions or ()
    context = {
        "page": "kb",
        "entry": entry,
        "is_new": versions is None,
        "version": shown[0].number if shown else None,
        "versions": [_version(screen, item, index, shown) for index, item in enumerate(shown)],
        "categories": _categories(export_entries(session, screen.library.id)),
        "problem": problem,
    }
    return screen.render("manage/entry.html", context, status=status)


def _version(
    screen: Screen, item: Version, index: int, versions: Sequence[Version]
) -> dict[str, Any]:
    is_first = index == len(versions) - 1
    change = "retired" if item.retired else "created" if is_first else "edited"
    return {
        "number": item.number,
        "at": item.at,
        "by": item.by,
        "changed": screen.text(f"kb.change.{change}"),
        "document": yaml.safe_dump(item.entry.as_document(), allow_unicode=True, sort_keys=False),
    }


class EntryForm(BaseModel):
    """The form of an entry as it was sent; `version` is the one that it showed, if any."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    id: str = Field("", max_length=80)
    category: str = Field("", max_length=80)
    questions_zh: str = Field("", max_length=LONGEST)
    questions_en: str = Field("", max_length=LONGEST)
    questions_vi: str = Field("", max_length=LONGEST)
    answer_zh: str = Field("", max_length=LONGEST)
    answer_en: str = Field("", max_length=LONGEST)
    answer_vi: str = Field("", max_length=LONGEST)
    url: str = Field("", max_length=500)
    tags: str = Field("", max_length=500)
    owner: str = Field("", max_length=200)
    review_by: str = Field("", max_length=10)
    valid_from: str = Field("", max_length=10)
    valid_until: str = Field("", max_length=10)
    version: int | None = None

    @property
    def questions(self) -> dict[str, str]:
        return {"zh": self.questions_zh, "en": self.questions_en, "vi": self.questions_vi}

    @property
    def answers(self) -> dict[str, str]:
        return {"zh": self.answer_zh, "en": self.answer_en, "vi": self.answer_vi}


@router.post("/save")
def save(request: Request, caller: Manager, form: Annotated[EntryForm, Form()]) -> Response:
    """Publish an entry at once. What somebody else changed meanwhile is not overwritten."""
    try:
        with changing(request, caller, section="manage") as (session, screen):
            _check_version(session, screen, form)
            entry = save_entry(
                session, screen.library.id, _entry(form), now=screen.now, by=caller.email
            )
            audit.record(
                session,
                actor=caller.email,
                action="entry.save",
                subject=entry.id,
                now=screen.now,
                library_id=screen.library.id,
            )
    except (BadEntry, BadRequest) as refusal:
        return _refused(request, caller, form, refusal)
    return RedirectResponse(f"/manage/kb/{entry.id}?said=published", status_code=303)


def _check_version(session: Session, screen: Screen, form: EntryForm) -> None:
    newest = next(iter(_versions(session, screen, form.id)), None)
    if newest is None or newest.number == form.version:
        return
    if form.version is None and newest.retired:
        return  # a retired entry's name may be used again
    raise BadRequest(screen.text("kb.conflict"))


def _versions(session: Session, screen: Screen, key: str) -> Sequence[Version]:
    try:
        return entry_versions(session, screen.library.id, key)
    except UnknownEntry:
        return ()


def _entry(form: EntryForm) -> EntryData:
    questions = {
        code: tuple(line.strip() for line in text.splitlines() if line.strip())
        for code, text in form.questions.items()
    }
    return EntryData(
        id=form.id,
        category=form.category,
        questions={code: texts for code, texts in questions.items() if texts},
        answers={code: text for code, text in form.answers.items() if text},
        tags=tuple(tag.strip() for tag in form.tags.split(",") if tag.strip()),
        url=form.url or None,
        valid_from=_day(form.valid_from),
        valid_until=_day(form.valid_until),
        review_by=_day(form.review_by),
        owner=form.owner or None,
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadRequest("A date is written as 2026-11-22.") from None


def _refused(
    request: Request, caller: Manager, form: EntryForm, refusal: BadEntry | BadRequest
) -> HTMLResponse:
    """The form again, with what was typed and why it was not kept."""
    with reading(request, caller, section="manage") as (session, screen):
        typed = {
            **form.model_dump(),
            "title": form.id,
            "questions": form.questions,
            "answers": form.answers,
        }
        versions = _versions(session, screen, form.id) if form.version is not None else None
        return _form(
            session,
            screen,
            typed,
            versions=versions or None,
            problem=str(refusal),
            status=refusal.status,
        )


@router.post("/{key}/retire")
def retire(request: Request, caller: Manager, key: str) -> Response:
    """Take an entry out of use; its versions stay."""
    with changing(request, caller, section="manage") as (session, screen):
        retire_entry(session, screen.library.id, key, now=screen.now, by=caller.email)
        audit.record(
            session,
            actor=caller.email,
            action="entry.retire",
            subject=key,
            now=screen.now,
            library_id=screen.library.id,
        )
    return RedirectResponse(f"/manage/kb/{key}?said=retired", status_code=303)
