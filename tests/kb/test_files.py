from dataclasses import replace
from datetime import date, datetime

import pytest
from openpyxl import Workbook, load_workbook

from kb.entries import Concept
from kb.errors import BadFile
from kb.files import load_concepts, load_file, write_file


@pytest.mark.parametrize("ending", [".yaml", ".jsonl", ".csv", ".xlsx"])
def test_a_file_that_was_written_is_read_back_unchanged(tmp_path, renew, hours, ending):
    path = tmp_path / f"kb{ending}"

    write_file(path, [renew, hours])

    assert load_file(path) == [renew, hours]


def test_every_wrong_row_is_named(tmp_path):
    path = tmp_path / "kb.yaml"
    path.write_text(
        """
entries:
- id: Bad Key
  category: c
  questions: {en: [a]}
- id: no-question
  category: c
  questions: {}
- id: fine
  category: c
  questions: {en: [b]}
- id: fine
  category: c
  questions: {en: [c]}
- just a text
- id: wrong-language
  category: c
  questions: {fr: [d]}
  valid_until: someday
""",
        encoding="utf-8",
    )

    with pytest.raises(BadFile) as caught:
        load_file(path)

    assert [row.split(":")[0] for row in caught.value.rows] == [
        "entry 1 (Bad Key)",
        "entry 2 (no-question)",
        "entry 4 (fine)",
        "entry 5",
        "entry 6 (wrong-language)",
        "entry 6 (wrong-language)",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kb.yaml", b"entries: ["),
        ("kb.yaml", b"- a\n- b"),
        ("kb.yaml", b"\xff\xfe\x00"),
        ("kb.jsonl", b"{not json}\n"),
        ("kb.csv", b"name,text\na,b\n"),
        ("kb.csv", b""),
        ("kb.xlsx", b"not a workbook"),
        ("kb.txt", b"hello"),
    ],
)
def test_an_unreadable_file_is_refused_with_a_sentence(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(BadFile) as caught:
        load_file(path)

    assert caught.value.rows


def test_an_entry_for_evaluation_needs_no_answers(tmp_path):
    path = tmp_path / "kb.jsonl"
    path.write_text('{"id": "a", "category": "c", "questions": {"en": ["why"]}}\n')

    [entry] = load_file(path)

    assert entry.title("vi") == "why"
    assert entry.answer("en") == ""


def test_dates_typed_into_excel_are_dates(tmp_path):
    book = Workbook()
    book.active.append(["id", "category", "questions_en", "valid_until"])
    book.active.append(["a", "c", "why\nhow come", datetime(2026, 12, 31)])  # noqa: DTZ001 (Excel has no zones)
    book.save(tmp_path / "kb.xlsx")

    [entry] = load_file(tmp_path / "kb.xlsx")

    assert entry.questions == {"en": ("why", "how come")}
    assert entry.valid_until == date(2026, 12, 31)


@pytest.mark.parametrize("start", ["=", "＝", "＋", "－", "＠", "@"])
def test_a_cell_that_looks_like_a_formula_is_written_as_text(tmp_path, renew, start):
    path = tmp_path / "kb.csv"

    write_file(path, [replace(renew, answers={"en": f"{start}1+1"})])

    assert f"'{start}1+1" in path.read_text(encoding="utf-8-sig")
    assert load_file(path)[0].answers == {"en": f"{start}1+1"}


@pytest.mark.parametrize("start", ["=", "＝"])
def test_no_cell_of_a_workbook_is_a_formula(tmp_path, renew, start):
    path = tmp_path / "kb.xlsx"

    write_file(path, [replace(renew, category=f"{start}1+1", answers={"en": f"{start}1+1"})])

    cells = [cell for row in load_workbook(path).worksheets[0].iter_rows() for cell in row]
    assert not any(cell.data_type == "f" for cell in cells)
    assert load_file(path)[0].answers == {"en": f"{start}1+1"}


def test_a_librarys_own_concepts_are_read_from_its_file(tmp_path, renew):
    path = tmp_path / "kb.yaml"
    concept = Concept("east-hall", {"zh": ("东馆",), "en": ("east hall",), "vi": ()})

    write_file(path, [renew], [concept])

    assert load_concepts(path) == [concept]
    assert load_file(path) == [renew]
