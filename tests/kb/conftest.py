"""What the knowledge base's tests share: a small library, a database in memory, a cache."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from kb.columns import Base
from kb.entries import EntryData
from kb.knowledge import KnowledgeBase
from kb.segment import use_cache
from kb.starter import STARTER

# A busy machine is no failure: examples are not timed.
settings.register_profile("kb", deadline=None)
settings.load_profile("kb")

NOW = datetime(2026, 9, 7, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    use_cache(tmp_path_factory.mktemp("jieba"))


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


@pytest.fixture(scope="session")
def starter() -> KnowledgeBase:
    return KnowledgeBase.from_file(Path(STARTER))


@pytest.fixture
def renew() -> EntryData:
    return EntryData(
        id="renew-books",
        category="circulation",
        questions={
            "zh": ("怎么续借图书", "书快到期了能再借几天吗"),
            "en": ("How do I renew a book", "Can I keep my book longer"),
            "vi": ("Làm sao để gia hạn sách", "Sách sắp hết hạn, mượn thêm được không"),
        },
        answers={"zh": "登录后点“续借”。", "en": "Sign in and press Renew.", "vi": "Bấm Gia hạn."},
    )


@pytest.fixture
def hours() -> EntryData:
    return EntryData(
        id="opening-hours",
        category="hours",
        questions={
            "zh": ("图书馆几点开门", "周末开馆吗"),
            "en": ("When does the library open", "Are you open on weekends"),
            "vi": ("Thư viện mở cửa lúc mấy giờ", "Cuối tuần có mở cửa không"),
        },
        answers={"zh": "7:30–22:30。", "en": "7:30–22:30.", "vi": "7:30–22:30."},
    )
