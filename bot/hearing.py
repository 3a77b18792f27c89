"""What a patron's message asks for, beside a question: a person, help, thanks, a rating."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

from bot.phrases import listening
from kb.text import fold_marks, normalise

_HAN = re.compile(r"[\u3400-\u9fff]")
_NOT_WORD = re.compile(r"[^\w\u3400-\u9fff]+|_+")
_THUMBS_UP = ("👍", "👌", "❤", "🙏", "💯")
_COMMAND = re.compile(r"^/(entry|none|helped|person)(?: ([\w.-]{1,100}))?$")


class Signal(StrEnum):
    """What a whole message amounts to; QUESTION is everything else."""

    CRISIS = "crisis"
    PERSON = "person"
    WITHDRAW = "withdraw"
    GREETING = "greeting"
    THANKS = "thanks"
    YES = "yes"
    NO = "no"
    EMOJI = "emoji"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Command:
    """A tapped quick reply, as its payload or typed back by a channel that sends text."""

    verb: str  # entry | none | helped | person
    argument: str | None


def command(text: str) -> Command | None:
    """The quick reply that a payload stands for, or None for ordinary text."""
    found = _COMMAND.match(text.strip())
    return Command(found[1], found[2]) if found else None


def signals(text: str) -> frozenset[Signal]:
    """Everything that the message may be taken for; a short "ok" is thanks and yes alike."""
    folded = fold(text)
    if not folded:
        up = any(mark in text for mark in _THUMBS_UP)
        return frozenset({Signal.EMOJI, Signal.YES} if up else {Signal.EMOJI})
    if _is_crisis(folded):
        return frozenset({Signal.CRISIS})
    cores = _without_politeness(folded)
    found = {
        signal
        for signal in (
            Signal.PERSON,
            Signal.WITHDRAW,
            Signal.GREETING,
            Signal.THANKS,
            Signal.YES,
            Signal.NO,
        )
        if any(_whole(signal)(core) for core in cores)
    }
    if _within("person")(folded):
        found.add(Signal.PERSON)
    if not cores[-1] and not found:
        found.add(Signal.GREETING)
    return frozenset(found or {Signal.QUESTION})


def is_auto_reply(text: str) -> bool:
    """Whether another machine seems to be writing."""
    return _within("auto_reply")(fold(text))


def asked_title(text: str) -> str | None:
    """The title in "do you have the book …?", or None when it is no such question."""
    folded = unicodedata.normalize("NFKC", text).strip()
    for pattern in _title_patterns():
        found = pattern.search(folded)
        if found:
            return found["title"].strip(" .!?。！？")
    return None


@lru_cache(maxsize=100)  # a turn asks for the same message half a dozen times
def fold(text: str) -> str:
    """Lower case, Simplified, without punctuation: what phrases are compared in."""
    return " ".join(_NOT_WORD.sub(" ", normalise(text)).split())


def _is_crisis(folded: str) -> bool:
    if _within("crisis", "always_within")(folded):
        return True
    return _within("crisis")(folded) and not _within("crisis", "unless_within")(folded)


def _without_politeness(folded: str) -> list[str]:
    """The text with less and less politeness around it: each may be the whole message."""
    chinese, english, vietnamese = listening()["polite"]
    cores = [folded]
    if _HAN.search(folded):
        cores += _strip_chinese(folded, chinese)
    bare = _any_of((*english, *vietnamese)).sub(" ", cores[-1])
    return [*cores, " ".join(bare.split())]


def _strip_chinese(text: str, phrases: Sequence[str]) -> list[str]:
    steps: list[str] = []
    while text:
        shorter = next(
            (
                text.removeprefix(p) if text.startswith(p) else text.removesuffix(p)
                for p in phrases
                if text.startswith(p) or text.endswith(p)
            ),
            None,
        )
        if shorter is None:
            break
        text = shorter.strip()
        steps.append(text)
    return steps


@cache
def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


@cache
def _whole(signal: Signal) -> Callable[[str], bool]:
    phrases = {
        form
        for group in listening()[signal.value]["whole"]
        for phrase in group
        for form in _forms(phrase)
    }
    return lambda text: text in phrases or text.replace(" ", "") in phrases


@cache
def _within(topic: str, key: str = "within") -> Callable[[str], bool]:
    phrases = {
        form for group in listening()[topic][key] for phrase in group for form in _forms(phrase)
    }
    chinese = [phrase for phrase in phrases if _HAN.search(phrase)]
    other = "|".join(re.escape(phrase) for phrase in phrases if not _HAN.search(phrase))
    pattern = re.compile(rf"(?<!\w)(?:{other})(?!\w)")
    return lambda text: any(p in text for p in chinese) or bool(pattern.search(text))


def _forms(phrase: str) -> set[str]:
    folded = fold(phrase)
    bare = fold_marks(folded)
    # One bare syllable ("co", "sai") means too many other things.
    return {folded, bare} if " " in bare or bare == folded else {folded}


@cache
def _title_patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile(pattern, re.IGNORECASE) for pattern in listening()["holding"]["patterns"]
    )
