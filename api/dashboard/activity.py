"""What the channels do on their platforms: indicators, weeks, and questions answered there."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api import audit
from api.activity import COMMENT_COLUMNS, add_comments, csv_rows
from api.auth import Manager, StaffMember
from api.dashboard.period import Period, Selection, Wanted, chosen
from api.dashboard.typed import Typed
from api.errors import BadRequest
from api.screens import Screen, changing, reading
from tracker.activity import COUNTS, BadActivity, enter, have_channel, indicators
from tracker.consortium import channels_of
from tracker.history import BadHistory
from tracker.models import ChannelActivity
from tracker.trends import monday

PAGE = "/manage/activity"
KNOWN = ("wechat", "weibo", "douyin", "video", "qq")  # offered beside the library's own
WEEKS = 60  # rows of the list
SHOWN_PROBLEMS = 20
SHEETS = {"weeks": ("channel", "week", *COUNTS), "comments": COMMENT_COLUMNS}

router = APIRouter(prefix=PAGE, include_in_schema=False)


@router.get("")
def activity(request: Request, caller: Manager, period: Period) -> HTMLResponse:
    """The indicators of a period by channel, and the weeks that they come from."""
    with reading(request, caller, section="manage") as (session, screen):
        return _page(session, screen, _selection(screen, period.start, period.end))


def _selection(screen: Screen, start: str | None, end: str | None) -> Selection:
    """The last twelve whole weeks, unless the address says otherwise."""
    today = screen.reader.local(screen.now).date()
    first = monday(today) - timedelta(weeks=12)
    last = monday(today) - timedelta(days=1)
    return chosen(Wanted(start or str(first), end or str(last), None), today=today)


def _page(
    session: Session,
    screen: Screen,
    selection: Selection,
    *,
    typed: Mapping[str, Any] | None = None,
    problems: Iterable[str] = (),
    status: int = 200,
) -> HTMLResponse:
    library = screen.library
    found = indicators(session, library, start=selection.start, end=selection.end)
    kinds = sorted({*channels_of(session, library), *KNOWN})
    context = {
        "page": "activity",
        "selection": selection,
        "channels": [_channel(screen, name, item) for name, item in found.items()],
        "kinds": [{"kind": kind, "name": screen.channel_name(kind)} for kind in kinds],
        "counts": COUNTS,
        "weeks": _weeks(session, screen, selection),
        "typed": Typed(typed or {}),
        "problems": list(problems),
        "this_week": monday(screen.reader.local(screen.now).date()),
    }
    return screen.render("manage/activity.html", context, status=status)


def _channel(screen: Screen, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    number = screen.reader.number

    def shown(key: str) -> str:
        """What nobody has entered is not nothing."""
        is_known = item["weeks_entered"] and item[key] is not None
        return number(item[key]) if is_known else "–"

    growth = item["growth"]
    return {
        "name": screen.channel_name(name),
        "kind": name,
        "sums": [shown(key) for key in ("posts", "pushes", "reads", "likes", "comments", "shares")],
        "followers": shown("followers"),
        "growth": "–" if growth is None else f"{'+' if growth > 0 else ''}{number(growth)}",
        "engagement": (
            "–"
            if item["engagement"] is None
            else screen.reader.percent_of(100 * item["engagement"])
        ),
        "weekly": screen.text("activity.weekly_n", n=item["weeks_with_push"], of=item["weeks"]),
        "pushes_weekly": item["pushes_weekly"],
        "total_posts": shown("total_posts"),
    }


def _weeks(session: Session, screen: Screen, selection: Selection) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(ChannelActivity)
        .where(
            ChannelActivity.library_id == screen.library.id,
            ChannelActivity.week >= selection.start,
            ChannelActivity.week <= selection.end,
        )
        .order_by(ChannelActivity.week.desc(), ChannelActivity.channel)
        .limit(WEEKS)
    )
    return [
        {
            "week": row.week,
            "name": screen.channel_name(row.channel),
            "counts": [
                "–" if value is None else screen.reader.number(value)
                for value in (getattr(row, name) for name in COUNTS)
            ],
        }
        for row in rows
    ]


@router.get("/sheet.csv")
def sheet(
    caller: Manager, of: Annotated[str, Query(pattern="weeks|comments")] = "weeks"
) -> Response:
    """An empty table with the right headings, for a spreadsheet."""
    text = "\ufeff" + ",".join(SHEETS[of]) + "\r\n"
    headers = {"Content-Disposition": f'attachment; filename="{of}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


# --- forms ---------------------------------------------------------------------------------

Enter = Callable[[Session, Screen], int]


@router.post("/week")
async def enter_week(request: Request, caller: Manager) -> Response:
    """One week of one channel, by hand."""
    form = await request.form()
    row = {name: str(form.get(name) or "")[:40] for name in ("channel", "week", *COUNTS)}
    return await run_in_threadpool(_one_week, request, caller, row)


def _one_week(request: Request, caller: StaffMember, row: dict[str, str]) -> Response:
    def put(session: Session, screen: Screen) -> int:
        return enter(session, screen.library, [(1, row)], now=screen.now, by=caller.email)

    return _entered(request, caller, put, said="activity_week", typed=row)


@router.post("/weeks")
def enter_weeks(request: Request, caller: Manager, file: Annotated[UploadFile, File()]) -> Response:
    """Many weeks from a CSV file: all of it or nothing."""
    content = file.file.read()

    def put(session: Session, screen: Screen) -> int:
        rows = csv_rows(content)
        return enter(session, screen.library, rows, now=screen.now, by=caller.email)

    return _entered(request, caller, put, said="activity_week")


@router.post("/comment")
def enter_comment(
    request: Request,
    caller: Manager,
    *,
    channel: Annotated[str, Form(max_length=40)] = "",
    received_at: Annotated[str, Form(max_length=40)] = "",
    question: Annotated[str, Form(max_length=4_000)] = "",
    answered_at: Annotated[str, Form(max_length=40)] = "",
    answer: Annotated[str, Form(max_length=4_000)] = "",
) -> Response:
    """A public comment or mention that was answered, or not, on the platform itself."""
    row = {
        "channel": channel,
        "received_at": received_at,
        "question": question,
        "answered_at": answered_at,
        "answer": answer,
    }

    def put(session: Session, screen: Screen) -> int:
        return add_comments(session, screen.library, [(1, row)], by=caller.email, now=screen.now)

    return _entered(request, caller, put, said="activity_comment", typed=row)


@router.post("/comments")
def enter_comments(
    request: Request, caller: Manager, file: Annotated[UploadFile, File()]
) -> Response:
    """Many comments from a CSV file: all of it or nothing."""
    content = file.file.read()

    def put(session: Session, screen: Screen) -> int:
        rows = csv_rows(content)
        return add_comments(session, screen.library, rows, by=caller.email, now=screen.now)

    return _entered(request, caller, put, said="activity_comment")


@router.post("/presence")
def enter_presence(
    request: Request,
    caller: Manager,
    channel: Annotated[str, Form(max_length=40)] = "",
    opened_on: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Say that the library has a channel, whether or not anybody has asked there yet."""

    def put(session: Session, screen: Screen) -> int:
        if not channel.strip():
            raise BadRequest("A channel is needed.")
        opened = date.fromisoformat(opened_on) if opened_on else None
        have_channel(session, screen.library, channel.strip(), opened_on=opened)
        return 1

    return _entered(request, caller, put, said="activity_presence")


def _entered(
    request: Request,
    caller: StaffMember,
    put: Enter,
    *,
    said: str,
    typed: Mapping[str, str] | None = None,
) -> Response:
    """Keep what was entered, or show the page with each bad row and what was typed."""
    try:
        with changing(request, caller, section="manage") as (session, screen):
            count = put(session, screen)
            audit.record(
                session,
                actor=caller.email,
                action=said.replace("_", ".", 1),
                subject=screen.library.slug,
                now=screen.now,
                library_id=screen.library.id,
                count=count,
            )
            return RedirectResponse(f"{PAGE}?said={said}", status_code=303)
    except (BadActivity, BadHistory) as error:
        problems = [
            screen.text("activity.bad_row", number=number, why=why)
            for number, why in error.rows[:SHOWN_PROBLEMS]
        ]
        if len(error.rows) > SHOWN_PROBLEMS:
            problems.append(screen.text("activity.more_bad", n=len(error.rows) - SHOWN_PROBLEMS))
    except (BadRequest, ValueError) as error:
        problems = [str(error)]
    with reading(request, caller, section="manage") as (session, screen):
        selection = _selection(screen, None, None)
        return _page(session, screen, selection, typed=typed, problems=problems, status=422)
