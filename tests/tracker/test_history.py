"""History in and out: all or nothing, every bad row named, and nothing lost on the way."""

import gc
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.db import Database
from tests.tracker.histories import random_history
from tests.tracker.samples import NOW, desk_document
from tracker import bulk, consultations, history
from tracker.calendars import save_calendar
from tracker.history import (
    BadHistory,
    _from_cells,
    export_file,
    import_file,
    import_rows,
    read_consultation,
    unformulated,
)
from tracker.models import Consultation, Event, Library
from tracker.rollups import dirty_days
from tracker.stats import stats
from tracker.verify import differences

RECEIVED = "2026-03-10T09:00:00+08:00"


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "c1",
        "library": "demo",
        "channel": "wechat",
        "received_at": RECEIVED,
        "events": [{"at": "2026-03-10T10:00:00+08:00", "kind": "feedback", "by": "林老师"}],
    }
    return {**plain, **changes}


def write(path: Path, *rows: Any) -> Path:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def bad_rows(session: Session, path: Path) -> dict[int, str]:
    with pytest.raises(BadHistory) as caught:
        import_file(session, path, now=NOW)
    return dict(caught.value.rows)


def test_a_row_comes_in_as_given(session: Session, library: Library, tmp_path: Path) -> None:
    report = import_file(session, write(tmp_path / "h.jsonl", row()), now=NOW)

    consultation = consultations.find(session, library.id, "c1")
    assert (report.added, report.replaced, report.events) == (1, 0, 1)
    assert consultation is not None
    assert consultation.received_at == datetime(2026, 3, 10, 1, tzinfo=UTC)
    assert consultation.feedback_by == "林老师"
    assert consultation.answered_micros == 3_600_000_000
    assert dirty_days(session, library.id) == 1


def test_the_same_id_is_replaced_whole(session: Session, library: Library, tmp_path: Path) -> None:
    first = write(tmp_path / "1.jsonl", row(), row(id="c2"))
    second = write(tmp_path / "2.jsonl", row(channel="web", events=[]), row(events=[]))
    import_file(session, first, now=NOW)
    known = consultations.find(session, library.id, "c1")
    assert known is not None
    identity = known.id

    report = import_file(session, second, now=NOW)

    again = consultations.find(session, library.id, "c1")
    assert again is not None
    assert (report.added, report.replaced) == (0, 1)
    assert (again.id, again.channel, again.feedback_at) == (identity, "wechat", None)
    assert session.scalar(select(func.count()).select_from(Event)) == 1


def test_the_same_id_in_another_library_is_another(
    session: Session, library: Library, tmp_path: Path
) -> None:
    session.add(Library(slug="north", name="N", timezone="UTC", created_at=NOW))
    session.flush()

    import_file(session, write(tmp_path / "h.jsonl", row(), row(library="north")), now=NOW)

    assert session.scalar(select(func.count()).select_from(Consultation)) == 2


