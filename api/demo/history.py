"""Weeks of believable consultations: who asks when, what the bot does, how long staff take.

Drawn from a seeded generator, day by day, so that a longer history has the same recent days.
Nothing here knows of the database: it makes rows of DESIGN 4.4's form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from kb.entries import EntryData
from tracker.calendars import promise
from tracker.clock import Calendar

Row = dict[str, Any]
QUESTIONS = Path(__file__).parent / "questions.yaml"
LANGUAGES = {"zh": "zh-Hans", "en": "en", "vi": "vi"}
LANGUAGE_WEIGHTS = {"zh": 74, "en": 16, "vi": 10}
HOUR_WEIGHTS = (
    *(2, 1, 1, 0, 0, 1, 2, 6),  # midnight to 8
    *(14, 18, 20, 14, 10, 12, 18, 20),  # 8 to 16
    *(19, 14, 10, 13, 16, 17, 12, 6),  # 16 to midnight
)
LIBRARIANS = (
    "librarian@demo.example",
    "wang@demo.example",
    "zhao@demo.example",
    "nguyen@demo.example",
)
WORKING_DAY, WEEKEND, HOLIDAY = 19, 11, 6  # questions on a day, on average
UNANSWERABLE = 0.24
SPAM = 0.02
CLOSED_UNANSWERED_DAYS = 9  # then somebody tidies up what nobody answered
FRESH = 5  # questions that always wait, however the dice fall
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Habit:
    """How questions of one channel fare."""

    weight: int  # share of all questions
    minutes: float  # staffed time to the first answer, in the middle
    forgotten: float  # share that staff never answer


HABITS = {
    "web": Habit(42, 45, 0.03),
    "wechat": Habit(34, 70, 0.05),
    "email": Habit(14, 180, 0.08),
    "weibo": Habit(10, 300, 0.22),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a patron asks; without an entry no answer stands in the knowledge base."""

    text: str
    language: str
    entry: EntryData | None
    reply: str


class History:
    """Makes consultations up to a moment."""

    def __init__(
        self, entries: Sequence[EntryData], desk: Calendar, *, seed: int, now: datetime
    ) -> None:
        self._entries = [entry for entry in entries if entry.answers]
        self._desk = desk
        self._seed = seed
        self._now = now

    @cached_property
    def _texts(self) -> dict[str, Any]:
        texts: dict[str, Any] = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
        return texts

    def days(self, count: int) -> list[Row]:
        """The consultations of the last `count` days, this one included, oldest first."""
        today = self._desk.local_date(self._now)
        dates = [today - timedelta(days=back) for back in range(count - 1, -1, -1)]
        return [*(row for day in dates for row in self._day(day)), *self._fresh()]

    def _fresh(self) -> list[Row]:
        """What came in over the widget just now, so that there is always something to answer."""
        random = Random(f"{self._seed} {self._now.isoformat()}")  # noqa: S311 - as above
        texts = self._texts
        rows = []
        for number, chosen in enumerate(random.sample(texts["questions"], FRESH), start=1):
            at = self._now - timedelta(minutes=random.randint(3, 170), seconds=number)
            language = next(key for key in chosen if key != "reply")
            story = Story(self._desk, random, texts, at, channel="web")
            question = Question(chosen[language], language, None, chosen["reply"])
            rows.append(story.waiting(f"demo-now-{number}", question))
        return rows

    def _day(self, day: date) -> list[Row]:
        random = Random(f"{self._seed} {day.isoformat()}")  # noqa: S311 - a story, no secret
        moments = sorted(self._arrival(random, day) for _ in range(self._volume(random, day)))
        rows = []
        for number, at in enumerate(moments, start=1):
            story = Story(self._desk, random, self._texts, at)
            row = story.told(f"demo-{day:%Y%m%d}-{number:03}", self._question(random))
            if at <= self._now:
                rows.append(_until(row, self._now))
        return rows

    def _volume(self, random: Random, day: date) -> int:
        usual = WEEKEND if day.weekday() >= 5 else WORKING_DAY
        if day.weekday() < 5 and not self._desk.spans_on(day):
            usual = HOLIDAY
        return max(1, round(random.gauss(usual, usual / 5)))

    def _arrival(self, random: Random, day: date) -> datetime:
        (hour,) = random.choices(range(24), HOUR_WEIGHTS)
        wall = datetime(day.year, day.month, day.day, hour, random.randrange(60))  # noqa: DTZ001
        return wall.replace(second=random.randrange(60), tzinfo=ZoneInfo(str(self._desk.tz)))

    def _question(self, random: Random) -> Question:
        if random.random() < UNANSWERABLE:
            chosen = random.choice(self._texts["questions"])
            language = next(key for key in chosen if key != "reply")
            return Question(chosen[language], language, None, chosen["reply"])
        entry = self._entries[min(int(random.expovariate(0.045)), len(self._entries) - 1)]
        languages = [lang for lang in LANGUAGE_WEIGHTS if entry.questions.get(lang)]
        (language,) = random.choices(languages, [LANGUAGE_WEIGHTS[lang] for lang in languages])
        text = random.choice(entry.questions[language])
        return Question(text, language, entry, entry.answer(language))


