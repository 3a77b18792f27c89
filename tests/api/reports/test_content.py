"""What a report says, before any file format."""

import re
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from api.i18n import LANGUAGES, catalogue
from api.reports.content import Amount
from api.reports.making import restate, seal, seal_month_before, write_notes
from api.reports.periods import month, terms, whole_year
from api.reports.texts import names, say
from tests.api.reports.conftest import FIRST, LATER, OCTOBER, Told, asked, october, put
from tests.tracker.samples import desk_document
from tracker.calendars import save_calendar
from tracker.figures import ANSWERED, INCLUSIVE, RATES
from tracker.models import Library
from tracker.reports import NotFinal
from tracker.stats import stats

NOVEMBER = month("2026-11")


def test_every_language_says_the_same_things_with_the_same_facts() -> None:
    english = {key: set(re.findall(r"{(\w+)}", say("en", key))) for key in names("en")}

    for language in LANGUAGES:
        assert names(language) == names("en"), language
        for key, facts in english.items():
            if not key.startswith(("period.", "during.")):
                assert set(re.findall(r"{(\w+)}", say(language, key))) == facts, (language, key)


@pytest.mark.parametrize(
    ("language", "rate", "interval"),
    [("en", "41.3%", "31.1–52.2"), ("zh-Hans", "41.3%", "31.1–52.2"), ("vi", "41,3\xa0%", "31,1")],
)
def test_the_report_opens_with_two_sentences_that_hold_the_rate(
    busy: Library, told: Told, language: str, rate: str, interval: str
) -> None:
    first, second = told(busy, language=language).opening

    assert "80" in first
    assert rate in second
    assert interval in second
    assert "33" in second


def test_the_figures_are_those_of_the_statistics(
    session: Session, busy: Library, told: Told
) -> None:
    found = stats(session, busy, start=OCTOBER.start, end=OCTOBER.end, at=LATER)

    content = told(busy)

    for record in content.records:
        if record.scope == "week":
            continue
        block = found["total"] if record.scope == "total" else found["channels"][record.channel]
        share = block[record.figure]
        assert (record.within, record.matured, record.pending) == (
            share["within"],
            share["matured"],
            share["pending"],
        )
        assert record.rate == f"{share['rate']:.6f}"
    weeks = [each for each in content.records if each.scope == "week" and each.figure == ANSWERED]
    assert sum(each.within or 0 for each in weeks) == found["total"][ANSWERED]["within"] == 33
    assert sum(each.matured or 0 for each in weeks) == 80


def test_labels_are_those_of_the_pages_in_every_language(busy: Library, told: Told) -> None:
    for language in LANGUAGES:
        content = told(busy, language=language)

        texts = catalogue(language)
        assert [each.label for each in content.headlines] == [
            texts[f"metric.{INCLUSIVE}"],
            texts[f"metric.{ANSWERED}"],
        ]
        assert content.headlines[0].clock == texts["metric.clock_c24"]


def test_a_difference_that_chance_explains_is_called_so(
    session: Session, library: Library, told: Told
) -> None:
    rows = october(in_time=33, late=47, never=0)
    put(session, [*rows, *_september(13, 19)])

    change = told(library).headlines[1].details

    assert any("which chance alone can explain" in line for line in change)
    assert any("September 2026: 40.6% (13 of 32)" in line for line in change)


def test_a_difference_beyond_chance_is_called_so(busy: Library, told: Told) -> None:
    details = told(busy).headlines[1].details

    # 33/80 against 20/30: 41.25 - 66.67 = -25.4 points; Newcombe -42.3 to -4.3
    assert any("25.4 percentage points lower than in September 2026, more than" in line
               for line in details)  # fmt: skip
    assert any("Difference −25.4 points" in line for line in details)