def test_batches_do_not_show(
    session: Session, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_history("batches", count=50)
    import_file(session, write(tmp_path / "h.jsonl", *rows), now=NOW)
    whole = stats(session, library, at=NOW + timedelta(days=30))
    monkeypatch.setattr(history, "BATCH", 7)

    report = import_file(session, write(tmp_path / "h.jsonl", *reversed(rows)), now=NOW)

    assert report.replaced == 50
    assert stats(session, library, at=NOW + timedelta(days=30)) == whole


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "object"),
        ('{"id": NaN}', "NaN"),
        ("[" * 100_000, "nested|not JSON"),
        ("1" * 10_000, "not JSON|object"),
        (row(id=""), "id is missing"),
        (row(id=None), "id is missing"),
        (row(id=True), "id is missing"),
        (row(id="x" * 256), "longer than 255"),
        (row(id="a\x00b"), "NUL"),
        (row(id="\ud800"), "UTF-8"),
        (row(library="atlantis"), "no library 'atlantis'"),
        (row(channel=""), "channel is missing"),
        (row(received_at=None), "received_at is missing"),
        (row(received_at=1741568400), "not a text"),
        (row(received_at="2026-03-10T09:00:00"), "no offset"),
        (row(received_at="2026-03-10"), "no offset"),
        (row(received_at="yesterday"), "ISO-8601"),
        (row(received_at="2026-02-30T09:00:00Z"), "ISO-8601"),
        (row(received_at="0001-01-01T00:00:00+14:00"), "too far"),
        (row(received_at="9999-12-31T23:59:59-01:00"), "too far"),
        (row(received_at="1969-12-31T23:59:59Z"), "too far"),
        (row(events="none"), "not a list"),
        (row(events=["feedback"]), "object"),
        (row(events=[{"at": RECEIVED, "kind": "answered"}]), "'answered' is not a kind"),
        (row(events=[{"at": RECEIVED, "kind": ["feedback"]}]), "not a kind"),
        (row(events=[{"at": RECEIVED}]), "not a kind"),
        (row(events=[{"kind": "feedback"}]), "at is missing"),
        (row(events=[{"kind": "feedback", "at": "2026-03-10T10:00:00"}]), "no offset"),
        (row(events=[{"at": RECEIVED, "kind": "feedback", "by": 7}]), "texts"),
        (row(events=[{"at": RECEIVED, "kind": "feedback", "text": 7}]), "texts"),
        (row(events=[{"at": RECEIVED, "kind": "feedback", "substantive": "no"}]), "true or false"),
        (row(events=[{"at": RECEIVED, "kind": "merged"}]), "into"),
        (row(events=[{"at": RECEIVED, "kind": "merged", "into": "c1"}]), "into"),
        (row(events=[{"at": RECEIVED, "kind": "acknowledged", "promised_at": "soon"}]), "ISO"),
        (row(events=[{"at": RECEIVED, "kind": "split", "moved": "all"}]), "moved"),
        (row(events=[{"at": RECEIVED, "kind": "corrected", "read_scale": "high"}]), "number"),
        (row(events=[{"at": RECEIVED, "kind": "excluded", "reason": 5}]), "reason is a text"),
    ],
)
def test_a_bad_row_is_named_with_its_number_and_refuses_the_file(
    session: Session, library: Library, tmp_path: Path, line: Any, complaint: str
) -> None:
    path = write(tmp_path / "h.jsonl", row(id="good"), "", line, row(id="also-good"))

    found = bad_rows(session, path)

    assert list(found) == [3]
    assert any(part in found[3] for part in complaint.split("|"))
    assert session.scalar(select(func.count()).select_from(Consultation)) == 0


def test_every_bad_row_is_reported(session: Session, library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", "{", row(), row(channel=None), row(library="x"))

    assert list(bad_rows(session, path)) == [1, 3, 4]


def test_bytes_that_are_no_text_are_a_bad_row(
    session: Session, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b'\n{"id": "\xff"}\n')

    assert bad_rows(session, path) == {2: "the row is not UTF-8 text"}


def test_a_row_of_ten_megabytes_is_refused_and_the_rest_still_read(
    session: Session, library: Library, tmp_path: Path
) -> None:
    huge = json.dumps(row(id="huge", events=[], note="x" * 10_000_000))
    path = write(tmp_path / "h.jsonl", huge, row(), row(id=""))

    found = bad_rows(session, path)

    assert list(found) == [1, 3]
    assert "longer than" in found[1]


def test_events_before_the_receipt_and_after_today_are_taken_in(
    session: Session, library: Library, tmp_path: Path
) -> None:
    events = [
        {"at": "2026-03-10T08:59:00+08:00", "kind": "feedback"},
        {"at": "2099-01-01T00:00:00Z", "kind": "feedback"},
    ]
    import_file(session, write(tmp_path / "h.jsonl", row(events=events)), now=NOW)

    total = stats(session, library, at=NOW + timedelta(days=3))["total"]

    assert total["answered_within_24h"]["matured"] == 1
    assert total["answered_within_24h"]["within"] == 0
    assert total["backlog"]["waiting"] == 1


def test_a_byte_order_mark_and_a_missing_last_newline_do_no_harm(
    session: Session, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode())

    assert import_file(session, path, now=NOW).added == 1


def test_a_history_without_events_is_a_history(
    session: Session, library: Library, tmp_path: Path
) -> None:
    plain = {k: v for k, v in row().items() if k != "events"}

    import_file(session, write(tmp_path / "h.jsonl", plain), now=NOW)

    assert stats(session, library, at=NOW)["total"]["handed_over"] == 1


# --- spreadsheets ------------------------------------------------------------------------


def test_a_spreadsheets_feedback_is_an_answer(
    session: Session, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "h.csv"
    path.write_text(
        "\ufeffid,library,channel,received_at,feedback_at,closed_at,by\n"
        "1,demo,weibo,2026-03-10T09:00:00+08:00,2026-03-10T10:00:00+08:00,"
        "2026-03-11T10:00:00+08:00,林老师\n"
        "2,demo,weibo,2026-03-10T09:00:00+08:00,,,\n"
        ",,,,,,\n",
        encoding="utf-8",
    )

    import_file(session, path, now=NOW)

    total = stats(session, library, at=NOW + timedelta(days=3))["total"]
    assert (total["received"], total["handed_over"]) == (2, 2)
    assert (total["answered_within_24h"]["within"], total["answered_within_24h"]["matured"]) == (
        1,
        2,
    )
    first = consultations.find(session, library.id, "1")
    assert first is not None
    assert (first.status, first.answered_by) == ("closed", "林老师")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("id,library,channel\n1,demo,web\n", (1, "received_at is missing")),
        ("id,library,channel,received_at\n1,demo,web,10.3.2026 9:00\n", (2, "ISO-8601")),
        ("id,library,channel,received_at\n1,demo,web,2026-03-10T09:00\n", (2, "no offset")),
        (f"id,library,channel,received_at\n1,demo,,{RECEIVED}\n", (2, "channel is missing")),
        (f'id,library,channel,received_at\n1,demo,"web,{RECEIVED}\n', (2, "cannot be read")),
        (f"id,library,channel,received_at\n1,demo,w\x00b,{RECEIVED}\n", (2, "NUL")),
    ],
)
def test_a_bad_row_of_a_spreadsheet_has_the_number_that_it_has_there(
    session: Session, library: Library, tmp_path: Path, text: str, named: tuple[int, str]
) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text, encoding="utf-8")

    found = bad_rows(session, path)

    assert named[1] in found[named[0]]


