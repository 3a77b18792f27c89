"""One turn of a conversation: a patron's message in, replies or a hand-over out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from bot import linking
from bot.channels import CHANNELS
from bot.desk import Desk
from bot.hearing import Command, Signal, asked_title, command, fold, is_auto_reply, signals
from bot.messages import Choice, Inbound, InboundKind, Reply, ReplyKind
from bot.models import Conversation
from bot.phrases import Phrasebook
from bot.wording import (
    BUBBLE,
    bubble,
    catalogue_link,
    entry_link,
    moment,
    parse_instant,
    within,
)
from kb.entries import EntryData
from kb.text import detect_language
from kb.verdict import Decision, Verdict
from tracker import consultations
from tracker.calendars import promise
from tracker.fold import Status
from tracker.models import Consultation

CONTEXT_MINUTES = 30  # how long "and on Sunday?" still belongs to what was said
RATING_HOURS = 24  # METRICS.md: a "no" counts within 24 h of the bot's answer
ADDED_MINUTES = 10  # how often a waiting patron is told that more was passed on
AUTOMATIC_AN_HOUR = 3  # RELIABILITY.md 21: to a detected auto-responder
FAILED_TURNS = 2  # then a librarian takes over by itself
UNSTAFFED_PROMISE = timedelta(hours=24)  # where no staffed hours are known
_MEDIA = {InboundKind.IMAGE, InboundKind.VOICE, InboundKind.LOCATION, InboundKind.FILE}


@dataclass(frozen=True, slots=True)
class AskedAt:
    """When a question counts as received, and whether the provider's clock was not believed."""

    at: datetime
    clock_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a turn led to."""

    replies: tuple[Reply, ...]
    consultation: Consultation | None
    state: dict[str, Any]  # of the conversation from here on
    language: str


def take_turn(
    session: Session,
    desk: Desk,
    conversation: Conversation,
    inbound: Inbound,
    *,
    channel: str,
    asked_at: AskedAt,
    now: datetime,
) -> Outcome:
    """Answer, offer choices, or hand over to a librarian; every step is recorded.

    `channel` is the kind that the consultation counts for. `now` is our clock. A provider's
    clock may run ahead of it by some minutes: what we say then counts as said when the
    question was, so that no wait is negative.
    """
    at = max(now, asked_at.at)
    return _Turn(session, desk, conversation, inbound, channel, asked_at, at).take()


@dataclass
class _Turn:
    session: Session
    desk: Desk
    conversation: Conversation
    inbound: Inbound
    channel: str
    asked_at: AskedAt
    now: datetime
    text: str = ""
    language: str = field(init=False)
    say: Phrasebook = field(init=False)
    state: dict[str, Any] = field(init=False)
    consultation: Consultation | None = field(init=False, default=None)
    recorded: Consultation | None = field(init=False, default=None)  # where the message went
    is_first: bool = field(init=False, default=True)  # nothing was ever said here before

    def take(self) -> Outcome:
        self.state = dict(self.conversation.state)
        self.language = self.conversation.language
        self.text = self.inbound.text.strip()
        self._hear_language()
        self.is_first = self.conversation.position == 0 and not self.state.get(linking.LINKED)
        if self.state.get(linking.LINKED):
            linking.bring_along(self.session, self.conversation)
        if not self.is_first:
            self.consultation = consultations.open_for(
                self.session, self.desk.library.id, self.conversation.id, now=self.now, lock=True
            )
        replies = self._respond()
        if replies and self._is_looping(replies):
            replies = ()
        self._remember(replies)
        return Outcome(replies, self.consultation, self.state, self.language)

    @property
    def at(self) -> datetime:
        return self.asked_at.at

    # --- what was said -----------------------------------------------------------------

    def _hear_language(self) -> None:
        tapped = self.inbound.payload or command(self.text) or linking.code_in(self.text)
        if self.text and not tapped and self.inbound.kind in {InboundKind.TEXT, InboundKind.VOICE}:
            self.language = detect_language(self.text, fallback=self.language)
        self.say = self.desk.phrases(self.language)

    def _respond(self) -> tuple[Reply, ...]:
        kind = self.inbound.kind
        if kind is InboundKind.FOLLOW:
            return (self._notice("welcome", library=self.desk.library.name, days=self._days_kept),)
        if kind in {InboundKind.UNFOLLOW, InboundKind.EVENT}:
            return ()
        tapped = self._tapped()
        if tapped is not None:
            return self._obey(tapped)
        if kind in _MEDIA and not self.text:
            return self._receive_media()
        return self._respond_to_text()

    @property
    def _days_kept(self) -> int:
        return int(self.desk.library.settings.get("retention_days", 180))

    def _tapped(self) -> Command | None:
        """A quick reply, however it comes back: payload, its number, or its label."""
        given = command(self.inbound.payload or self.text)
        if given is not None:
            return given
        for number, choice in enumerate(self.state.get("offered", []), start=1):
            if fold(self.text) in {str(number), fold(choice["label"])}:
                return command(choice["payload"])
        return None

    def _respond_to_text(self) -> tuple[Reply, ...]:
        heard = signals(self.text)
        if Signal.CRISIS in heard:
            return self._crisis()
        linked = linking.respond(
            self.session,
            self.desk,
            self.conversation,
            self.text,
            say=self.say,
            state=self.state,
            now=self.now,
        )
        if linked is not None:
            return linked
        if self._with_librarian:
            return self._pass_on(heard)
        if Signal.PERSON in heard:
            return self._ask_for_person()
        if Signal.QUESTION in heard:
            return self._question()
        return self._small_talk(heard)

    def _small_talk(self, heard: frozenset[Signal]) -> tuple[Reply, ...]:
        rated = self._rated()
        if rated is not None and Signal.NO in heard:
            return self._reject()
        if rated is not None and Signal.YES in heard:
            return self._accept(rated)
        if Signal.WITHDRAW in heard and self.consultation is not None and rated is None:
            consultation = self._record_message()
            consultations.withdraw(self.session, consultation, at=self.at, now=self.now)
            return (self._notice("withdrawn"),)
        if Signal.THANKS in heard or Signal.WITHDRAW in heard:
            return (self._notice("thanks"),)
        if Signal.GREETING in heard:
            return (self._notice("greeting", library=self.desk.library.name),)
        if heard & {Signal.YES, Signal.NO} and self.state.get("offered"):
            return self._hand_over("none_of_these") if Signal.NO in heard else self._question()
        if Signal.EMOJI in heard:
            return (
                ()
                if self.consultation
                else (self._notice("greeting", library=self.desk.library.name),)
            )
        return self._question()

    # --- quick replies -----------------------------------------------------------------

    def _obey(self, tapped: Command) -> tuple[Reply, ...]:
        if tapped.verb == "helped":
            rated = self._rated()
            if rated is None:
                return ()
            return self._accept(rated) if tapped.argument == "yes" else self._reject()
        if self._with_librarian:
            return self._pass_on(frozenset({Signal.QUESTION}))
        if tapped.verb == "none":
            return self._hand_over("none_of_these")
        if tapped.verb == "person":
            return self._ask_for_person()
        entry = self.desk.knowledge.entry(tapped.argument or "")
        if entry is None:  # retired since it was offered
            return self._hand_over("unknown")
        self.state.pop("failed", None)
        return self._answer((entry,), probability=1.0)

    def _rated(self) -> Consultation | None:
        """The consultation whose bot answer a "yes" or "no" would now be about."""
        rating = self.state.get("rating")
        if rating is None or self.consultation is None:
            return None
        fresh = within(rating["at"], self.now, timedelta(hours=RATING_HOURS))
        return (
            self.consultation if fresh and rating["consultation"] == self.consultation.id else None
        )

    def _accept(self, rated: Consultation) -> tuple[Reply, ...]:
        consultations.bot_accepted(self.session, rated, at=self.at, now=self.now)
        self.state.pop("rating", None)
        return (self._notice("helped_thanks"),)

    def _reject(self) -> tuple[Reply, ...]:
        self._retract("no")
        return self._hand_over("rejected")

    def _retract(self, cause: str) -> None:
        """The bot's answer did not help: it stops counting as feedback (METRICS.md)."""
        rated = self._rated()
        if rated is not None:
            self._record_message()  # it came before what it means
            consultations.bot_rejected(self.session, rated, at=self.at, now=self.now, cause=cause)
        self.state.pop("rating", None)

    # --- questions ---------------------------------------------------------------------

    def _question(self) -> tuple[Reply, ...]:
        decision = self.desk.knowledge.ask(self.text, lang=self.language, context=self._context())
        title = asked_title(self.text)
        if title and decision.verdict is not Verdict.SURE and self.desk.catalogue_url:
            return self._catalogue(title, self.desk.catalogue_url)
        entries = self._answerable(decision)
        if entries:
            if entries[0].id == (self.state.get("rating") or {}).get("entry"):
                self._retract("asked_again")
            self.state.pop("failed", None)
            return self._answer(entries, decision.candidates[0].probability)
        if self._waiting:
            return self._add_to_waiting()
        if decision.verdict is Verdict.UNSURE:
            return self._offer(decision)
        nearest = decision.candidates[0].entry if decision.candidates else None
        return self._hand_over("unknown", topic=nearest)

    def _answerable(self, decision: Decision) -> tuple[EntryData, ...]:
        """The entries to answer with: those of a sure verdict, unless one has no answer yet."""
        if decision.verdict is not Verdict.SURE:
            return ()
        found = [self.desk.knowledge.entry(key) for key in decision.entries]
        entries = tuple(entry for entry in found if entry is not None and entry.answers)
        return entries if len(entries) == len(found) else ()

    def _context(self) -> list[tuple[str, str]]:
        last = self.state.get("last")
        if last is None or not within(last["at"], self.now, timedelta(minutes=CONTEXT_MINUTES)):
            return []
        return [(role, text) for role, text in last["turns"]]

    def _answer(self, entries: Sequence[EntryData], probability: float) -> tuple[Reply, ...]:
        limit = BUBBLE // len(entries)
        texts = [self._entry_text(entry, limit, titled=len(entries) > 1) for entry in entries]
        if self._waiting:
            texts.append(self.say.say("answered_meanwhile", promise=self._promised()))
        text = "\n\n".join(texts)
        helped = (
            Choice(self.say.say("helped_yes"), "/helped yes"),
            Choice(self.say.say("helped_no"), "/helped no"),
        )
        self._record_answer(text, entries[0].id, probability)
        return (Reply(text, ReplyKind.ANSWER, choices=helped, entry=entries[0].id),)

    def _record_answer(self, text: str, entry: str | None, probability: float | None) -> None:
        consultation = self._record_message()
        consultations.bot_answer(
            self.session,
            consultation,
            at=self.now,
            now=self.now,
            text=text,
            entry=entry,
            probability=probability,
        )
        self.state["rating"] = {
            "consultation": consultation.id,
            "entry": entry,
            "at": self.now.isoformat(),
        }

    def _entry_text(self, entry: EntryData, limit: int, *, titled: bool) -> str:
        language = self.language
        whole = self.desk.answer(entry, self.text, language=language, now=self.now)
        if self.desk.is_live(entry):
            return whole
        text, was_cut = bubble(whole, limit=limit)
        if titled:
            text = f"{entry.title(language)}\n{text}"
        if was_cut:
            link = entry_link(self.desk.base_url, self.desk.library.slug, entry.id)
            text += "\n" + self.say.say("more", link=link)
        elif entry.url:
            text += "\n" + self.say.say("more", link=entry.url)
        return text

    def _catalogue(self, title: str, template: str) -> tuple[Reply, ...]:
        """A link into the catalogue answers where to look; a person is one tap away."""
        link = catalogue_link(template, title)
        text = self.say.say("catalogue", title=title, link=link)
        text += "\n" + self.say.say("catalogue_offer")
        self._record_answer(text, None, None)
        person = Choice(self.say.say("ask_person"), "/person")
        return (Reply(text, ReplyKind.ANSWER, choices=(person,), link=link),)

    def _offer(self, decision: Decision) -> tuple[Reply, ...]:
        failed = self._failed_turns() + 1
        if failed >= FAILED_TURNS:
            return self._hand_over("failed_turns")
        choices = []
        for candidate in decision.candidates[:3]:
            entry = self.desk.knowledge.entry(candidate.entry)
            if entry is not None and entry.answers:
                title = entry.title(self.language)
                choices.append(Choice(title, f"/entry {entry.id}"))
        if not choices:
            return self._hand_over("unknown")
        consultation = self._record_message()
        self.state["failed"] = {"consultation": consultation.id, "count": failed}
        choices.append(Choice(self.say.say("none_of_these"), "/none"))
        return (Reply(self.say.say("choices"), ReplyKind.CHOICES, choices=tuple(choices)),)

    def _failed_turns(self) -> int:
        failed = self.state.get("failed")
        if failed is None or self.consultation is None:
            return 0
        return int(failed["count"]) if failed["consultation"] == self.consultation.id else 0

    # --- people ------------------------------------------------------------------------

    @property
    def _with_librarian(self) -> bool:
        """A librarian has claimed it or written, and not closed it: the bot keeps silent."""
        c = self.consultation
        if c is None or c.status == Status.CLOSED:
            return False
        return c.assigned_to is not None or c.feedback_at is not None

    @property
    def _waiting(self) -> bool:
        """A librarian will answer: it was handed over and nobody has written yet."""
        return self.consultation is not None and self.consultation.status == Status.WAITING

    def _ask_for_person(self) -> tuple[Reply, ...]:
        if self._waiting:
            return self._add_to_waiting()
        self._retract("asked_for_person")
        return self._hand_over("asked_for_person")

    def _pass_on(self, heard: frozenset[Signal]) -> tuple[Reply, ...]:
        self._record_message(courtesy=bool(heard & {Signal.THANKS, Signal.EMOJI}))
        return ()

    def _add_to_waiting(self) -> tuple[Reply, ...]:
        consultation = self._record_message()
        told = within(self.state.get("added_at"), self.now, timedelta(minutes=ADDED_MINUTES))
        if told and not CHANNELS[self.channel].declaration.always_replies:
            return ()
        self.state["added_at"] = self.now.isoformat()
        text = self.say.say("added", promise=self._promised())
        self._acknowledge(consultation, text)
        return (Reply(text, ReplyKind.ACKNOWLEDGEMENT),)

    def _receive_media(self) -> tuple[Reply, ...]:
        self.text = f"[{self.inbound.kind.value}]"
        if self._with_librarian:
            return self._pass_on(frozenset({Signal.QUESTION}))
        if self._waiting:
            return self._add_to_waiting()
        return self._hand_over("media", before=self.say.say("acknowledge_media"))

    def _crisis(self) -> tuple[Reply, ...]:
        """The hotline at once, and a person at the top of the queue, whoever has the case."""
        consultation = self._record_message()
        self._escalate(consultation, "crisis", urgent=True)
        text = self.say.say("crisis")
        self._acknowledge(consultation, text)
        return (Reply(text, ReplyKind.CRISIS),)

    def _hand_over(
        self, reason: str, *, before: str | None = None, topic: str | None = None
    ) -> tuple[Reply, ...]:
        consultation = self._record_message()
        if consultation.escalated_at is None:
            self._escalate(consultation, reason, topic=topic)
        self.state.pop("failed", None)
        self.state["added_at"] = self.now.isoformat()
        text = self._promise_text()
        if before:
            text = f"{before}{'' if self._is_chinese else ' '}{text}"
        elsewhere = linking.way_to_the_answer(
            self.session,
            self.desk,
            self.conversation,
            CHANNELS[self.channel].declaration,
            say=self.say,
            now=self.now,
        )
        if elsewhere:
            text = f"{text}\n{elsewhere}"
        self._acknowledge(consultation, text)
        return (Reply(text, ReplyKind.ACKNOWLEDGEMENT),)

    def _escalate(
        self,
        consultation: Consultation,
        reason: str,
        *,
        urgent: bool = False,
        topic: str | None = None,
    ) -> None:
        consultations.escalate(
            self.session,
            consultation,
            at=self.now,
            now=self.now,
            reason=reason,
            urgent=urgent,
            topic=topic,
        )

    @property
    def _is_chinese(self) -> bool:
        return self.language.startswith("zh")

    def _promise_text(self) -> str:
        promised = self._moment(self._promise_at())
        staffed = self.desk.staffed
        opening = staffed.next_opening(self.now) if staffed is not None else None
        if staffed is None or opening is None:
            return self.say.say("promise_plain", promise=promised)
        if staffed.is_open(self.now):
            return self.say.say("promise_open", promise=promised)
        return self.say.say("promise_closed", promise=promised, opening=self._moment(opening))

    def _promise_at(self) -> datetime:
        """By when we say that a librarian answers; what was said before still stands."""
        stored = self.state.get("promise")
        if stored and self.consultation and stored["consultation"] == self.consultation.id:
            promised = parse_instant(stored["at"])
            if promised > self.now:
                return promised
        staffed = self.desk.staffed
        staffed_promise = promise(staffed, self.now) if staffed is not None else None
        promised = staffed_promise or self.now + UNSTAFFED_PROMISE
        if self.consultation is not None:
            self.state["promise"] = {
                "consultation": self.consultation.id,
                "at": promised.isoformat(),
            }
        return promised

    def _promised(self) -> str:
        return self._moment(self._promise_at())

    def _moment(self, at: datetime) -> str:
        return moment(self.say, at, now=self.now, zone=self.desk.zone)

    def _acknowledge(self, consultation: Consultation, text: str) -> None:
        consultations.acknowledge(
            self.session,
            consultation,
            at=self.now,
            now=self.now,
            text=text,
            promised_at=self._promise_at(),
        )

    # --- records -----------------------------------------------------------------------

    def _record_message(self, *, courtesy: bool = False) -> Consultation:
        """The patron's words go on record once a turn, and open a consultation when none is."""
        if self.recorded is not None:
            return self.recorded
        text = self._label_of_tap() or self.text
        if self.consultation is None:
            before = self._previous()
            self.consultation = consultations.open_consultation(
                self.session,
                self.desk.library,
                channel=self.channel,
                conversation_id=self.conversation.id,
                at=self.at,
                now=self.now,
                text=text,
                language=self.language,
                clock_suspect=self.asked_at.clock_suspect,
                linked_to=before.key if before is not None else None,
            )
        else:
            consultations.add_message(
                self.session,
                self.consultation,
                at=self.at,
                now=self.now,
                text=text,
                courtesy=courtesy,
            )
        self.recorded = self.consultation
        return self.consultation

    def _previous(self) -> Consultation | None:
        if self.is_first:
            return None
        return consultations.previous_for(self.session, self.desk.library.id, self.conversation.id)

    def _label_of_tap(self) -> str | None:
        payload = self.inbound.payload or self.text
        offered = self.state.get("offered", [])
        labels = {choice["payload"]: choice["label"] for choice in offered}
        return labels.get(payload)

    def _notice(self, phrase: str, **facts: object) -> Reply:
        return Reply(self.say.say(phrase, **facts), ReplyKind.NOTICE)

    def _remember(self, replies: Sequence[Reply]) -> None:
        choices = [choice for reply in replies for choice in reply.choices]
        if replies:
            self.state["offered"] = [{"label": c.label, "payload": c.payload} for c in choices]
            self.state["offered_at"] = self.now.isoformat()
        said = [["bot", reply.text[:200]] for reply in replies if reply.kind is ReplyKind.ANSWER]
        if said:
            self.state["last"] = {
                "turns": [["patron", self.text[:200]], *said],
                "at": self.now.isoformat(),
            }

    def _is_looping(self, replies: Sequence[Reply]) -> bool:
        """Whether another machine is at the far end and has had its share for this hour.

        Every automatic reply answers one message of the patron, so three in a row cannot
        happen. A machine is told by its words, by sending ours back, or by saying the same
        thing again and again that we have no answer to.
        """
        folded = fold(self.text)[:200]
        repeats = self.state.get("repeats", {"text": "", "count": 0})
        count = repeats["count"] + 1 if folded and folded == repeats["text"] else 1
        self.state["repeats"] = {"text": folded, "count": count}
        answered = any(reply.kind is ReplyKind.ANSWER for reply in replies)
        echoed = bool(folded) and folded == self.state.get("said")
        repeating = count > AUTOMATIC_AN_HOUR and not answered
        self.state["said"] = fold(replies[0].text)[:200]
        hour = timedelta(hours=1)
        sent = [at for at in self.state.get("automatic", []) if within(at, self.now, hour)]
        if (is_auto_reply(self.text) or echoed or repeating) and len(sent) >= AUTOMATIC_AN_HOUR:
            self.state["automatic"] = sent
            return True
        self.state["automatic"] = [*sent, self.now.isoformat()][-AUTOMATIC_AN_HOUR:]
        return False
