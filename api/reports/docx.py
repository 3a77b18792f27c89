"""A report as an office document: what an office passes on and edits."""

import io
from datetime import datetime

from docx import Document
from docx.document import Document as Paper
from docx.enum.section import WD_ORIENT
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor
from docx.table import _Cell

from api.reports.cells import plain
from api.reports.content import Amount, Chart, Content, Headline, Table
from api.reports.fonts import picture

EAST_ASIAN = {"zh-Hans": "Microsoft YaHei", "zh-Hant": "Microsoft JhengHei"}
LATIN = "Calibri"
# What spelling is checked by, and what a screen reader speaks: for Latin letters, for Chinese.
SPOKEN = {
    "zh-Hans": ("en-US", "zh-CN"),
    "zh-Hant": ("en-US", "zh-TW"),
    "en": ("en-GB", "zh-CN"),
    "vi": ("vi-VN", "zh-CN"),
}
ACCENT = RGBColor(0x0B, 0x6B, 0x63)
MUTED = RGBColor(0x56, 0x5D, 0x6B)


def write(content: Content, *, made_at: datetime) -> bytes:
    """The document, on A4."""
    paper = Document()
    _page(paper)
    _styles(paper, content.language)
    _properties(paper, content, made_at)
    paper.add_paragraph(plain(content.library)).runs[0].font.color.rgb = MUTED
    paper.add_heading(plain(content.title), level=0)
    paper.add_paragraph(plain(content.period)).runs[0].bold = True
    for line in content.stamps:
        _muted(paper, line)
    _opening(paper, content)
    for passage in (content.problems, content.measures):
        paper.add_heading(plain(passage.heading), level=1)
        for line in plain(passage.text).splitlines():
            paper.add_paragraph(line)
    paper.add_heading(plain(content.headings["headline"]), level=1)
    for headline in content.headlines:
        _headline(paper, headline)
    correction = content.table("corrections")
    if correction is not None:
        paper.add_heading(plain(correction.title), level=1)
        _table(paper, correction)
    paper.add_heading(plain(content.headings["weeks"]), level=1)
    for chart in content.charts:
        _chart(paper, chart)
    _tables(paper, content)
    _method(paper, content)
    out = io.BytesIO()
    paper.save(out)
    return out.getvalue()


def _page(paper: Paper) -> None:
    section = paper.sections[0]
    section.orientation = WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2)
    section.top_margin = section.bottom_margin = Cm(1.8)


def _styles(paper: Paper, language: str) -> None:
    """Fonts by name: Word takes the East Asian one for Chinese, whatever the Latin one is."""
    far = EAST_ASIAN.get(language, "Microsoft YaHei")
    latin, chinese = SPOKEN[language]
    for tag in paper.styles.element.iter(qn("w:lang")):
        tag.set(qn("w:val"), latin)
        tag.set(qn("w:eastAsia"), chinese)
    for name in ("Normal", "Title", "Heading 1", "Heading 2", "Caption"):
        style = paper.styles[name]
        style.font.name = LATIN
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{theme}"), None)
        fonts.set(qn("w:eastAsia"), far)
        if name != "Normal":
            style.font.color.rgb = RGBColor(0, 0, 0) if name == "Title" else ACCENT
    paper.styles["Normal"].font.size = Pt(10.5)
    paper.styles["Normal"].paragraph_format.space_after = Pt(4)


def _properties(paper: Paper, content: Content, made_at: datetime) -> None:
    facts = paper.core_properties
    facts.title = plain(f"{content.title}, {content.period}")[:255]
    facts.author, facts.comments = plain(content.library)[:255], ""
    facts.language = content.language
    facts.created = facts.modified = made_at.replace(tzinfo=None)


def _opening(paper: Paper, content: Content) -> None:
    paper.add_heading(plain(content.headings["opening"]), level=1)
    space = " " if content.language in {"en", "vi"} else ""
    paper.add_paragraph(plain(space.join(content.opening)))


def _headline(paper: Paper, headline: Headline) -> None:
    paper.add_heading(plain(headline.label), level=2)
    value = paper.add_paragraph().add_run(plain(headline.value))
    value.bold, value.font.size, value.font.color.rgb = True, Pt(22), ACCENT
    _muted(paper, headline.clock)
    for line in headline.details:
        paper.add_paragraph(plain(line), style="List Bullet")


def _chart(paper: Paper, chart: Chart) -> None:
    paper.add_heading(plain(chart.title), level=2)
    shape = paper.add_picture(io.BytesIO(picture(chart.svg)), width=Cm(17))
    described = shape._inline.docPr  # python-docx has no other way to a picture's description
    described.set("descr", plain(chart.summary))
    described.set("title", plain(chart.title))
    paper.add_paragraph(plain(chart.summary))
    _table(paper, chart.table)


def _tables(paper: Paper, content: Content) -> None:
    is_first_channel = True
    for table in content.printed:
        if table.key == "corrections":
            continue
        if table.key.startswith("channels_"):
            if is_first_channel:
                paper.add_heading(plain(content.headings["channels"]), level=1)
                is_first_channel = False
            paper.add_heading(plain(table.title), level=2)
        else:
            paper.add_heading(plain(table.title), level=1)
        if table.note:
            _muted(paper, table.note)
        _table(paper, table)


def _table(paper: Paper, table: Table) -> None:
    grid = paper.add_table(rows=1, cols=len(table.head), style="Table Grid")
    grid.alignment = WD_TABLE_ALIGNMENT.CENTER
    _repeat_head(grid.rows[0]._tr)
    for slot, name in zip(grid.rows[0].cells, table.head, strict=True):
        _fill(slot, name, bold=True)
    for number, row in enumerate(table.rows, start=1):
        is_total = table.has_total and number == len(table.rows)
        for slot, value in zip(grid.add_row().cells, row, strict=True):
            is_number = isinstance(value, Amount)
            text = value.shown if isinstance(value, Amount) else value
            _fill(slot, text, bold=is_total, right=is_number)
    paper.add_paragraph()


def _repeat_head(row: object) -> None:
    """The heading stands again on each page that the table runs over."""
    properties = row.get_or_add_trPr()  # type: ignore[attr-defined]
    properties.append(properties.makeelement(qn("w:tblHeader"), {qn("w:val"): "true"}))


def _fill(slot: _Cell, text: str, *, bold: bool = False, right: bool = False) -> None:
    paragraph = slot.paragraphs[0]
    paragraph.paragraph_format.space_after = Pt(0)
    if right:
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    run = paragraph.add_run(plain(text))
    run.bold, run.font.size = bold, Pt(9)


def _method(paper: Paper, content: Content) -> None:
    """On a page of its own, small enough to stay on one."""
    heading = paper.add_heading(plain(content.headings["method"]), level=1)
    heading.paragraph_format.page_break_before = True
    for passage in content.method:
        paragraph = paper.add_paragraph()
        paragraph.paragraph_format.space_after = Pt(3)
        for text, bold in ((f"{passage.heading}. ", True), (passage.text, False)):
            run = paragraph.add_run(plain(text))
            run.bold, run.font.size = bold, Pt(9)


def _muted(paper: Paper, text: str) -> None:
    run = paper.add_paragraph().add_run(plain(text))
    run.font.size, run.font.color.rgb = Pt(9), MUTED
