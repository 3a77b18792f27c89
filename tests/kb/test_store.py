import numpy as np
import pytest

from kb import store
from kb.knowledge import KnowledgeBase

ARRAYS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "rows": np.zeros(0, np.int32)}


def test_what_was_saved_is_loaded_memory_mapped(tmp_path):
    store.save(tmp_path / "a-1", ARRAYS, {"names": ["续借"]})

    arrays, state = store.load(tmp_path / "a-1")

    assert state == {"names": ["续借"]}
    assert isinstance(arrays["weights"].base, np.memmap)
    assert np.array_equal(arrays["weights"], ARRAYS["weights"])


@pytest.mark.parametrize("name", ["weights.npy", "rows.npy", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_a_damaged_state_is_refused(tmp_path, name, damage):
    store.save(tmp_path / "a-1", ARRAYS, {"names": ["a"]})
    path = tmp_path / "a-1" / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        flipped = content[:-2] + bytes([content[-2] ^ 255]) + content[-1:]
        path.write_bytes({"flip": flipped, "cut": content[:-3], "empty": b""}[damage])

    assert store.load(tmp_path / "a-1") is None


def test_nothing_that_was_never_saved_is_found(tmp_path):
    assert store.load(tmp_path / "nothing") is None


def test_other_owners_states_are_left_alone(tmp_path):
    for name in ("1-old", "1-new", "11-old"):
        store.save(tmp_path / name, ARRAYS, {})

    store.forget_others(tmp_path / "1-new")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-new", "11-old"]


def test_a_knowledge_base_is_learned_once_and_then_recalled(tmp_path, renew, hours, monkeypatch):
    first = KnowledgeBase([renew, hours], cache=tmp_path)
    monkeypatch.setattr("kb.model.fit_logistic", None)  # learning again would fail

    second = KnowledgeBase([renew, hours], cache=tmp_path)

    for text in ("Can I keep my book longer", "周末开馆吗", "pizza"):
        assert second.ask(text) == first.ask(text)


def test_a_damaged_cache_is_learned_anew(tmp_path, renew, hours):
    first = KnowledgeBase([renew, hours], cache=tmp_path)
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(b"\x93NUMPY damaged")

    second = KnowledgeBase([renew, hours], cache=tmp_path)

    assert second.ask("How do I renew a book") == first.ask("How do I renew a book")


def test_other_entries_have_another_key(renew, hours):
    keys = {store.key_of(one.questions["en"]) for one in (renew, hours)}

    assert len(keys) == 2
