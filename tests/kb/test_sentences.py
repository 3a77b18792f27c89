"""The semantic extra on a tiny model of our own; visibly skipped where it is not installed."""

import json
from pathlib import Path

import numpy as np
import pytest

from kb.entries import phrasings
from kb.errors import NoModel
from kb.knowledge import KnowledgeBase, KnowledgeBases
from kb.library import import_entries
from kb.meaning import WITHOUT, SentenceMeaning, meaning
from kb.models import SentenceVector
from kb.reading import Glance
from kb.sentence_store import recall, remember
from kb.sentences import SentenceModel, model_directory, read_safetensors
from tests.kb.conftest import NOW

WORDS_KNOWN = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "renew", "book", "open", "library", "how", "i"]
FIGURES = 8


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    head, body = {"__metadata__": {"format": "np"}}, b""
    for name, array in arrays.items():
        data = array.astype("<f4").tobytes()
        offsets = [len(body), len(body) + len(data)]
        head[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with figures drawn once and a tokenizer of ten words."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    directory.mkdir()
    draw = np.random.default_rng(5)

    def array(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.5, shape)

    arrays = {
        "embeddings.word_embeddings.weight": array(len(WORDS_KNOWN), FIGURES),
        "embeddings.position_embeddings.weight": array(128, FIGURES),
        "embeddings.token_type_embeddings.weight": array(2, FIGURES),
    }
    linear = {"attention.self.query": 1, "attention.self.key": 1, "attention.self.value": 1}
    for layer in range(2):
        for part in (*linear, "attention.output.dense"):
            arrays[f"encoder.layer.{layer}.{part}.weight"] = array(FIGURES, FIGURES)
            arrays[f"encoder.layer.{layer}.{part}.bias"] = array(FIGURES)
        arrays[f"encoder.layer.{layer}.intermediate.dense.weight"] = array(16, FIGURES)
        arrays[f"encoder.layer.{layer}.intermediate.dense.bias"] = array(16)
        arrays[f"encoder.layer.{layer}.output.dense.weight"] = array(FIGURES, 16)
        arrays[f"encoder.layer.{layer}.output.dense.bias"] = array(FIGURES)
    norms = ["embeddings"]
    norms += [
        f"encoder.layer.{at}.{part}" for at in range(2) for part in ("attention.output", "output")
    ]
    for norm in norms:
        arrays[f"{norm}.LayerNorm.weight"] = np.ones(FIGURES)
        arrays[f"{norm}.LayerNorm.bias"] = np.zeros(FIGURES)
    write_safetensors(directory / "model.safetensors", arrays)
    config = {
        "model_type": "bert",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "layer_norm_eps": 1e-12,
    }
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    return directory


def _tokenizer() -> dict[str, object]:
    number = {word: at for at, word in enumerate(WORDS_KNOWN)}
    special = [
        {
            "id": number[word],
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for word in WORDS_KNOWN[:4]
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": number,
        },
    }


@pytest.fixture
def model(tiny: Path) -> SentenceModel:
    pytest.importorskip("tokenizers", reason="the semantic extra is not installed")
    return SentenceModel(tiny)


def glance(text: str, lang: str = "en") -> Glance:
    return Glance(text, (), 0, lang)


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(model):
    texts = ["renew book", "open library", "how i renew book", "renew book"]

    together = model.encode(texts)
    alone = np.vstack([model.encode([text]) for text in texts])

    assert together.shape == (4, FIGURES)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together[0], together[3])


def test_a_sentence_model_speaks_only_of_languages_that_it_knows(model):
    found = SentenceMeaning(model, ["en"]).of([glance("renew book"), glance("怎么续借", "zh")])

    assert found[0].any()
    assert not found[1].any()


def test_a_knowledge_base_learns_with_a_sentence_model_and_says_so(model, renew, hours, tmp_path):
    chosen = SentenceMeaning(model)

    plain = KnowledgeBase([renew, hours], cache=tmp_path)
    semantic = KnowledgeBase([renew, hours], cache=tmp_path, meaning=chosen)
    again = KnowledgeBase([renew, hours], cache=tmp_path, meaning=chosen)

    text = "how i renew book"
    assert semantic.ask(text).candidates[0].entry == "renew-books"
    assert semantic.ask(text) == again.ask(text)
    assert semantic.index_bytes > plain.index_bytes


def test_an_edit_is_met_at_once_with_a_sentence_model(model, renew, hours):
    before = KnowledgeBase([renew], meaning=SentenceMeaning(model))

    after = before.changed([renew, hours], version=2)

    assert after.entry("opening-hours") == hours
    assert after.matcher.model_.dense.shape[1] == before.matcher.model_.dense.shape[1]


def test_vectors_are_stored_once_and_found_again(model, session, renew):
    first, second = SentenceMeaning(model), SentenceMeaning(model)

    stored = 0
    while batch := remember(session, first, [renew], limit=700):
        stored += batch
    recall(session, second, [renew])

    texts = [phrasing.text.lower() for phrasing in phrasings([renew]) if phrasing.lang == "en"]
    assert stored == session.query(SentenceVector).count() > 700
    assert all(second.knows(text) for text in texts)
    assert np.allclose(second.encoded(texts), model.encode(texts), atol=1e-6)


def test_a_library_learns_from_stored_vectors(model, session, renew, hours):
    import_entries(session, 1, [renew, hours], now=NOW, by="lin")
    while remember(session, SentenceMeaning(model), [renew, hours], limit=1_000):
        pass
    chosen = SentenceMeaning(model)
    asked: list[list[str]] = []
    encode = model.encode
    model.encode = lambda texts: asked.append(list(texts)) or encode(texts)  # type: ignore[method-assign]

    KnowledgeBases(meaning=chosen).of(session, 1, today=NOW.date())

    assert [texts for texts in asked if texts != ["width"]] == []


def test_what_is_no_model_is_said_in_a_sentence(tmp_path):
    with pytest.raises(NoModel, match="neither a directory nor an installed package"):
        meaning("no-such-package-anywhere")
    with pytest.raises(NoModel, match=r"tokenizer\.json|extra"):
        meaning(str(tmp_path))


def test_without_a_model_there_is_no_such_view():
    assert meaning(None) is WITHOUT
    assert meaning(None).of([glance("renew")]).shape == (1, 0)


def test_a_package_that_carries_a_model_is_found(tmp_path, monkeypatch):
    package = tmp_path / "some_model"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "tokenizer.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert model_directory("some-model") == package / "model"


def test_figures_of_another_kind_are_refused(tmp_path):
    head = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "m").write_bytes(len(head).to_bytes(8, "little") + head + b"\0\0")

    with pytest.raises(NoModel, match="BF16"):
        read_safetensors(tmp_path / "m")
