"""How long the managers' pages of a large library take on SQLite: processor and wall time.

    python -m benchmarks.tracker_pages [--count 1000000] [--keep FILE]

`--keep` leaves the database there, and takes it from there if it exists already.
"""

import argparse
import random
import secrets
import sys
import tempfile
import time
from datetime import datetime, timedelta
from json import dumps, loads
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.app import create_app
from api.db import Database
from api.models import Role
from api.settings import Settings
from api.staff import add_staff
from benchmarks.tracker_import import NOW, line
from tracker.calendars import save_calendar
from tracker.history import import_file
from tracker.models import Library
from tracker.rollups import refresh

MANAGER, PASSWORD = "manager@example.org", "correct horse battery"  # of a throw-away database
HOURS = {day: [["08:30", "17:30"]] for day in ("mon", "tue", "wed", "thu", "fri")}
DESK = {"versions": [{"valid_from": "1990-01-01", "weekly": HOURS}], "exceptions": {}}
YEAR = f"from={(NOW - timedelta(days=365)).date()}&to={NOW.date()}"
PAGES = (
    "/manage",
    f"/manage?{YEAR}",
    "/manage/handling",
    "/manage/handling?whole=true",
    f"/manage/handling?{YEAR}",
    "/manage/cases?figure=received",
    "/manage/cases?figure=answered_within_24h&outcome=missed",
    f"/manage/cases?figure=answered_within_24h&outcome=missed&{YEAR}",
    f"/manage/cases?figure=received&weekday=1&hour=10&{YEAR}",
    "/manage/cases?figure=next_response",
    "/manage/cases?figure=staffed_target",
    "/manage/cases?figure=resolution",
    "/manage/cases?figure=reopened",
    "/manage/cases?figure=acceptance",
    "/manage/cases?figure=backlog",
    "/manage/cases?figure=closed_unanswered",
    "/desk",
    "/desk?view=done",
    "/desk/mine",
)


def handled(written: str, dice: random.Random) -> str:
    """The same consultation with what librarians do after an answer: more to read for us."""
    row = loads(written)
    last = row["events"][-1]
    if last["kind"] != "feedback":
        return written
    at = datetime.fromisoformat(last["at"])

    def then(hours: float, kind: str, by: str) -> None:
        moment = (at + timedelta(hours=hours)).isoformat()
        row["events"].append({"at": moment, "kind": kind, "by": by})

    if dice.random() < 0.15:
        then(1, "message", "patron")
        then(2, "feedback", "tran")
    if dice.random() < 0.03:
        then(3, "paused", "lin")
        then(20, "resumed", "lin")
    if dice.random() < 0.7:
        then(30, "closed", "lin")
        if dice.random() < 0.05:
            then(60, "reopened", "patron")
    return dumps(row, ensure_ascii=False)


def until_now(written: str) -> str:
    """Without what has not happened yet."""
    row = loads(written)
    row["events"] = [e for e in row["events"] if datetime.fromisoformat(e["at"]) <= NOW]
    return dumps(row, ensure_ascii=False)


def fill(database: Database, folder: Path, count: int) -> None:
    """A library with that many consultations, its hours, a manager and every daily count."""
    history = folder / "history.jsonl"
    dice = random.Random(2)
    with history.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(until_now(handled(line(number, dice, days=365), dice)) + "\n")
    with database.transaction() as session:
        library = Library(slug="demo", name="Demo", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        desk = {"tz": library.timezone, **DESK}
        save_calendar(session, library.id, "desk", desk, now=NOW, by="benchmark")
        add_staff(
            session,
            MANAGER,
            name="Manager",
            role=Role.MANAGER,
            library_id=library.id,
            password=PASSWORD,
            now=NOW,
        )
        import_file(session, history, now=NOW)
    while True:
        with database.transaction() as session:
            if not refresh(session, now=NOW):
                return


def signed_in(database: Database, folder: Path) -> TestClient:
    settings = Settings.load(
        database_url=database.url,
        secret_key=secrets.token_hex(32),
        spool_dir=folder / "spool",
        with_worker=False,
        rate_limits=False,
        log_level="error",
    )
    client = TestClient(create_app(settings, clock=lambda: NOW, database=database))
    page = client.get("/sign-in").text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    client.post("/sign-in", data={"csrf": csrf, "email": MANAGER, "password": PASSWORD})
    return client


def measure(client: TestClient) -> None:
    for page in PAGES:
        spent = []
        for _ in range(3):
            wall, used = time.perf_counter(), time.process_time()
            answer = client.get(page)
            spent.append((time.process_time() - used, time.perf_counter() - wall))
            assert answer.status_code == 200, (page, answer.status_code)
        used, wall = min(spent)
        sys.stdout.write(f"{page:80s}{used * 1000:8.0f} ms processor{wall * 1000:8.0f} ms\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(f"sqlite:///{arguments.keep or folder / 'pages.db'}", durable=False)
        database.create_all()
        with database.snapshot() as session:
            is_empty = _is_empty(session)
        if is_empty:
            fill(database, folder, arguments.count)
        measure(signed_in(database, folder))
        database.close()


def _is_empty(session: Session) -> bool:
    return session.scalar(select(Library.id).limit(1)) is None


if __name__ == "__main__":
    main()
