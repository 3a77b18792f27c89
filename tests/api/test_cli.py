"""The command line as people and scripts meet it."""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.api.conftest import Run

CALENDAR = {
    "versions": [{"valid_from": "2020-01-01", "weekly": {"mon": [["09:00", "17:00"]]}}],
    "exceptions": {},
}
KB = """
entries:
  - id: renew-book
    category: circulation
    questions: {zh: [怎么续借图书], en: [How do I renew a book]}
    answers: {zh: 登录后点续借。, en: Sign in and press Renew.}
"""


@pytest.fixture
def north(run: Run, tmp_path: Path) -> Run:
    """An installation with one library."""
    calendar = tmp_path / "desk.yaml"
    calendar.write_text(yaml.safe_dump(CALENDAR))
    code, _, errors = run(
        *("library", "add", "north", "--name", "North", "--timezone", "Asia/Shanghai"),
        *("--calendar", calendar),
    )
    assert code == 0, errors
    return run


def fine(result: tuple[int, str, str]) -> str:
    """What a command that succeeded printed."""
    code, output, errors = result
    assert code == 0, errors
    return output


def refused(result: tuple[int, str, str]) -> str:
    """The sentence with which a command failed."""
    code, output, errors = result
    assert code == 1, output
    assert "Traceback" not in errors
    return errors