def test_an_excel_sheet_is_a_spreadsheet_too(
    session: Session, library: Library, tmp_path: Path
) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["id", "library", "channel", "received_at", "feedback_at", "closed_at", "by"])
    sheet.append([7, "demo", "web", RECEIVED, None, None, None])
    sheet.append([8, "demo", "web", datetime(2026, 3, 10, 9), None, None, None])  # noqa: DTZ001
    book.save(tmp_path / "h.xlsx")

    found = bad_rows(session, tmp_path / "h.xlsx")

    assert list(found) == [3]
    assert "no offset" in found[3]


# --- out ---------------------------------------------------------------------------------


def test_what_goes_out_comes_in_with_the_same_figures(
    each_database: Database, tmp_path: Path
) -> None:
    rows = random_history("export", count=60)
    at = NOW + timedelta(days=20)
    with each_database.transaction() as session:
        library = Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW)
        session.add(library)
        session.flush()
        save_calendar(session, library.id, "desk", desk_document(), now=NOW, by="test")
        import_file(session, write(tmp_path / "in.jsonl", *rows), now=NOW)
        before = stats(session, library, at=at)

        assert export_file(session, tmp_path / "out.jsonl") == 60
        report = import_file(session, tmp_path / "out.jsonl", now=NOW)

        assert report.replaced == 60
        assert stats(session, library, at=at) == before


def test_texts_can_be_left_out(session: Session, library: Library, tmp_path: Path) -> None:
    events = [{"at": RECEIVED, "kind": "message", "by": "patron", "text": "秘密"}]
    import_file(session, write(tmp_path / "h.jsonl", row(events=events)), now=NOW)

    export_file(session, tmp_path / "with.jsonl", library=library)
    export_file(session, tmp_path / "without.jsonl", library=library, texts=False)

    assert "秘密" in (tmp_path / "with.jsonl").read_text(encoding="utf-8")
    assert "秘密" not in (tmp_path / "without.jsonl").read_text(encoding="utf-8")


