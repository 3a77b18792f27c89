"""The thesaurus: every concept is well formed and no wording leads two ways by mistake."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import snowballstemmer
import yaml

KB = Path(__file__).parents[2] / "kb"
FILES = sorted((KB / "thesaurus").glob("*.yaml"))
LANGUAGES = ("zh", "en", "vi")
# One character says too little in Chinese, save for these verbs and adjectives.
SAFE_CHARACTERS = set("咋买寄忘丢吵脏")
# "mượn" (borrow) and "muộn" (late) are one word without marks, and neither can be spared.
KNOWN_WITHOUT_MARKS = {"muon"}


def key(form: str) -> str:
    return unicodedata.normalize("NFKC", form).lower().strip()


def without_marks(form: str) -> str:
    decomposed = unicodedata.normalize("NFD", key(form).replace("đ", "d"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def concepts() -> list[dict[str, Any]]:
    return [
        concept
        for file in FILES
        for concept in yaml.safe_load(file.read_text(encoding="utf-8"))["concepts"]
    ]


CONCEPTS = concepts()


def forms(language: str) -> Iterator[tuple[str, str]]:
    for concept in CONCEPTS:
        for form in concept.get(language, ()):
            yield concept["id"], form


def owners(pairs: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for concept, form in pairs:
        found[form].add(concept)
    return found


def declared(concept_id: str) -> set[str]:
    concept = next(c for c in CONCEPTS if c["id"] == concept_id)
    return {key(form) for form in concept.get("ambiguous", ())}


def test_every_file_says_in_its_first_line_what_it_holds() -> None:
    for file in FILES:
        assert file.read_text(encoding="utf-8").startswith("# "), file.name


def test_it_covers_the_service_of_a_library() -> None:
    assert len(CONCEPTS) >= 560


def test_ids_are_unique_over_all_files() -> None:
    ids = [concept["id"] for concept in CONCEPTS]
    assert sorted(set(ids)) == sorted(ids)


def test_ids_are_kebab_case() -> None:
    wrong = [c["id"] for c in CONCEPTS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", c["id"])]
    assert wrong == []


def test_a_concept_holds_only_known_fields_and_a_gloss() -> None:
    for concept in CONCEPTS:
        assert set(concept) <= {"id", "gloss", "zh", "en", "vi", "ambiguous"}, concept["id"]
        assert concept["gloss"].strip(), concept["id"]


def test_every_concept_bridges_at_least_two_languages() -> None:
    narrow = [c["id"] for c in CONCEPTS if sum(bool(c.get(lang)) for lang in LANGUAGES) < 2]
    assert narrow == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_forms_are_texts_without_blanks_and_without_repetition(language: str) -> None:
    for concept in CONCEPTS:
        texts = concept.get(language, [])
        assert all(isinstance(text, str) for text in texts), concept["id"]
        keys = [key(text) for text in texts]
        assert all(keys), concept["id"]
        assert len(set(keys)) == len(keys), concept["id"]


def test_a_single_chinese_character_is_never_a_form_unless_known_to_be_safe() -> None:
    short = {form for _, form in forms("zh") if len(form) == 1}
    assert short <= SAFE_CHARACTERS


def test_chinese_forms_are_written_in_simplified_characters() -> None:
    telling = set("圖書館還續預約開閉間網電腦證號學費罰歸閱覽讀討論錄檔")
    assert [form for _, form in forms("zh") if telling & set(form)] == []


def test_a_form_leads_to_one_concept_or_is_declared_in_both() -> None:
    everything = owners(
        (concept, key(form)) for language in LANGUAGES for concept, form in forms(language)
    )
    for form, ids in everything.items():
        if len(ids) > 1:
            assert len(ids) == 2, (form, ids)
            assert all(form in declared(concept) for concept in ids), (form, ids)


def test_a_form_declared_ambiguous_is_a_form_of_exactly_two_concepts() -> None:
    everything = owners(
        (concept, key(form)) for language in LANGUAGES for concept, form in forms(language)
    )
    for concept in CONCEPTS:
        for form in declared(concept["id"]):
            assert concept["id"] in everything[form], (concept["id"], form)
            assert len(everything[form]) == 2, (concept["id"], form)


def test_english_forms_stay_apart_when_their_words_are_cut_to_stems() -> None:
    stemmer = snowballstemmer.stemmer("english")
    stems = owners(
        (concept, " ".join(stemmer.stemWords(key(form).split()))) for concept, form in forms("en")
    )
    clashes = {
        stem: ids
        for stem, ids in stems.items()
        if len(ids) > 1 and not all(declared(concept) for concept in ids)
    }
    assert clashes == {}


def test_vietnamese_forms_stay_apart_when_typed_without_marks() -> None:
    bare = owners((concept, without_marks(form)) for concept, form in forms("vi"))
    clashes = {form for form, ids in bare.items() if len(ids) > 1}
    assert clashes <= KNOWN_WITHOUT_MARKS


def met(text: str, language: str) -> set[str]:
    if language == "zh":
        return {concept for concept, form in forms("zh") if key(form) in key(text)}
    words = " " + " ".join(re.findall(r"[\w/&+'-]+", key(text))) + " "
    return {concept for concept, form in forms(language) if f" {key(form)} " in words}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_title_of_the_starter_knowledge_base_meets_a_concept(language: str) -> None:
    starter = yaml.safe_load((KB / "starter" / "kb.yaml").read_text(encoding="utf-8"))
    blind = [
        entry["id"]
        for entry in starter["entries"]
        if not met(entry["questions"][language][0], language)
    ]
    assert blind == []


@pytest.mark.parametrize(
    ("language", "text", "concept"),
    [
        ("zh", "这本书没看完能再借几天吗", "renew"),
        ("en", "may I keep it longer", "renew"),
        ("vi", "em muốn mượn thêm vài ngày", "renew"),
        ("zh", "论文去哪查重", "plagiarism-check"),
        ("en", "is there turnitin here", "plagiarism-check"),
        ("vi", "check đạo văn ở đâu", "plagiarism-check"),
        ("zh", "柜子打不开了", "locker-stuck"),
        ("vi", "quên mk rồi", "forgot-password"),
        ("en", "somewhere to sit and charge my laptop", "power-socket"),
        ("zh", "我想列印讲义", "print"),
    ],
)
def test_colloquial_wording_meets_the_concept(language: str, text: str, concept: str) -> None:
    assert concept in met(text, language)