class Story:
    """One consultation from its question to its end."""

    def __init__(
        self,
        desk: Calendar,
        random: Random,
        texts: dict[str, Any],
        received_at: datetime,
        *,
        channel: str | None = None,
    ) -> None:
        self._desk = desk
        self._random = random
        self._texts = texts
        self._received_at = received_at
        self._events: list[Row] = []
        self._zone = ZoneInfo(str(desk.tz))
        weights = [habit.weight for habit in HABITS.values()]
        self._channel = channel or random.choices(list(HABITS), weights)[0]

    def told(self, key: str, question: Question) -> Row:
        """The whole consultation, as if all of it had happened already."""
        self._question = question
        if self._random.random() < SPAM:
            self._spam()
        else:
            self._ask()
            self._course()
        return self._row(key)

    def waiting(self, key: str, question: Question) -> Row:
        """A question that nobody has answered yet."""
        self._question = question
        self._ask()
        self._escalate(self._received_at + timedelta(seconds=1), "unknown")
        return self._row(key)

    def _ask(self) -> None:
        question = self._question
        language = LANGUAGES[question.language]
        self._say(self._received_at, "message", "patron", question.text, language=language)

    def _row(self, key: str) -> Row:
        return {
            "id": key,
            "library": "demo",
            "channel": self._channel,
            "received_at": self._received_at.isoformat(),
            "events": self._events,
        }

    def _course(self) -> None:
        chance = self._random.random()
        entry = self._question.entry
        if entry is None:
            self._hand_over(self._received_at + timedelta(seconds=1), "unknown")
        elif chance < 0.10:
            self._hand_over(self._received_at + timedelta(seconds=1), "person")
        elif chance < 0.20:
            self._hand_over(self._received_at + timedelta(seconds=40), "none")
        else:
            self._bot_answers(entry)

    def _bot_answers(self, entry: EntryData) -> None:
        answered = self._received_at + timedelta(milliseconds=self._random.randint(180, 900))
        probability = round(self._random.uniform(0.86, 0.995), 3)
        self._say(
            answered,
            "bot_answer",
            "bot",
            self._question.reply,
            entry=entry.id,
            probability=probability,
        )
        rating = answered + timedelta(seconds=self._random.randint(8, 240))
        chance = self._random.random()
        if chance < 0.36:
            self._say(rating, "bot_accepted", "patron")
        elif chance < 0.43:
            self._say(rating, "bot_rejected", "patron", cause="no")
            self._hand_over(rating, "rejected")
            return
        self._say(answered + DAY, "closed", "bot", reason="idle")

    def _escalate(self, at: datetime, reason: str) -> None:
        """To a librarian, and tell the patron by when."""
        self._say(at, "escalated", "bot", reason=reason)
        promised = promise(self._desk, at)
        if promised is not None:
            when = f"{promised.astimezone(self._zone):%Y-%m-%d %H:%M}"
            text = self._pick("acknowledged").format(when=when)
            said = at + timedelta(seconds=1)
            self._say(said, "acknowledged", "bot", text, promised_at=promised.isoformat())

    def _hand_over(self, at: datetime, reason: str) -> None:
        self._escalate(at, reason)
        if self._random.random() < 0.03:
            gone = at + timedelta(minutes=self._random.randint(4, 50))
            self._say(gone, "message", "patron", self._pick("withdrawn"))
            self._say(gone, "withdrawn", "patron")
            return
        if self._random.random() < HABITS[self._channel].forgotten:
            tidied = self._received_at + DAY * self._random.uniform(2, CLOSED_UNANSWERED_DAYS)
            self._say(tidied, "closed", self._librarian(), reason="unanswered")
            return
        self._staff_answer(at)

    def _staff_answer(self, since: datetime) -> None:
        habit = HABITS[self._channel]
        minutes = max(2, round(habit.minutes * self._random.lognormvariate(0, 1)))
        answered = self._desk.due(since, minutes)
        if answered is None:
            return
        answered += timedelta(seconds=self._random.randrange(60))
        librarian = self._librarian()
        taken = answered - timedelta(minutes=min(minutes - 1, self._random.randint(1, 25)))
        self._say(taken, "assigned", librarian, to=librarian)
        if self._random.random() < 0.12:
            self._say(
                taken + timedelta(seconds=20),
                "feedback",
                librarian,
                self._pick("holding"),
                substantive=False,
            )
        self._say(answered, "feedback", librarian, self._question.reply, substantive=True)
        self._after_answer(answered, librarian)

    def _after_answer(self, answered: datetime, librarian: str) -> None:
        closed = answered + timedelta(minutes=self._random.randint(3, 600))
        self._say(closed, "closed", librarian, reason="answered")
        if self._random.random() < 0.05:
            self._reopened(closed, librarian)

    def _reopened(self, closed: datetime, librarian: str) -> None:
        again = closed + timedelta(hours=self._random.randint(2, 40))
        self._say(again, "message", "patron", self._pick("again"))
        self._say(again, "reopened", "patron")
        replied = self._desk.due(again, self._random.randint(10, 200))
        if replied is not None:
            self._say(replied, "feedback", librarian, self._pick("closing"), substantive=True)
            self._say(replied + timedelta(minutes=5), "closed", librarian, reason="answered")

    def _spam(self) -> None:
        text = self._random.choice(self._texts["spam"])
        self._say(self._received_at, "message", "patron", text, language="zh-Hans")
        self._say(self._received_at + timedelta(seconds=1), "escalated", "bot", reason="unknown")
        seen = self._desk.due(self._received_at, self._random.randint(5, 90))
        if seen is not None:
            self._say(seen, "excluded", self._librarian(), reason="spam")

    def _librarian(self) -> str:
        return self._random.choice(LIBRARIANS)

    def _pick(self, name: str) -> str:
        text: str = self._random.choice(self._texts[name][self._question.language])
        return text

    def _say(self, at: datetime, kind: str, by: str, text: str | None = None, **data: Any) -> None:
        event = {"at": at.isoformat(), "kind": kind, "by": by, **data}
        self._events.append(event if text is None else {**event, "text": text})


def _until(row: Row, now: datetime) -> Row:
    """The consultation as far as it has come by now."""
    events = [event for event in row["events"] if datetime.fromisoformat(event["at"]) <= now]
    return {**row, "events": events}
