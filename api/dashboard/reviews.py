"""What the nightly review of the knowledge base found, for those who edit it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy.orm import Session

from api.auth import Manager
from api.screens import Screen, reading
from kb.library import export_entries
from kb.models import Review
from kb.reports import reliability_svg, risk_coverage_svg
from kb.review import latest_reviews, reviewed_questions

SHOWN = 50
FIGURES = (
    "accuracy_at_1",
    "recall_at_3",
    "in_scope_answered_rightly",
    "in_scope_answered_or_offered_rightly",
    "wrong_among_answered",
    "ece",
)

router = APIRouter(prefix="/manage/kb/review", include_in_schema=False)


@router.get("")
def review_page(request: Request, caller: Manager) -> HTMLResponse:
    """The newest review beside the one before: figures, confusions, changes, two curves."""
    with reading(request, caller, section="manage") as (session, screen):
        reviews = latest_reviews(session, screen.library.id, limit=2)
        context = {"page": "kb", "review": _shown(session, screen, reviews) if reviews else None}
        return screen.render("manage/review.html", context)


def _shown(session: Session, screen: Screen, reviews: list[Review]) -> dict[str, Any]:
    newest, before = reviews[0], reviews[1] if len(reviews) > 1 else None
    titles = {
        entry.id: entry.title(screen.reader.language)
        for entry in export_entries(session, screen.library.id)
    }
    queries, predictions = reviewed_questions(newest)
    return {
        "at": newest.at,
        "questions": newest.scores["queries"],
        "figures": [
            (name, newest.scores[name], before.scores[name] if before else None) for name in FIGURES
        ],
        "confusions": [
            {
                **confusion,
                "right_title": titles.get(confusion["right"], confusion["right"]),
                "taken_title": titles.get(confusion["taken_for"], confusion["taken_for"]),
            }
            for confusion in newest.confusions[:SHOWN]
        ],
        "changes": newest.changes[:SHOWN],
        "titles": titles,
        # Drawn here from figures alone; no patron's text is in them.
        "curves": [
            Markup(draw(queries, predictions))  # noqa: S704
            for draw in (reliability_svg, risk_coverage_svg)
        ],
    }
