"""Sentence vectors in the database, so that no process computes what another has computed."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from kb.background import shipped_background
from kb.entries import EntryData, hints, phrasings
from kb.library import export_entries
from kb.meaning import Meaning, SentenceMeaning
from kb.models import SentenceVector
from kb.reading import essence
from kb.vectors import Floats

_ASKED = 500  # digests in one query
LIMIT = 256  # texts in one batch: about a second


def recall(session: Session, meaning: SentenceMeaning, entries: Iterable[EntryData]) -> None:
    """Take what the database knows of the entries' texts; the rest is computed when needed."""
    wanted = [text for text in _texts(entries) if not meaning.knows(text)]
    meaning.know(_stored(session, meaning.model.name, wanted))


def remember_library(session: Session, library_id: int, meaning: Meaning) -> int:
    """Compute and store a batch of what is missing of a library; returns how many."""
    if not isinstance(meaning, SentenceMeaning):
        return 0
    return remember(session, meaning, export_entries(session, library_id))


def remember(
    session: Session, meaning: SentenceMeaning, entries: Iterable[EntryData], *, limit: int = LIMIT
) -> int:
    """Compute and store the vectors that are missing, at most `limit`; returns how many."""
    texts, model = _texts(entries), meaning.model.name
    stored = _stored(session, model, texts)
    missing = [text for text in texts if text not in stored][:limit]
    if not missing:
        return 0
    rows = meaning.encoded(missing)
    session.add_all(
        SentenceVector(model=model, digest=_digest(text), vector=row.astype("<f4").tobytes())
        for text, row in zip(missing, rows, strict=True)
    )
    session.flush()
    return len(missing)


def _texts(entries: Iterable[EntryData]) -> list[str]:
    """Every text that is learned from, as it is read, each once."""
    known = tuple(entries)
    own = (text.text for text in (*phrasings(known), *hints(known)))
    outside = (question.text for question in shipped_background())
    return [text for text in dict.fromkeys(map(essence, (*own, *outside))) if text]


def _stored(session: Session, model: str, texts: Sequence[str]) -> dict[str, Floats]:
    by_digest = {_digest(text): text for text in texts}
    digests, found = list(by_digest), {}
    for begin in range(0, len(digests), _ASKED):
        query = select(SentenceVector.digest, SentenceVector.vector).where(
            SentenceVector.model == model,
            SentenceVector.digest.in_(digests[begin : begin + _ASKED]),
        )
        for digest, vector in session.execute(query):
            found[by_digest[digest]] = np.frombuffer(vector, "<f4").astype(np.float32)
    return found


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
