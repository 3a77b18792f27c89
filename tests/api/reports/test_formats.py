"""Every format opened again: the same numbers, and nothing that a stranger wrote takes effect."""

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from docx import Document
from docx.oxml.ns import qn
from openpyxl import load_workbook
from pypdf import PdfReader
from sqlalchemy.orm import Session

from api.i18n import LANGUAGES
from api.reports import FORMATS, write
from api.reports.cells import cell, plain
from api.reports.content import Content
from api.reports.fonts import NAMES, folder
from tests.api.reports.conftest import LATER, OCTOBER, Told, october, put
from tracker.figures import ANSWERED, RATES
from tracker.models import Library
from tracker.reports import write_notes
from tracker.stats import stats

HOSTILE = (
    '=HYPERLINK("http://evil.example","click")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "\u202e=1+1",
    "\ufeff=1+1",
    "＝1+1",
    "＋1",
    "＠SUM(1)",
)
MARKUP = "<script>alert(1)</script>&\"'#{typst} *bold* $x$ {{ 7*7 }} \x0b\ud83d"


def made(content: Content, form: str) -> bytes:
    return write(content, form=form, made_at=LATER)


@pytest.fixture
def found(session: Session, busy: Library) -> dict[str, Any]:
    return stats(session, busy, start=OCTOBER.start, end=OCTOBER.end, at=LATER)


def test_the_workbook_holds_the_figures_of_the_statistics(
    busy: Library, told: Told, found: dict[str, Any]
) -> None:
    book = load_workbook(io.BytesIO(made(told(busy), "xlsx")))

    for figure, title in (
        (ANSWERED, "Handed over substantive answer"),
        ("feedback_within_24h", "Handed over first response with"),
    ):
        sheet = next(each for each in book if each.title.startswith(title[:20]))
        rows = {row[0]: row for row in sheet.iter_rows(values_only=True)}
        for name, block in (
            ("WeChat", found["channels"]["wechat"]),
            ("Weibo", found["channels"]["weibo"]),
            ("All channels", found["total"]),
        ):
            share = block[figure]
            assert rows[name][1] == (
                share["rate"] if share["matured"] >= 20 else "too few to judge"
            )
            assert rows[name][3:6] == (share["within"], share["matured"], share["pending"])


def test_the_cases_of_the_workbook_recompute_the_rates(
    busy: Library, told: Told, found: dict[str, Any]
) -> None:
    book = load_workbook(io.BytesIO(made(told(busy), "xlsx")), read_only=True)
    rows = list(book["Cases"].iter_rows(min_row=4, values_only=True))

    assert len(rows) == found["total"]["received"] == 80
    for position, figure in enumerate(RATES):
        outcomes = [row[-len(RATES) + position] for row in rows]
        assert outcomes.count("within") == found["total"][figure]["within"]
        assert outcomes.count("missed") == (
            found["total"][figure]["matured"] - found["total"][figure]["within"]
        )


def test_the_csv_file_holds_the_figures_of_the_statistics(
    busy: Library, told: Told, found: dict[str, Any]
) -> None:
    raw = made(told(busy), "csv")

    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    for row in (each for each in rows if each["scope"] == "channel"):
        share = found["channels"][row["channel"]][row["figure"]]
        assert [int(row[name]) for name in ("within", "matured", "pending")] == [
            share["within"],
            share["matured"],
            share["pending"],
        ]
        assert float(row["rate"]) == pytest.approx(share["rate"], abs=1e-6)


def test_the_office_document_holds_the_figures_and_two_pictures(
    busy: Library, told: Told, found: dict[str, Any]
) -> None:
    content = told(busy, language="zh-Hans")
    paper = Document(io.BytesIO(made(content, "docx")))

    text = "\n".join(each.text for each in paper.paragraphs)
    assert "".join(content.opening) in text
    cells = [
        [slot.text for slot in row.cells]
        for table in paper.tables
        for row in table.rows
        if row.cells[0].text == "全部渠道"
    ]
    share = found["total"][ANSWERED]
    assert [
        "全部渠道",
        "41.3%",
        "31.1–52.2",
        str(share["within"]),
        str(share["matured"]),
        "0",
    ] in cells
    assert len(paper.inline_shapes) == 2


@pytest.mark.parametrize(
    ("language", "latin", "chinese"),
    [("zh-Hans", "en-US", "zh-CN"), ("zh-Hant", "en-US", "zh-TW"), ("vi", "vi-VN", "zh-CN")],
)
def test_the_office_document_says_in_which_language_it_is(
    busy: Library, told: Told, language: str, latin: str, chinese: str
) -> None:
    paper = Document(io.BytesIO(made(told(busy, language=language), "docx")))

    tags = list(paper.styles.element.iter(qn("w:lang")))

    assert tags
    assert {(tag.get(qn("w:val")), tag.get(qn("w:eastAsia"))) for tag in tags} == {(latin, chinese)}