def test_an_empty_month_shows_dashes_and_never_a_percentage(library: Library, told: Told) -> None:
    content = told(library)

    assert content.opening[0] == "In October 2026, 云岭大学图书馆 received no questions."
    assert [each.value for each in content.headlines] == ["–", "–"]
    shown = [
        cell.shown if isinstance(cell, Amount) else cell
        for table in content.tables
        for row in table.rows
        for cell in row
    ]
    assert not [text for text in shown if "%" in text and "–" not in text]


def test_fewer_than_twenty_are_too_few_to_judge(
    session: Session, library: Library, told: Told
) -> None:
    put(session, october(in_time=10, late=9, never=0))

    content = told(library)

    assert [each.value for each in content.headlines] == ["too few to judge"] * 2
    assert "10 of 19" in content.opening[1]
    assert "%" not in content.opening[1]


def test_a_month_that_still_matures_is_preliminary_and_says_until_when(
    session: Session, library: Library, told: Told
) -> None:
    put(session, october())
    put(session, [asked(500, at=LATER - timedelta(hours=3), answered_after=None)])

    content = told(library, NOVEMBER)

    assert content.state == "preliminary"
    assert any("1 handed-over questions are not yet counted" in line for line in content.stamps)
    assert any("Dec 2026" in line for line in content.stamps)
    assert content.opening[0].startswith("Preliminary: ")


def test_a_sealed_report_keeps_its_figures_and_shows_a_later_correction_beside_them(
    session: Session, busy: Library, told: Told
) -> None:
    seal(session, busy, OCTOBER, now=LATER, by="zhao@example.org")
    put(session, [asked(0, at=FIRST, answered_after=None)])

    content = told(busy, at=LATER + timedelta(days=1))

    assert content.state == "sealed"
    assert content.headlines[1].value == "41.3%"
    assert any("40.0% (32 of 80)" in line for line in content.headlines[1].details)
    table = content.table("corrections")
    assert table is not None
    assert len(table.head) == 3
    row = next(row for row in table.rows if row[0] == content.headlines[1].label)
    assert row[1:] == ("41.3% (33 of 80)", "40.0% (32 of 80)")
    assert any("Sealed on 22 Nov 2026" in line for line in content.stamps)


def test_a_restatement_names_who_and_why_and_keeps_the_earlier_figures(
    session: Session, busy: Library, told: Told
) -> None:
    seal(session, busy, OCTOBER, now=LATER, by="zhao@example.org")
    put(session, [asked(0, at=FIRST, answered_after=None)])
    restate(
        session,
        busy,
        OCTOBER,
        now=LATER + timedelta(days=1),
        by="chen@example.org",
        reason="an answer was booked twice",
    )

    content = told(busy, at=LATER + timedelta(days=2))

    assert content.headlines[1].value == "40.0%"
    table = content.table("corrections")
    assert table is not None
    row = next(row for row in table.rows if row[0] == content.headlines[1].label)
    assert row[1:] == ("41.3% (33 of 80)", "40.0% (32 of 80)")
    assert any("chen@example.org: an answer was booked twice" in line for line in content.stamps)


def test_nothing_is_sealed_before_its_clocks_have_run_out(session: Session, busy: Library) -> None:
    with pytest.raises(NotFinal):
        seal(session, busy, NOVEMBER, now=LATER, by="zhao@example.org")


def test_the_last_month_seals_itself_once(session: Session, busy: Library) -> None:
    assert seal_month_before(session, busy, now=LATER)
    assert not seal_month_before(session, busy, now=LATER + timedelta(hours=1))


def test_a_month_without_questions_is_not_sealed_by_itself(
    session: Session, library: Library
) -> None:
    assert not seal_month_before(session, library, now=LATER)


def test_problems_and_measures_carry_over_to_the_next_report(
    session: Session, busy: Library, told: Told
) -> None:
    write_notes(
        session,
        busy,
        OCTOBER,
        problems="周末无人值班",
        measures="增加一名值班员",
        now=LATER,
        by="zhao@example.org",
    )

    content = told(busy, NOVEMBER)

    assert content.problems.text == "周末无人值班"
    assert content.measures.text == "增加一名值班员"


