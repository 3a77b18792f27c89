"""A library's knowledge ready to be asked, and the store that keeps many libraries' at hand."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, lru_cache, partial
from pathlib import Path

from sqlalchemy.orm import Session

from kb import store
from kb.entries import Concept, EntryData, hints, phrasings
from kb.explanation import Explanation
from kb.files import load_concepts, load_file
from kb.large import LargeMatcher
from kb.library import entries_since, export_concepts, knowledge_state
from kb.matcher import Matcher
from kb.meaning import WITHOUT, Meaning, SentenceMeaning
from kb.sentence_store import recall
from kb.verdict import Decision, Thresholds, decide, leaning

Context = Sequence[tuple[str, str]]
TRAINED = 1_000  # entries up to which a model is trained; above, only indexed
_REMEMBERED = 1_000  # decisions of one library, less than a kilobyte each
_SHORT = 200  # characters of a question that is remembered
_FEW = 20  # changed entries up to which patching is quicker than learning anew


class KnowledgeBase:
    """One library's entries and the matcher that learned them. It never changes; it is replaced."""

    def __init__(
        self,
        entries: Iterable[EntryData],
        *,
        concepts: Iterable[Concept] = (),
        version: int = 0,
        lean: float = 0.0,
        cache: Path | None = None,
        owner: str = "kb",
        meaning: Meaning = WITHOUT,
    ) -> None:
        """With `cache`, a directory, what was learned is kept there and found again by `owner`.

        `lean` is what a library's patrons have taught about its answers (`kb/review.py`).
        """
        self.entries = tuple(entries)
        self.version = version
        self.lean = lean
        self.concepts = tuple(concepts)
        self.matcher: Matcher | LargeMatcher = (
            LargeMatcher(concepts=self.concepts)
            if len(self.entries) > TRAINED
            else Matcher(concepts=self.concepts, meaning=meaning)
        )
        self._meaning = meaning.name
        if cache is None:
            self.matcher.fit(phrasings(self.entries), hints(self.entries))
        else:
            self._recall_or_learn(cache, owner)

    def _recall_or_learn(self, cache: Path, owner: str) -> None:
        directory = cache / f"{owner}-{store.key_of(self._learned_from())}"
        found = store.load(directory)
        if found is not None:
            self.matcher.restore(phrasings(self.entries), *found)
            return
        self.matcher.fit(phrasings(self.entries), hints(self.entries))
        store.save(directory, *self.matcher.state())
        store.forget_others(directory)

    def _learned_from(self) -> Iterator[str]:
        """Every text that the matcher learns from, with what it belongs to."""
        yield self._meaning
        for text in (*phrasings(self.entries), *hints(self.entries)):
            yield text.entry
            yield text.lang
            yield text.text
        for concept in self.concepts:
            yield str(concept.as_document())

    @classmethod
    def from_file(
        cls, path: Path, *, cache: Path | None = None, meaning: Meaning = WITHOUT
    ) -> "KnowledgeBase":
        """The knowledge base in a file, without any database. Raises BadFile."""
        entries, concepts = load_file(path), load_concepts(path)
        return cls(entries, concepts=concepts, cache=cache, owner="file", meaning=meaning)

    @cached_property
    def _decided(self) -> Callable[[str, str | None], Decision]:
        """The decisions of late: menus send the same words again, and so do many patrons."""
        return lru_cache(_REMEMBERED)(partial(_decision, self.matcher, self.thresholds))

    @cached_property
    def _by_key(self) -> dict[str, EntryData]:
        return {entry.id: entry for entry in self.entries}

    def changed(self, entries: Iterable[EntryData], *, version: int) -> "KnowledgeBase | None":
        """A knowledge base of these entries, quickly made from this one.

        None where too many differ: then it is better learned anew.
        """
        wanted = tuple(entries)
        after = {entry.id: entry for entry in wanted}
        keys = {
            key
            for key in self._by_key.keys() | after.keys()
            if self._by_key.get(key) is not after.get(key)
            and self._by_key.get(key) != after.get(key)
        }
        if len(keys) > _FEW or not self._by_key or not after:
            return None
        other = copy(self)
        other.__dict__.pop("_by_key", None)
        other.__dict__.pop("_decided", None)
        other.entries, other.version = wanted, version
        if not keys:
            return other
        if isinstance(self.matcher, LargeMatcher):
            some = [after[key] for key in sorted(keys) if key in after]
            other.matcher = self.matcher.changed(phrasings(some), keys)
        else:
            other.matcher = self.matcher.changed(phrasings(wanted), hints(wanted), keys)
        return other

    def leaning(self, lean: float) -> "KnowledgeBase":
        """The same knowledge, answering from another probability on."""
        other = copy(self)
        other.__dict__.pop("_decided", None)
        other.lean = lean
        return other

    @property
    def thresholds(self) -> Thresholds:
        """From which probability it answers, and from which it offers choices."""
        return leaning(self.matcher.thresholds_, self.lean)

    @property
    def index_bytes(self) -> int:
        """What the learned arrays take in memory."""
        return self.matcher.index_bytes

    def entry(self, key: str) -> EntryData | None:
        """The entry of that key, if it is in use."""
        return self._by_key.get(key)

    def ask(self, text: str, *, lang: str | None = None, context: Context = ()) -> Decision:
        """What to do with a patron's question. `context` holds (role, text), oldest first."""
        if context or len(text) > _SHORT:
            return _decision(self.matcher, self.thresholds, text, lang, context)
        return self._decided(text, lang)

    def explain(self, text: str, *, lang: str | None = None, context: Context = ()) -> Explanation:
        """Why `ask` decides as it does."""
        return self.matcher.explain(text, lang=lang, context=context)


