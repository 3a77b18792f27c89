"""A report as a spreadsheet: a sheet per table, the cases last."""

import io
import re
from datetime import datetime

from openpyxl import Workbook
from openpyxl.cell import Cell as SheetCell
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from api.reports.cells import cell
from api.reports.content import Amount, Cell, Content, Table

BOLD, TITLE = Font(bold=True), Font(bold=True, size=14)
SHADE = PatternFill("solid", fgColor="E6F2F0")
WRAP = Alignment(wrap_text=True, vertical="top")
HEAD = Alignment(wrap_text=True, vertical="bottom")
NARROW, WIDE, WIDEST = 12, 22, 60
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")
LONGEST_TITLE = 31


def write(content: Content, *, made_at: datetime) -> bytes:
    """The workbook."""
    book = Workbook(write_only=True)
    book.properties.creator = "refdesk"
    book.properties.title = cell(f"{content.title}, {content.library}, {content.period}")
    book.properties.created = book.properties.modified = made_at.replace(tzinfo=None)
    _summary(book, content)
    for chart in content.charts:
        _sheet(book, f"{content.headings['weeks']} {chart.table.title}", chart.table)
    for table in content.tables:
        _sheet(book, table.title, table)
    _method(book, content)
    if content.cases is not None:
        _sheet(book, content.cases.title, content.cases)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _summary(book: Workbook, content: Content) -> None:
    sheet = _new(book, content.headings["summary"])
    sheet.column_dimensions["A"].width = WIDEST
    for column in "BCD":
        sheet.column_dimensions[column].width = WIDE
    _line(sheet, content.title, font=TITLE)
    _line(sheet, content.library, font=BOLD)
    _line(sheet, content.period, font=BOLD)
    for text in content.stamps:
        _line(sheet, text)
    _line(sheet, "")
    _line(sheet, content.headings["opening"], font=BOLD)
    for text in content.opening:
        _line(sheet, text)
    for passage in (content.problems, content.measures):
        _line(sheet, "")
        _line(sheet, passage.heading, font=BOLD)
        _line(sheet, passage.text)
    for headline in content.headlines:
        _line(sheet, "")
        sheet.append([_made(sheet, headline.label, BOLD), _made(sheet, headline.worth, BOLD)])
        for text in (headline.clock, *headline.details):
            _line(sheet, text)


def _method(book: Workbook, content: Content) -> None:
    sheet = _new(book, content.headings["method"])
    sheet.column_dimensions["A"].width = WIDE
    sheet.column_dimensions["B"].width = 2 * WIDEST
    for passage in content.method:
        sheet.append([_made(sheet, passage.heading, BOLD), _made(sheet, passage.text)])


def _sheet(book: Workbook, name: str, table: Table) -> None:
    sheet = _new(book, name)
    for index, is_number in enumerate(table.numeric, start=1):
        width = NARROW if is_number else WIDE
        if index == 1 and table.key != "cases":
            width = 2 * WIDE
        sheet.column_dimensions[get_column_letter(index)].width = width
    rows = 2
    sheet.append([_made(sheet, table.title, BOLD)])
    if table.note:
        sheet.append([_made(sheet, table.note)])
        rows = 3
    sheet.freeze_panes = f"A{rows + 1}"
    sheet.append([_head(sheet, text) for text in table.head])
    for number, row in enumerate(table.rows, start=1):
        is_total = table.has_total and number == len(table.rows)
        sheet.append([_made(sheet, value, BOLD if is_total else None) for value in row])


def _new(book: Workbook, name: str) -> Worksheet:
    """A sheet with a name that spreadsheets accept, unlike every other."""
    clean = " ".join(_FORBIDDEN.sub(" ", cell(name)).split())[:LONGEST_TITLE].strip() or "-"
    number, title = 2, clean
    while title.casefold() in {known.casefold() for known in book.sheetnames}:
        mark = f" {number}"
        title, number = clean[: LONGEST_TITLE - len(mark)] + mark, number + 1
    sheet: Worksheet = book.create_sheet(title)
    return sheet


def _line(sheet: Worksheet, text: str, *, font: Font | None = None) -> None:
    sheet.append([_made(sheet, text, font)])


def _head(sheet: Worksheet, text: str) -> SheetCell:
    made = _made(sheet, text, BOLD)
    made.fill, made.alignment = SHADE, HEAD
    return made


def _made(sheet: Worksheet, value: Cell, font: Font | None = None) -> SheetCell:
    made = WriteOnlyCell(sheet)
    if isinstance(value, Amount) and value.value is not None:
        made.value = value.value
        made.number_format = "0.0%" if value.is_share else "#,##0"
    else:
        made.value = cell(value.shown if isinstance(value, Amount) else value)
        made.data_type = "s"  # a text, whatever it looks like
        made.alignment = WRAP
    if font is not None:
        made.font = font
    return made