def test_the_method_names_what_was_left_out_and_how_to_count_again(
    session: Session, library: Library, told: Told
) -> None:
    spam = asked(900, at=FIRST + timedelta(days=2), answered_after=None)
    spam["events"].append(
        {
            "at": (FIRST + timedelta(days=4)).isoformat(),
            "kind": "excluded",
            "by": "lin",
            "reason": "spam",
        }
    )
    put(session, [*october(), spam])

    method = {each.heading: each.text for each in told(library).method}

    assert "Excluded: 1 of 81 received" in method["Exclusions"]
    assert "Of these, 1 were excluded after 24 hours" in method["Exclusions"]
    assert "spam 1" in method["Exclusions"].lower()
    outside = {each.heading: each.text for each in told(library, published=True).method}
    assert "spam 1" not in outside["Exclusions"].lower()
    assert (
        "refdesk stats --library demo --from 2026-10-01 --to 2026-10-31 --at 2026-11-22T04:00:00"
        in method["Recompute"]
    )


def test_for_publication_small_counts_are_hidden_and_so_is_what_would_give_them_away(
    session: Session, library: Library, told: Told
) -> None:
    rows = october()
    for row in rows:
        row["channel"] = "wechat" if int(row["id"][1:]) % 2 else "web"
    rows[0]["channel"] = "viber"
    put(session, rows)

    content = told(library, published=True)

    table = content.table(f"channels_{ANSWERED}")
    assert table is not None
    hidden = [row[0] for row in table.rows if row[1] == "hidden"]
    assert len(hidden) == 2
    assert "Viber" in hidden
    assert content.cases is None
    assert all(record.within is None for record in content.records if record.channel == "viber")


def test_the_cases_recompute_every_rate(busy: Library, told: Told) -> None:
    content = told(busy)
    total = {each.figure: each for each in content.records if each.scope == "total"}

    assert content.cases is not None
    assert len(content.cases.rows) == 80
    for position, figure in enumerate(RATES):
        outcomes = [row[len(row) - len(RATES) + position] for row in content.cases.rows]
        assert outcomes.count("within") == total[figure].within
        assert outcomes.count("within") + outcomes.count("missed") == total[figure].matured


def test_topics_that_few_asked_about_are_one_row(
    session: Session, library: Library, told: Told
) -> None:
    rows = october()
    for number, row in enumerate(rows):
        topic = "renew" if number < 30 else f"rare-{number % 20}"
        row["events"].append(
            {
                "at": row["received_at"],
                "kind": "bot_answer",
                "by": "bot",
                "entry": topic,
            }
        )
    put(session, rows)

    table = told(library, titles={"renew": "How do I renew a book"}).table("topics")

    assert table is not None
    assert table.rows[0][0] == "How do I renew a book"
    assert all(isinstance(row[1], Amount) and (row[1].value or 0) >= 5 for row in table.rows)


def test_a_term_stands_in_the_calendar_of_the_desk(session: Session, library: Library) -> None:
    listed = [{"name": "2026 秋季学期", "from": "2026-09-07", "to": "2027-01-15"}]
    save_calendar(session, library.id, "desk", desk_document(terms=listed), now=LATER, by="tests")

    found = terms(session, library)["2026 秋季学期"]

    assert (found.start.isoformat(), found.end.isoformat()) == ("2026-09-07", "2027-01-15")
    assert found.kind == "term"


def test_a_year_is_named_as_a_year(busy: Library, told: Told) -> None:
    assert told(busy, whole_year("2026"), language="zh-Hans").period == "2026年"


def _september(in_time: int, late: int) -> list[dict[str, object]]:
    outcomes = [5.0] * in_time + [30.0] * late
    return [
        asked(2_000 + number, at=FIRST - timedelta(days=20, hours=number), answered_after=after)
        for number, after in enumerate(outcomes)
    ]