def test_a_new_installation_needs_no_set_up(north: Run) -> None:
    listed = json.loads(fine(north("library", "list", "--json")))

    assert listed == [
        {
            "slug": "north",
            "name": "North",
            "timezone": "Asia/Shanghai",
            "languages": ["zh", "en", "vi"],
            "calendars": ["desk"],
        }
    ]
    assert fine(north("db", "check"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("north",), "exists already"),
        (("North East",), "no short name"),
        (("west", "--timezone", "UTC+8"), "no time zone"),
        (("west", "--languages", "zh,fr"), "Languages are zh, en, vi"),
        (("west", "--calendar", "none.yaml"), "No such file"),
    ],
)
def test_a_library_that_cannot_be_is_refused_in_a_sentence(
    north: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    slug, *rest = arguments
    common = ("--name", "X", "--timezone", "Asia/Shanghai")

    assert sentence in refused(north("library", "add", slug, *common, *rest))


def test_the_key_for_signed_in_patrons_is_printed_and_can_be_renewed(north: Run) -> None:
    first = fine(north("library", "identity-key", "north")).strip()

    assert re.fullmatch("[0-9a-f]{64}", first)
    assert fine(north("library", "identity-key", "north")).strip() == first
    renewed = fine(north("library", "identity-key", "north", "--renew")).strip()
    assert renewed != first
    assert fine(north("library", "identity-key", "north")).strip() == renewed


def test_a_library_is_removed_with_all_that_is_its(north: Run, tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_text(KB)
    fine(north("kb", "import", tmp_path / "kb.yaml"))

    fine(north("library", "remove", "north", "--yes"))

    assert json.loads(fine(north("library", "list", "--json"))) == []
    assert "no library" in refused(north("library", "remove", "north")).lower()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("kb",),
        ("nothing",),
        ("library", "add"),
        ("stats", "--from", "yesterday"),
        ("stats", "--at", "2026-11-23T10:00"),
        ("staff", "add", "a@b.org", "--role", "king"),
        ("demo", "--days", "0"),
        ("serve", "--port", "0"),
        ("serve", "--workers", "2"),
        ("channel", "add", "wechat", "x", "--set", "token"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, errors = run(*arguments)

    assert code == 2 or not arguments
    assert "Traceback" not in errors


# --- knowledge base ----------------------------------------------------------------------


def test_entries_go_in_and_out(north: Run, tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_text(KB)

    planned = json.loads(fine(north("kb", "import", tmp_path / "kb.yaml", "--dry-run", "--json")))
    done = json.loads(fine(north("kb", "import", tmp_path / "kb.yaml", "--json")))
    again = json.loads(fine(north("kb", "import", tmp_path / "kb.yaml", "--json")))
    fine(north("kb", "export", tmp_path / "out.yaml"))

    assert planned["added"] == done["added"] == again["unchanged"] == ["renew-book"]
    exported = yaml.safe_load((tmp_path / "out.yaml").read_text())["entries"]
    assert exported == yaml.safe_load(KB)["entries"]


def test_a_rasa_assistant_goes_in_and_out(north: Run, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "assistant", tmp_path / "faq.yml"
    (theirs / "data").mkdir(parents=True)
    nlu = [
        {"intent": "ask_wifi", "examples": "- how do I connect to [wifi](net)\n- 怎么连接无线网\n"},
        {"intent": "greet", "examples": "- hi\n"},
    ]
    (theirs / "data" / "nlu.yml").write_text(yaml.safe_dump({"version": "3.1", "nlu": nlu}))
    responses = {"utter_ask_wifi": [{"text": "Choose eduroam."}]}
    (theirs / "domain.yml").write_text(yaml.safe_dump({"version": "3.1", "responses": responses}))

    code, _, errors = north("kb", "import", theirs, "--format", "rasa")
    fine(north("kb", "export", ours, "--format", "rasa"))
    again = fine(north("kb", "import", ours, "--format", "rasa"))

    assert (code, errors) == (0, "Left out greet: small talk, which needs no entry.\n")
    assert again == "Added 0, updated 0, unchanged 1.\n"
    document = yaml.safe_load(ours.read_text(encoding="utf-8"))
    assert document["nlu"][0]["intent"] == "faq/ask-wifi"
    assert document["nlu"][0]["examples"].startswith("- 怎么连接无线网\n- how do I connect to wifi")


def test_actions_that_cannot_be_served_are_refused_in_a_sentence(north: Run) -> None:
    values = ("--set", "url=http://rasa:5005", "--set", "action_token=shelf")
    fine(north("channel", "add", "rasa_server", "main", *values))

    assert "no token" in refused(north("actions", "--grpc"))
    assert "of that name" in refused(north("actions", "--account", "other"))


def test_a_file_with_bad_rows_changes_nothing_and_every_row_is_named(
    north: Run, tmp_path: Path
) -> None:
    (tmp_path / "kb.yaml").write_text(
        KB + "  - id: Not Kebab\n    category: x\n  - category: y\n    questions: {en: [a]}\n"
    )

    errors = refused(north("kb", "import", tmp_path / "kb.yaml"))

    assert "Not Kebab" in errors
    assert "id is missing" in errors
    fine(north("kb", "export", tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_evaluation_needs_no_database(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_text(KB)
    asked = [
        {"text": "怎么续借", "lang": "zh", "topic": "renew-book"},
        {"text": "what is the weather on Mars", "lang": "en", "topic": None},
    ]
    queries, predicted = tmp_path / "queries.jsonl", tmp_path / "out.jsonl"
    queries.write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in asked))

    scores = json.loads(
        fine(
            run(
                *("kb", "evaluate", queries, "--kb", tmp_path / "kb.yaml"),
                *("--predictions", predicted, "--json"),
            )
        )
    )

    lines = [json.loads(line) for line in predicted.read_text().splitlines()]
    assert scores
    assert [line["text"] for line in lines] == [each["text"] for each in asked]
    assert lines[0]["candidates"][0]["entry"] == "renew-book"
    assert not (tmp_path / "var" / "refdesk.db").exists()


def test_evaluation_starts_without_the_web_and_the_database() -> None:
    code = (
        "import sys, api.cli.kb, kb.evaluate\n"
        "heavy = {'fastapi', 'uvicorn', 'alembic', 'api.db', 'api.app'} & set(sys.modules)\n"
        "print(*sorted(heavy))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_a_question_is_explained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kb.yaml").write_text(KB)

    found = json.loads(fine(run("ask", "怎么续借图书", "--kb", tmp_path / "kb.yaml", "--json")))

    assert found["candidates"][0]["entry"] == "renew-book"
    assert found["nearest"][0]["phrasing"] == "怎么续借图书"
    assert "renew-book" in fine(run("ask", "怎么续借图书", "--kb", tmp_path / "kb.yaml"))


def test_asked_for_its_hours_a_library_gives_those_of_its_calendar(
    north: Run, tmp_path: Path
) -> None:
    hours = {
        "id": "opening-hours",
        "category": "hours",
        "questions": {"zh": ["几点开门", "开放时间"]},
        "answers": {"zh": "typed text"},
        "tags": ["live:hours"],
    }
    kb = tmp_path / "kb.yaml"
    kb.write_text(yaml.safe_dump({"entries": [*yaml.safe_load(KB)["entries"], hours]}))
    fine(north("kb", "import", kb, "--library", "north"))

    of_library = json.loads(fine(north("ask", "周二几点开门", "--json")))
    of_file = json.loads(fine(north("ask", "周二几点开门", "--kb", kb, "--json")))

    assert "不开放" in of_library["answers"][0]  # open on Mondays only
    assert of_file["answers"] == ["typed text"]  # a file has no calendar


# --- channels and staff ------------------------------------------------------------------

WECHAT = (
    *("--set", "token=readingRoom7", "--set", "app_id=wx5d1f0c7e9a2b4c68"),
    *("--set", "encoding_aes_key=Qm9va3NoZWxmV2luZG93TGFtcERlc2tRdWlldEhvdXb"),
    *("--set", "app_secret=demo-secret-not-real"),
)


def test_the_last_line_of_adding_a_channel_is_its_path(north: Run) -> None:
    output = fine(north("channel", "add", "wechat", "main", *WECHAT))

    assert output.splitlines()[-1] == "/channels/wechat/main"


def test_where_nothing_calls_us_adding_a_channel_says_what_to_run(north: Run) -> None:
    values = [
        part for value in ("url=http://rasa:5005", "auth_token=t") for part in ("--set", value)
    ]

    output = fine(north("channel", "add", "rasa_server", "ours", *values))
    listed = json.loads(fine(north("channel", "list", "--json")))

    assert output.splitlines()[-1] == "refdesk actions --account ours"
    assert "/channels/" not in output
    assert listed[0]["webhook"] is None


def test_secrets_of_a_channel_are_not_shown(north: Run) -> None:
    fine(north("channel", "add", "wechat", "main", *WECHAT))

    shown = fine(north("channel", "show", "main", "--json"))
    listed = fine(north("channel", "list", "--json"))

    assert "demo-secret-not-real" not in shown + listed
    assert "Qm9va3" not in shown + listed
    assert json.loads(shown)["settings"]["app_id"] == "wx5d1f0c7e9a2b4c68"
    assert json.loads(listed)[0]["webhook"] == "/channels/wechat/main"


def test_a_channel_that_admits_nobody_new_says_so_and_is_added(north: Run) -> None:
    given = ("client_key=k", "client_secret=s", "open_id=o", "refresh_token=r")
    settings = [part for value in given for part in ("--set", value)]

    code, output, errors = north("channel", "add", "douyin", "main", *settings)

    assert code == 0
    assert "admits no new applicants" in errors
    assert output.splitlines()[-1] == "/channels/douyin/main"


def test_keyword_replies_become_entries_that_can_be_imported(north: Run, tmp_path: Path) -> None:
    fine(north("channel", "add", "wechat", "main", *WECHAT))
    rules = [
        {
            "rule_name": "Wi-Fi 无线网",
            "keyword_list_info": [{"content": "无线网怎么连"}, {"content": "wifi"}],
            "reply_list_info": [{"type": "text", "content": "用学号登录。"}, {"type": "img"}],
        },
        {
            "rule_name": "海报",
            "keyword_list_info": [{"content": "海报"}],
            "reply_list_info": [{"type": "img", "content": "m"}],
        },
    ]
    export, out = tmp_path / "export.json", tmp_path / "replies.yaml"
    export.write_text(json.dumps({"keyword_autoreply_info": {"list": rules}}))

    code, output, errors = north("channel", "keywords", "main", "--export", export, "--out", out)
    imported = fine(north("kb", "import", out, "--library", "north"))

    assert code == 0
    assert "1 of 2 replies" in output
    assert "a reply of the kind img" in errors
    (entry,) = yaml.safe_load(out.read_text(encoding="utf-8"))["entries"]
    assert entry["questions"] == {"zh": ["无线网怎么连", "wifi"]}
    assert entry["id"].startswith("reply-wi-fi-")
    assert "1" in imported


def test_what_a_channel_does_not_have_is_said(north: Run, tmp_path: Path) -> None:
    given = ("auth_token=x",)
    fine(north("channel", "add", "viber", "v", *(p for g in given for p in ("--set", g))))

    assert "no menu" in refused(north("channel", "menu", "v"))
    assert "no keyword replies" in refused(
        north("channel", "keywords", "v", "--out", tmp_path / "x.yaml")
    )


def test_a_wrong_menu_is_refused_without_a_call(north: Run, tmp_path: Path) -> None:
    fine(north("channel", "add", "wechat", "main", *WECHAT))
    menu = tmp_path / "menu.yaml"
    menu.write_text("button: [{name: x, type: news}]")

    assert "unknown type: news" in refused(north("channel", "menu", "main", "--set", menu))
    assert "cannot be read" in refused(north("channel", "menu", "main", "--set", tmp_path))


def test_a_channel_is_removed(north: Run) -> None:
    fine(north("channel", "add", "wechat", "main", *WECHAT))

    fine(north("channel", "remove", "main", "--yes"))

    assert json.loads(fine(north("channel", "list", "--json"))) == []
    assert refused(north("channel", "show", "main"))


def test_staff_get_a_link_or_a_password_that_works_once_it_is_set(north: Run) -> None:
    linked = json.loads(
        fine(north("staff", "add", "li@example.org", "--role", "librarian", "--json"))
    )
    made = json.loads(
        fine(north("staff", "reset-password", "li@example.org", "--generate", "--json"))
    )
    listed = json.loads(fine(north("staff", "list", "--json")))

    assert linked["link"].startswith("http://127.0.0.1:8000/set-password/")
    assert len(made["password"]) >= 12
    assert listed == [
        {
            "email": "li@example.org",
            "name": "li",
            "role": "librarian",
            "library": "north",
            "disabled": False,
        }
    ]


def test_a_token_is_shown_once(north: Run) -> None:
    made = json.loads(fine(north("token", "add", "dashboard", "--role", "manager", "--json")))
    listed = fine(north("token", "list", "--json"))

    assert made["token"].startswith("refdesk_")
    assert made["token"] not in listed
    fine(north("token", "revoke", made["id"]))


def test_what_the_command_line_did_is_in_the_audit_log(north: Run) -> None:
    fine(north("staff", "add", "li@example.org", "--role", "librarian"))

    entries = json.loads(fine(north("audit", "list", "--json")))
    head = json.loads(fine(north("audit", "verify", "--json")))

    assert [entry["action"] for entry in entries] == ["staff.add", "library.add"]
    assert entries[0]["actor"].startswith("cli")
    assert head["ok"]
    assert refused(north("audit", "verify", "--anchor", "7:abc"))


# --- calendars, history, figures ---------------------------------------------------------


def test_calendars_and_closings_come_from_files(north: Run, tmp_path: Path) -> None:
    closings = tmp_path / "closings.ics"
    closings.write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\n"
        "DTSTART;VALUE=DATE:20261228\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        newline="",
    )

    assert "version 2" in fine(north("calendar", "import", closings))
    assert "no calendar" in refused(north("calendar", "import", closings, "--name", "building"))


def test_cases_are_answered_from_their_inputs(run: Run, tmp_path: Path) -> None:
    cases = {
        "calendars": {"desk": {**CALENDAR, "tz": "Asia/Shanghai"}},
        "cases": [
            {
                "id": "a",
                "calendar": "desk",
                "received_at": "2026-11-23T02:00:00Z",
                "answered_at": "2026-11-23T03:00:00Z",
                "expect": {"open_seconds": -1},
            }
        ],
    }
    (tmp_path / "cases.json").write_text(json.dumps(cases))

    found = json.loads(fine(run("calendar", "evaluate", tmp_path / "cases.json", "--json")))

    assert found["a"]["open_seconds"] == 3600
    assert found["a"]["within_24h"] is True
    (tmp_path / "wrong.json").write_text("{}")
    assert "no case file" in refused(run("calendar", "evaluate", tmp_path / "wrong.json"))


def test_history_goes_in_and_out_and_is_counted(north: Run, tmp_path: Path) -> None:
    row = {
        "id": "c1",
        "library": "north",
        "channel": "wechat",
        "received_at": "2026-11-02T10:00:00+08:00",
        "events": [
            {"at": "2026-11-02T10:00:00+08:00", "kind": "message", "by": "patron", "text": "?"},
            {"at": "2026-11-02T11:00:00+08:00", "kind": "feedback", "by": "li", "text": "!"},
        ],
    }
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(row))

    counts = json.loads(fine(north("consultations", "import", source, "--json")))
    figures = json.loads(fine(north("stats", "--at", "2026-11-22T00:00:00Z", "--json")))
    fine(north("consultations", "export", out, "--no-text"))

    assert counts["added"] == 1
    assert figures["channels"]["wechat"]["answered_within_24h"]["within"] == 1
    assert "text" not in out.read_text()
    everything = fine(north("stats", "--at", "2026-11-22T00:00:00Z"))
    assert "wechat" in everything
    assert "received 2026-11-02 to 2026-11-22 (everything; --from and --to choose)" in everything
    chosen = fine(north("stats", "--from", "2026-11-01", "--at", "2026-11-22T00:00:00Z"))
    assert "received 2026-11-01 to 2026-11-22, at" in chosen


def test_what_somebody_meddled_with_is_found(north: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        "id,library,channel,received_at,feedback_at,by\n"
        "c1,north,wechat,2026-11-02T10:00:00+08:00,2026-11-04T10:00:00+08:00,li\n"
    )
    fine(north("consultations", "import", source))
    assert json.loads(fine(north("consultations", "verify", "--json")))["ok"] is True

    with sqlite3.connect(tmp_path / "var" / "refdesk.db") as connection:
        connection.execute("UPDATE consultation SET feedback_by = 'tran'")

    assert "1 columns of consultations differ" in refused(north("consultations", "verify"))
    code, printed, _ = north("consultations", "verify", "--library", "north", "--json")
    found = json.loads(printed)
    assert (code, found["ok"], found["consultations"]) == (1, False, 1)
    assert found["differences"] == [
        {
            "library": "north",
            "key": "c1",
            "column": "feedback_by",
            "stored": "tran",
            "folded": "li",
        }
    ]


def test_history_with_bad_rows_changes_nothing(north: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "c1"}\nnot json\n')

    errors = refused(north("consultations", "import", source))

    assert "row 1" in errors
    assert "row 2" in errors


def test_a_backup_is_restored(north: Run, tmp_path: Path) -> None:
    fine(north("backup", tmp_path / "copy.db"))
    fine(north("library", "remove", "north", "--yes"))

    fine(north("restore", tmp_path / "copy.db", "--yes"))

    assert json.loads(fine(north("library", "list", "--json")))[0]["slug"] == "north"


def test_a_database_of_another_version_is_not_touched(north: Run, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "var" / "refdesk.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'older'")
    connection.close()

    assert "refdesk db upgrade" in refused(north("library", "list"))


def test_a_wrong_setting_stops_a_command_with_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFDESK_PORT", "many")

    assert refused(run("library", "list")).startswith("REFDESK_PORT is wrong")


def test_an_unknown_patron_cannot_be_erased(north: Run) -> None:
    assert "Nothing is kept" in refused(north("erase", "--channel", "rasa", "--patron", "ann"))