def test_a_spreadsheet_goes_out_without_formulas(
    session: Session, library: Library, tmp_path: Path
) -> None:
    import_file(session, write(tmp_path / "h.jsonl", row(id="=1+1", channel="@web")), now=NOW)

    export_file(session, tmp_path / "h.csv")

    lines = (tmp_path / "h.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "id,library,channel,received_at,feedback_at,closed_at,by"
    assert lines[1].startswith("'=1+1,demo,'@web,2026-03-10T01:00:00+00:00,2026-03-10T02:00:00")


@pytest.mark.parametrize("start", ["＝", "＋", "－", "＠", "=", "+", "@"])
def test_no_cell_of_a_spreadsheet_begins_like_a_formula_and_all_come_back(start: str) -> None:
    cell = unformulated(f"{start}1+1")

    assert cell[0] == "'"
    assert _from_cells({"id": cell})["id"] == f"{start}1+1"


def test_progress_is_told_in_bytes(session: Session, library: Library, tmp_path: Path) -> None:
    path = write(tmp_path / "h.jsonl", row(), row(id="c2"))
    seen: list[int] = []

    import_file(session, path, now=NOW, progress=seen.append)

    assert sum(seen) == path.stat().st_size


def test_a_replaced_merge_frees_what_it_was_merged_into(
    session: Session, library: Library, tmp_path: Path
) -> None:
    merge = {"at": "2026-03-11T09:00:00+08:00", "kind": "merged", "into": "b"}
    early = row(id="a", received_at="2026-03-09T09:00:00+08:00", events=[merge])
    import_file(session, write(tmp_path / "1.jsonl", early, row(id="b")), now=NOW)
    survivor = consultations.find(session, library.id, "b")
    assert survivor is not None
    assert survivor.received_at == datetime(2026, 3, 9, 1, tzinfo=UTC)

    import_file(session, write(tmp_path / "2.jsonl", {**early, "events": []}), now=NOW)

    session.refresh(survivor)
    assert survivor.received_at == datetime(2026, 3, 10, 1, tzinfo=UTC)


# --- on both databases -------------------------------------------------------------------


def with_library(database: Database) -> None:
    with database.transaction() as session:
        session.add(Library(slug="demo", name="D", timezone="Asia/Shanghai", created_at=NOW))


def counted(database: Database) -> int:
    with database.snapshot() as session:
        return session.scalar(select(func.count()).select_from(Consultation)) or 0


def test_a_bad_row_at_the_end_takes_back_the_batches_before_it(
    each_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 7)
    with_library(each_database)
    rows = [*random_history("late", count=60), {"id": "bad"}]

    with pytest.raises(BadHistory) as error, each_database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=NOW)

    assert error.value.rows == [(61, "received_at is missing")]
    assert counted(each_database) == 0


def test_what_goes_wrong_while_a_batch_is_written_is_raised(
    each_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(history, "BATCH", 7)
    monkeypatch.setattr(bulk, "insert", fail)
    monkeypatch.setattr(bulk, "_copy_batch", fail)
    with_library(each_database)

    with pytest.raises(OSError, match="no space"), each_database.transaction() as session:
        import_rows(session, enumerate(random_history("full", count=30), start=1), now=NOW)

    assert gc.isenabled()
    assert counted(each_database) == 0


def test_every_column_comes_in_alike_on_both_databases(
    each_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(history, "BATCH", 7)
    with_library(each_database)
    rows = random_history("alike", count=60)
    rows[0]["events"] = [
        {"at": RECEIVED, "kind": "message", "by": "patron", "text": 'tab\t, "quote"\n\\N 续借'},
        {"at": RECEIVED, "kind": "corrected", "read_scale": 4, "odd": {"deep": ["ü", None]}},
        {"at": RECEIVED, "kind": "acknowledged", "promised_at": "2026-03-10T12:00:00.000001Z"},
    ]
    path = tmp_path / "out.jsonl"
    with each_database.transaction() as session:
        import_rows(session, enumerate(rows, start=1), now=NOW)
        import_rows(session, enumerate(rows[::2], start=1), now=NOW)
    with each_database.snapshot() as session:
        library = session.scalars(select(Library)).one()
        assert list(differences(session, library.id)) == []
        export_file(session, path)

    given = {item["id"]: item for item in rows}
    told = {item["id"]: item for item in map(json.loads, path.read_text("utf-8").splitlines())}
    assert told.keys() == given.keys()
    assert told["c0"]["events"][0]["text"] == 'tab\t, "quote"\n\\N 续借'
    for key, item in given.items():
        assert read_consultation(told[key]).stream.opened_at == (
            read_consultation(item).stream.opened_at
        )
        assert sorted(map(repr, read_consultation(told[key]).stream.events)) == sorted(
            map(repr, read_consultation(item).stream.events)
        )