def _decision(
    matcher: Matcher | LargeMatcher,
    thresholds: Thresholds,
    text: str,
    lang: str | None,
    context: Context = (),
) -> Decision:
    return decide(matcher.rank(text, lang=lang, context=context), thresholds)


@dataclass(slots=True)
class _Held:
    knowledge: KnowledgeBase
    known: Mapping[str, tuple[int, EntryData]]  # every entry in use, with its version
    until: date | None  # the last day for which its valid entries are those that it learned
    since: date


class KnowledgeBases:
    """The knowledge bases of many libraries, the least recently asked given up first.

    Safe to share between threads. After an edit of a few entries the next question meets them at
    once, in a model that was patched; meanwhile a thread of its own learns everything anew and
    takes its place. After a large import one asker waits, the others still ask the old version.
    """

    def __init__(
        self, capacity: int = 500, *, cache: Path | None = None, meaning: Meaning = WITHOUT
    ) -> None:
        """`cache` is a directory in which what was learned outlives the process.

        A library of 100 entries takes about 5 MB while it is held, and a tenth of a second to
        be recalled from the cache when it was not.
        """
        self.capacity = capacity
        self.cache = cache
        self.meaning = meaning
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._lock = threading.Lock()
        self._fitting: dict[int, threading.Lock] = {}
        self._relearning: dict[int, threading.Thread] = {}

    def of(self, session: Session, library_id: int, *, today: date) -> KnowledgeBase:
        """The library's knowledge as it is in the database on that day."""
        version, lean = knowledge_state(session, library_id)
        held = self._get(library_id)
        if held is not None and _is_current(held, version, today):
            return self._leaning(library_id, held, lean)
        with self._lock:
            turn = self._fitting.setdefault(library_id, threading.Lock())
        if held is None:
            turn.acquire()
        elif not turn.acquire(blocking=False):
            return held.knowledge  # the old one, while another thread fits the new one
        try:
            held = self._get(library_id)
            if held is None or not _is_current(held, version, today):
                held = self._next(session, library_id, version, today)
                self._put(library_id, held)
            return self._leaning(library_id, held, lean)
        finally:
            turn.release()

    def _leaning(self, library_id: int, held: _Held, lean: float) -> KnowledgeBase:
        """What is held, with thresholds that follow the library's feedback."""
        if held.knowledge.lean == lean:
            return held.knowledge
        knowledge = held.knowledge.leaning(lean)
        with self._lock:
            if self._held.get(library_id) is held:
                self._held[library_id] = replace(held, knowledge=knowledge)
        return knowledge

    def settle(self) -> None:
        """Wait until everything that was patched has been learned anew."""
        while threads := [thread for thread in self._relearning.values() if thread.is_alive()]:
            for thread in threads:
                thread.join()

    def _next(self, session: Session, library_id: int, version: int, today: date) -> _Held:
        held = self._get(library_id)
        known = entries_since(session, library_id, held.known if held else {})
        entries = [entry for _, entry in known.values()]
        if isinstance(self.meaning, SentenceMeaning):
            recall(session, self.meaning, entries)
        valid = [entry for entry in entries if entry.is_valid(today)]
        concepts = tuple(export_concepts(session, library_id))
        until = _until(entries, today)
        if held is not None and held.knowledge.concepts == concepts:
            quick = held.knowledge.changed(valid, version=version)
            if quick is not None:
                if quick.matcher is not held.knowledge.matcher and quick.matcher.is_patchy:
                    self._relearn(library_id, quick)
                return _Held(quick, known, until, today)
        knowledge = self._learned(library_id, valid, concepts, version)
        return _Held(knowledge, known, until, today)

    def _learned(
        self,
        library_id: int,
        entries: Iterable[EntryData],
        concepts: Iterable[Concept],
        version: int,
    ) -> KnowledgeBase:
        return KnowledgeBase(
            entries,
            concepts=concepts,
            version=version,
            cache=self.cache,
            owner=str(library_id),
            meaning=self.meaning,
        )

    def _relearn(self, library_id: int, quick: KnowledgeBase) -> None:
        """Learn anew what was patched, in a thread of its own, and put it in its place."""

        def work() -> None:
            better = self._learned(library_id, quick.entries, quick.concepts, quick.version)
            with self._lock:
                held = self._held.get(library_id)
                if held is not None and held.knowledge.matcher is quick.matcher:
                    better = better.leaning(held.knowledge.lean)
                    self._held[library_id] = replace(held, knowledge=better)

        thread = threading.Thread(target=work, name=f"relearn-{library_id}", daemon=True)
        self._relearning[library_id] = thread
        thread.start()

    def _get(self, library_id: int) -> _Held | None:
        with self._lock:
            held = self._held.get(library_id)
            if held is not None:
                self._held.move_to_end(library_id)
            return held

    def _put(self, library_id: int, held: _Held) -> None:
        with self._lock:
            self._held[library_id] = held
            self._held.move_to_end(library_id)
            while len(self._held) > self.capacity:
                self._held.popitem(last=False)


def _is_current(held: _Held, version: int, today: date) -> bool:
    if held.knowledge.version != version or today < held.since:
        return False
    return held.until is None or today <= held.until


def _until(entries: Iterable[EntryData], today: date) -> date | None:
    """The last day on which the same entries are valid as today."""
    ends = [
        entry.valid_until for entry in entries if entry.valid_until and entry.valid_until >= today
    ]
    starts = [
        date.fromordinal(entry.valid_from.toordinal() - 1)
        for entry in entries
        if entry.valid_from and entry.valid_from > today
    ]
    return min([*ends, *starts], default=None)