class _Words(HTMLParser):
    """What a reader of the page sees, and which elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_web_page_is_one_file_with_the_figures_and_no_script(busy: Library, told: Told) -> None:
    content = told(busy)
    page = made(content, "html").decode()
    read = _Words()
    read.feed(page)

    words = " ".join(" ".join(read.words).split())
    assert " ".join(content.opening) in words
    assert "33 of 80" in words
    assert "script" not in read.elements
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert read.elements.count("svg") == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pdf_has_its_fonts_inside_and_is_tagged(
    busy: Library, told: Told, language: str
) -> None:
    content = told(busy, language=language)
    paper = PdfReader(io.BytesIO(made(content, "pdf")))

    fonts = [
        font
        for page in paper.pages
        for each in page["/Resources"]["/Font"].values()
        for font in each.get_object()["/DescendantFonts"]
    ]
    descriptors = [font.get_object()["/FontDescriptor"].get_object() for font in fonts]
    assert all("/FontFile3" in each or "/FontFile2" in each for each in descriptors)
    assert paper.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert paper.trailer["/Root"]["/Lang"].startswith(language[:2])
    width, height = (float(side) for side in paper.pages[0].mediabox[2:])
    assert (round(width), round(height)) == (595, 842)  # A4 in points


def test_the_pdf_says_what_the_statistics_count(
    busy: Library, told: Told, found: dict[str, Any]
) -> None:
    paper = PdfReader(io.BytesIO(made(told(busy), "pdf")))

    text = " ".join(" ".join(page.extract_text() for page in paper.pages).split())
    for name, block in (("WeChat", found["channels"]["wechat"]), ("All channels", found["total"])):
        share = block[ANSWERED]
        line = f"{share['within']} {share['matured']} {share['pending']}"
        assert re.search(rf"{name} [^ ]+ [^ ]+ {line}", text), (name, line)
    assert "41.3%" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_method_and_exclusions_fit_on_the_last_page(
    busy: Library, told: Told, language: str
) -> None:
    content = told(busy, language=language)
    pages = PdfReader(io.BytesIO(made(content, "pdf"))).pages

    last = "".join(pages[-1].extract_text().split())
    assert "z²/2n" in last  # the interval, fourth passage
    assert "--lib" in last  # the command, last passage
    assert "z²/2n" not in "".join(pages[-2].extract_text().split())


def test_the_same_report_makes_the_same_files(busy: Library, told: Told) -> None:
    content = told(busy)

    for form in ("html", "pdf", "csv"):
        assert made(content, form) == made(content, form), form


def test_an_empty_month_can_be_written_in_every_format(library: Library, told: Told) -> None:
    for language in LANGUAGES:
        content = told(library, language=language)
        for form in FORMATS:
            assert len(made(content, form)) > 500, (language, form)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_a_formula(text: str) -> None:
    assert cell(text)[0] not in "=+-@＝＋－＠\t\r\n "


def test_ordinary_texts_stay_as_they_are() -> None:
    for text in ("图书馆", "a=b", "2026-10-01", "–", "C++", "1-2"):
        assert cell(text) == text


def test_texts_lose_what_a_document_cannot_hold_and_what_turns_it_around() -> None:
    assert plain("a\x00b\x0bc\ud83dd\u202ee\u2066f\n") == "abcdef\n"


def test_no_cell_of_the_workbook_or_the_csv_file_is_a_formula(
    session: Session, library: Library, told: Told
) -> None:
    rows = october()
    for number, row in enumerate(rows):
        row["channel"] = HOSTILE[number % 4]
        row["id"] = f"{HOSTILE[number % len(HOSTILE)].strip()} {number}"
    put(session, rows)
    library.name = HOSTILE[0]
    write_notes(
        session,
        library,
        start=OCTOBER.start,
        end=OCTOBER.end,
        problems=HOSTILE[1],
        measures=HOSTILE[7],
    )
    content = told(library)

    book = load_workbook(io.BytesIO(made(content, "xlsx")))
    cells = [slot for sheet in book for row in sheet.iter_rows() for slot in row]
    assert {slot.data_type for slot in cells} <= {"s", "n", "inlineStr"}
    texts = [str(slot.value) for slot in cells if slot.data_type != "n"]
    texts += [
        text
        for line in csv.reader(io.StringIO(made(content, "csv").decode("utf-8-sig")))
        for text in line
    ]
    assert not [text for text in texts if re.match(r"\s*[=+\-@＝＋－＠]", text)]
    assert any(text.startswith("'=HYPERLINK") for text in texts)


def test_markup_in_a_text_is_only_text(session: Session, library: Library, told: Told) -> None:
    rows = october()
    for row in rows:
        row["channel"] = "<b>x</b>"
    put(session, rows)
    library.name = MARKUP.replace("\ud83d", "")
    write_notes(
        session,
        library,
        start=OCTOBER.start,
        end=OCTOBER.end,
        problems='#set page(fill: red)\n#read("/etc/passwd")\n' + MARKUP.replace("\ud83d", ""),
        measures="]\n#panic()",
    )
    content = told(library)

    read = _Words()
    read.feed(made(content, "html").decode())
    assert "script" not in read.elements
    assert "b" not in read.elements
    assert "<script>alert(1)</script>" in "".join(read.words)
    paper = Document(io.BytesIO(made(content, "docx")))
    assert any("{{ 7*7 }}" in each.text for each in paper.paragraphs)
    assert made(content, "pdf").startswith(b"%PDF-")
    assert load_workbook(io.BytesIO(made(content, "xlsx"))).sheetnames


def test_the_fonts_of_reports_come_with_the_set_up() -> None:
    assert {path.name for path in folder().iterdir()} >= set(NAMES)
