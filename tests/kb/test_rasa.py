"""Rasa training data: written so that nothing is lost, read from assistants of others."""

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kb
from kb.entries import EntryData
from kb.errors import BadFile
from kb.files import load_file
from kb.rasa import load_rasa, write_rasa

STARTER = Path(kb.__file__).parent / "starter" / "kb.yaml"
EXAMPLE = Path(kb.__file__).parent.parent / "bot" / "rasa"
ENTRY = EntryData(
    "renew-books",
    "circulation",
    {"zh": ("怎么续借？", "续借[教材](必修)"), "en": ("How do I renew?", "wifi"), "vi": ("wifi",)},
    {"en": "Press Renew.\n\nOr come to the desk.", "zh": "点“续借”。"},
    tags=("live:hours",),
    url="https://example.org/renew",
)
ASSISTANT = """
version: "3.1"
intents: [greet, ask_hours, topic_fine, price]
nlu:
- intent: greet
  examples: |
    - hello
- intent: ask_hours
  examples: |
    - when do you [open](time)
    - are you open on [Sunday]{"entity": "day", "value": "sun"}
    - 图书馆几点开门
- intent: topic_fine
  examples:
  - text: |
      - how much is the fine
    metadata: {sentiment: neutral}
- intent: chitchat/weather
  examples: |
    - is it raining
- intent: faq/Lost_Card
  examples: |
    - I lost my card
- intent: faq/lost-card
  examples: |
    - card gone
- intent: price
  examples: |
    - what is the price
- intent: 预约
  examples: |
    - 怎么预约
- synonym: wifi
  examples: |
    - wlan
responses:
  utter_greet: [{text: Hello}]
  utter_hours:
  - text: "Open 8 to 22."
  - text: "每天8点到22点开放。"
  - text: "Open from eight."
  utter_topic_fine: [{text: "10 cents a day.", buttons: [{title: Pay, payload: /pay}]}]
  utter_chitchat/weather: [{text: "No idea."}]
  utter_faq/Lost_Card: [{text: "Come to the desk."}]
  utter_faq/lost-card: [{text: "Come."}]
  utter_price: [{text: "It costs {price}."}]
  utter_预约: [{text: "点预约。"}]
rules:
- rule: hours
  steps:
  - intent: ask_hours
  - action: utter_hours
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "nlu.yml"


def there_and_back(file, *entries):
    write_rasa(file, entries)
    return load_rasa(file).entries


def test_the_starter_comes_back_unchanged(file):
    entries = load_file(STARTER)

    assert list(there_and_back(file, *entries)) == entries


def test_what_rasa_would_take_for_an_entity_is_only_text(file):
    (entry,) = there_and_back(file, ENTRY)

    assert entry.questions["zh"] == ("怎么续借？", "续借[教材] (必修)")
    assert entry.questions["vi"] == ("wifi",)
    assert entry.answers == ENTRY.answers
    assert (entry.tags, entry.url, entry.category) == (ENTRY.tags, ENTRY.url, ENTRY.category)


def test_rasas_own_form_is_written(file):
    write_rasa(file, [ENTRY])

    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    (intent,) = document["nlu"]
    assert intent["intent"] == "faq/renew-books"
    assert intent["examples"].splitlines()[0] == "- 怎么续借？"
    responses = document["responses"]["utter_faq/renew-books"]
    assert [row["text"] for row in responses] == [*ENTRY.answers.values(), ENTRY.answers["en"]]
    assert "condition" not in responses[-1]
    assert document["version"] == "3.1"


def test_an_entry_without_an_answer_is_written_without_a_response(file):
    write_rasa(file, [EntryData("a", "x", {"en": ("Why?",)}, {})])

    assert "responses" not in yaml.safe_load(file.read_text(encoding="utf-8"))


PLAIN = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="-[]{}/"),
    min_size=1,
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.dictionaries(st.sampled_from(["zh", "en", "vi"]), st.tuples(PLAIN, PLAIN), min_size=1),
    st.dictionaries(st.sampled_from(["zh", "en", "vi"]), PLAIN, min_size=1),
)
def test_any_texts_come_back_in_their_language(file, questions, answers):
    entry = EntryData(
        "a-b", "x", {k: tuple(dict.fromkeys(v)) for k, v in questions.items()}, answers
    )

    (back,) = there_and_back(file, entry)

    assert back.questions == entry.questions
    assert back.answers == entry.answers


def test_an_assistant_of_others_is_read(file):
    file.write_text(ASSISTANT, encoding="utf-8")

    found = load_rasa(file)

    entries = {entry.id: entry for entry in found.entries}
    assert entries["ask-hours"].questions == {
        "zh": ("图书馆几点开门",),
        "en": ("when do you open", "are you open on Sunday"),
    }
    assert entries["ask-hours"].answers == {"zh": "每天8点到22点开放。", "en": "Open 8 to 22."}
    assert entries["topic-fine"].questions == {"en": ("how much is the fine",)}
    assert entries["topic-fine"].answers == {"en": "10 cents a day."}
    assert entries["lost-card"].category == "faq"
    assert [e.answers for e in found.entries if e.id.startswith("intent-")] == [{"zh": "点预约。"}]


def test_what_gives_no_entry_is_named_with_its_reason(file):
    file.write_text(ASSISTANT, encoding="utf-8")

    left_out = dict(load_rasa(file).left_out)

    assert set(left_out) == {"greet", "chitchat/weather", "faq/lost-card", "price"}
    assert "small talk" in left_out["greet"]
    assert "taken" in left_out["faq/lost-card"]
    assert "response" in left_out["price"]


def test_a_folder_is_read_whole(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nlu.yml").write_text(
        "nlu:\n- intent: hours\n  examples: |\n    - when are you open\n", encoding="utf-8"
    )
    (tmp_path / "domain.yaml").write_text(
        "responses:\n  utter_hours:\n  - text: At eight.\n", encoding="utf-8"
    )

    (entry,) = load_rasa(tmp_path).entries

    assert (entry.id, entry.answers) == ("hours", {"en": "At eight."})


def test_our_example_assistant_gives_back_the_entries_and_nothing_more(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "assistant")
    write_rasa(tmp_path / "assistant" / "data" / "faq.yml", [ENTRY])

    found = load_rasa(tmp_path / "assistant")

    assert [entry.id for entry in found.entries] == [ENTRY.id]
    assert "refdesk_ask_librarian" in dict(found.left_out)


def test_edited_examples_fall_back_to_their_own_language(file):
    write_rasa(file, [ENTRY])
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("- How do I renew?\n", ""), encoding="utf-8")

    (entry,) = load_rasa(file).entries

    assert entry.questions["zh"] == ("怎么续借？", "续借[教材] (必修)")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nlu: 7",
        "nlu: [7, {}, {intent: 7}]",
        "a: [",
        "nlu:\n- intent: x\n",
        "\tx",
        "&a [*a]",
    ],
)
def test_what_is_no_assistant_is_refused_with_a_sentence(file, text):
    file.write_text(text, encoding="utf-8")

    with pytest.raises(BadFile) as refusal:
        load_rasa(file)

    assert refusal.value.rows


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(BadFile):
        load_rasa(tmp_path)
