"""A mailbox is read, answers stand in their thread, and machines are left to themselves."""

import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

import bot.channels.email
from bot.channels.base import Refused, SendError, SendFailure
from bot.channels.email import Email, quotes, signing
from bot.channels.email.account import Account
from bot.channels.email.html import text_of_html
from bot.channels.email.reading import Mail
from bot.channels.email.sending import compose
from bot.messages import Choice, InboundKind, Reply, ReplyKind, WebhookRequest
from tests.bot.channels.email.conftest import PAYLOADS, READER, read
from tests.bot.channels.library import SUNDAY
from tests.fakes.email import PASSWORD, USER, Fault, MailServer

KEY = "0123456789abcdef0123456789abcdef"
CHOICES = (Choice("Renewals", "/entry renew"), Choice("None of these", "/none"))
ANSWER = Reply("Renew in My Library.", ReplyKind.ANSWER)
LATE = Reply("The atlas is in the east branch.", ReplyKind.LIBRARIAN)
ACCOUNT = Account.read(
    Email.declaration,
    {
        "address": USER,
        "password": PASSWORD,
        "imap_host": "imap.library.example",
        "smtp_host": "smtp.library.example",
        "signing_secret": "threads of the demo",
    },
)


def raw(text="Where is the atlas?", /, **headers):
    """A raw mail; header names with "_" for "-", None leaves one out."""
    facts = {
        "From": f"Reader C <{READER}>",
        "To": USER,
        "Subject": "Atlas",
        "Message-ID": "<q1@mail.example.net>",
        "Date": "Sun, 22 Nov 2026 08:00:00 +0800",
        "Content-Type": 'text/plain; charset="utf-8"',
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
    return "\r\n".join([*lines, "", text]).encode()


def inbound(mail):
    return Mail(mail, ACCOUNT).inbound()


# --- what a mail says ----------------------------------------------------------------


def test_the_recorded_mail_is_read():
    found = inbound((PAYLOADS / "inbound.eml").read_bytes())

    assert (found.patron, found.display_name) == (READER, "Reader C")
    assert found.text.endswith("Thank you. Is a scan possible?")
    assert "It is kept in the local history room." not in found.text
    assert "> It is kept in the local history room." in found.original
    assert found.dedupe_key == "<c1-demo@mail.example.net>"
    assert found.sent_at == datetime(2026, 11, 22, 2, 20, tzinfo=UTC)
    assert found.thread == {
        "subject": "[Ask #42] 1932 county gazetteer",
        "references": "<q-demo@mail.example.net> <case-42.3.k9f2@library.example>"
        " <c1-demo@mail.example.net>",
        "in_reply_to": "<c1-demo@mail.example.net>",
    }


def test_a_foreign_id_that_looks_like_ours_proves_nothing():
    found = inbound((PAYLOADS / "inbound.eml").read_bytes())

    assert found.answers is None


def test_the_subject_of_a_new_question_belongs_to_it():
    assert inbound(raw("Where is it?")).text == "Atlas\nWhere is it?"
    assert inbound(raw("Where is the atlas?")).text == "Where is the atlas?"
    assert inbound(raw("Where?", Subject="Re: Fwd: 回复：Atlas")).text == "Atlas\nWhere?"
    assert inbound(raw("", Subject="Opening hours?")).text == "Opening hours?"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("=?utf-8?b?5Y6/5b+X?=", "县志"),
        ("=?gb2312?B?z9jWvg==?=", "县志"),
        ("=?utf-8?q?Xin_ch=C3=A0o?= =?utf-8?q?_b=E1=BA=A1n?=", "Xin chào bạn"),
        ("=?nonsense?b?5Y6/?=", "县"),
        ("=?utf-8?b?***?=", None),
        ("=?utf-8?b?5Y6", None),
    ],
)
def test_subjects_are_decoded_as_well_as_can_be(header, expected):
    text = inbound(raw("Where?", Subject=header)).text

    assert text.endswith("Where?")
    assert expected is None or text.startswith(expected)


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "gbk", "big5", "nonsense"])
def test_texts_are_decoded_as_well_as_can_be(charset):
    codec = charset if charset != "nonsense" else "utf-8"
    head = raw("", Content_Type=f'text/plain; charset="{charset}"')

    assert inbound(head + "館藏在哪裡".encode(codec)).text.endswith("館藏在哪裡")


def test_a_mail_in_html_only_is_read_without_its_markup():
    html = (
        "<html><head><style>p{}</style></head><body><p>Is a <b>scan</b> possible?</p>"
        "<div>Thanks</div><blockquote>It is in room 3.</blockquote></body></html>"
    )
    found = inbound(raw(html, Content_Type="text/html"))

    assert found.text == "Atlas\nIs a scan possible?\nThanks"
    assert "> It is in room 3." in found.original


def test_plain_text_wins_over_html_and_attachments_are_named():
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = READER, USER, "Scan"
    mail.set_content("See the page.")
    mail.add_alternative("<p>See the <i>page</i>.</p>", subtype="html")
    mail.add_attachment(b"x" * 10, maintype="application", subtype="pdf", filename="页.pdf")
    found = inbound(mail.as_bytes())

    assert found.text == "Scan\nSee the page.\n📎 页.pdf"
    assert found.kind is InboundKind.TEXT


def test_a_mail_without_words_is_a_file():
    mail = EmailMessage()
    mail["From"], mail["To"] = READER, USER
    assert inbound(mail.as_bytes()).kind is InboundKind.FILE


@pytest.mark.parametrize(
    ("headers", "patron"),
    [
        ({"From": "READER@Example.NET"}, "reader@example.net"),
        ({"From": '"A, B" <a@x.example>, c@x.example'}, "a@x.example"),
        ({"Reply_To": "Other <other@x.example>"}, "other@x.example"),
        ({"From": USER, "Reply_To": "form@x.example"}, None),
        ({"Reply_To": USER}, READER),
        ({"Reply_To": "a@x.example, b@x.example"}, READER),
        ({"Reply_To": "list@x.example", "List_Id": "<l.x.example>"}, READER),
        ({"From": None, "Sender": "s@x.example"}, "s@x.example"),
        ({"From": None}, None),
        ({"From": "nobody"}, None),
        ({"From": "a@b@c"}, None),
        ({"From": "a@x.example\x00"}, None),
        ({"From": "é@x.example"}, None),
        ({"From": f"{'a' * 300}@x.example"}, None),
    ],
)
def test_whom_an_answer_goes_to(headers, patron):
    found = inbound(raw("?", **headers))

    assert (found.patron if found else None) == patron


def test_a_mail_without_id_is_known_by_its_content():
    first, again = inbound(raw("?", Message_ID=None)), inbound(raw("?", Message_ID=None))
    other = inbound(raw("!", Message_ID=None))

    assert first.dedupe_key == again.dedupe_key != other.dedupe_key
    assert len(inbound(raw("?", Message_ID=f"<{'x' * 900}@y>")).dedupe_key) < 100


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Sun, 99 Nov 2026 08:00:00 +0800", "1 Jan 0001 00:00:00 +0000", None]
)
def test_an_impossible_date_is_no_date(date):
    assert inbound(raw("?", Date=date)).sent_at is None


# --- what is new in it -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New.\n\nOn 21 Nov 2026, the library wrote:\n> Old.", "New."),
        ("New.\n\nOn Sat, 21 Nov 2026 at 10:20, Library\n<ask@l.example> wrote:\n\n> Old.", "New."),
        ("New.\n\nOn 21 Nov 2026, the library wrote:\nOld without marks.", "New."),
        ("新。\n\n在 2026年11月21日，图书馆 <ask@l.example> 写道：\n> 旧。", "新。"),
        ("Mới.\n\nVào 21 thg 11, 2026, Thư viện đã viết:\n> Cũ.", "Mới."),
        ("New.\n-----Original Message-----\nFrom: x\nOld.", "New."),
        ("新。\n------------------ 原始邮件 ------------------\n旧。", "新。"),
        ("New.\n________________________________\nFrom: Library\nSent: today\nOld.", "New."),
        ("新。\n发件人: 图书馆\n发送时间: 今天\n旧。", "新。"),
        ("New.\n-- \nReader C\nRoom 5", "New."),
        ("New.\n\nSent from my iPhone", "New."),
        ("新。\n\n发自我的iPhone", "新。"),
        ("> First?\nYes.\n> Second?\nNo.", "Yes.\nNo."),
        ("On 1 May 2026, A wrote:\n> First?\nYes.", "Yes."),
        ("> only quoted", "> only quoted"),
        ("", ""),
    ],
)
def test_what_is_quoted_goes(text, expected):
    assert quotes.newest(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "鲁迅在书中写道：\n横眉冷对千夫指。\n这句出自哪里？",
        "On page five Darwin wrote:\nThere is grandeur.\nWhich edition?",
        "From: which shelf does it come?\nThanks",
        "5 > 3, is that so?",
        "a -- b\nc",
    ],
)
def test_what_only_looks_quoted_stays(text):
    assert quotes.newest(text) == text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab> -\n_:写道@2026From", max_size=400))
def test_something_is_always_left(text):
    assert bool(quotes.newest(text)) == bool(text.strip())


@pytest.mark.parametrize(
    "line", ["On " + "a" * 100_000, "写道" * 50_000, "> " * 50_000, "_" * 99_999]
)
def test_endless_lines_are_read_quickly(line):
    began = datetime.now(UTC)
    quotes.newest("\n".join([line] * 20))

    assert datetime.now(UTC) - began < timedelta(seconds=2)


@given(st.text(max_size=200))
def test_any_html_is_read(html):
    assert "<script" not in text_of_html(f"<p>{html}</p><script>alert(1)</script>") or "<" in html


# --- machines ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated; x=y"},
        {"Precedence": "bulk"},
        {"Precedence": "junk"},
        {"Precedence": "auto_reply"},
        {"Return_Path": "<>"},
        {"X_Autoreply": "yes"},
        {"Precedence": "bulk", "List_Id": "<news.example>"},
    ],
)
def test_what_a_machine_wrote_asks_nothing(headers):
    found = inbound(raw("I am on leave.", **headers))

    assert (found.kind, found.quiet, found.thread) == (InboundKind.EVENT, False, None)


@pytest.mark.parametrize("headers", [{"List_Id": "<ask.example>"}, {"Precedence": "list"}])
def test_what_came_through_a_list_is_a_librarians(headers):
    found = inbound(raw("?", **headers))

    assert (found.kind, found.quiet) == (InboundKind.TEXT, True)


@pytest.mark.parametrize("headers", [{}, {"Auto_Submitted": "no"}, {"Return_Path": f"<{READER}>"}])
def test_a_persons_mail_is_answered(headers):
    found = inbound(raw("?", **headers))

    assert (found.kind, found.quiet) == (InboundKind.TEXT, False)


def test_our_own_mail_is_not_heard():
    own = compose(ACCOUNT, READER, ANSWER, key=KEY)

    assert inbound(own.as_bytes()) is None
    del own["From"]
    own["From"] = "relay@elsewhere.example"
    assert inbound(own.as_bytes()) is None
    assert inbound(raw("?", From=USER)) is None


def report(action="failed", *, own=True, status="5.1.1"):
    """A delivery report (RFC 3464) for a reply of ours."""
    number = str(compose(ACCOUNT, READER, LATE, key=KEY)["Message-ID"]) if own else "<x@y>"
    return raw(
        "\r\n".join(
            [
                "--b",
                "Content-Type: text/plain",
                "",
                "Sorry.",
                "--b",
                "Content-Type: message/delivery-status",
                "",
                "Reporting-MTA: dns; mx.example.net",
                "",
                f"Final-Recipient: rfc822; {READER}",
                f"Action: {action}",
                f"Status: {status}",
                "",
                "--b",
                "Content-Type: text/rfc822-headers",
                "",
                f"Message-ID: {number}",
                "Subject: x",
                "",
                "--b--",
            ]
        ),
        From="MAILER-DAEMON@mx.example.net",
        Return_Path="<>",
        Content_Type="multipart/report; report-type=delivery-status; boundary=b",
    )


def test_a_mail_that_came_back_is_reported_with_its_key():
    news = Mail(report(), ACCOUNT).undelivered()

    assert (news.key, news.failure, news.code) == (KEY, SendFailure.PERMANENT, "5.1.1")


@pytest.mark.parametrize("mail", [report("delayed"), report(own=False), raw("?")])
def test_other_reports_are_no_news(mail):
    assert Mail(mail, ACCOUNT).undelivered() is None


# --- threads -------------------------------------------------------------------------


@given(st.uuids().map(lambda number: number.hex))
def test_our_ids_are_read_back_wherever_they_stand(key):
    signing_key = ACCOUNT.signing_key
    own = signing.message_id(signing_key, key, "library.example")
    address = signing.plus_address(signing_key, key, USER)

    assert signing.key_in_id(signing_key, f"<a@b> {own} <c@d>") == key
    assert signing.key_in_address(signing_key, address) == key
    assert len(address.partition("@")[0]) <= 64
    assert signing.key_in_id(b"another key", own) is None
    assert signing.key_in_address(b"another key", address) is None


@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 80), st.characters(codec="utf-8"))
def test_no_changed_id_is_ours(place, character):
    own = signing.message_id(ACCOUNT.signing_key, KEY, "l.example")
    changed = own[:place] + character + own[place + 1 :]
    found = signing.key_in_id(ACCOUNT.signing_key, changed)

    assert found in ({KEY, None} if changed.split("@")[0] == own.split("@")[0] else {None})


@pytest.mark.parametrize("header", ["In_Reply_To", "References"])
def test_an_answer_names_the_reply_that_it_answers(header):
    own = str(compose(ACCOUNT, READER, ANSWER, key=KEY)["Message-ID"])
    found = inbound(raw("Yes.", From="other@x.example", **{header: f"<a@b> {own}"}))

    assert (found.answers, found.patron, found.text) == (KEY, "other@x.example", "Yes.")


@pytest.mark.parametrize("header", ["To", "Cc", "Delivered_To"])
def test_an_answer_to_a_signed_address_needs_no_other_sign(header):
    address = signing.plus_address(ACCOUNT.signing_key, KEY, USER)

    assert inbound(raw("Yes.", **{header: f"Library <{address}>"})).answers == KEY
    forged = address.replace(".", "x", 1)
    assert inbound(raw("Yes.", **{header: forged})).answers is None


def test_a_subject_proves_nothing():
    assert inbound(raw("Yes.", Subject=f"Re: [case-{KEY}]")).answers is None


def test_an_answer_stands_in_its_thread(desk, channel, reader):
    question = reader.writes("Where is the atlas?", subject="Karte – 县志")
    desk.fetch("INBOX")
    thread = desk.heard[-1].thread
    channel.send(READER, Reply("East.", ReplyKind.LIBRARIAN, thread=thread), key=KEY, now=SUNDAY)
    answer = read(reader.screen[0].raw)

    assert answer["Subject"] == "Re: Karte – 县志"
    assert answer["In-Reply-To"] == question["Message-ID"]
    assert answer["From"].addresses[0].display_name == "云岭大学图书馆"
    assert answer.get_content() == "East.\n"

    reader.writes("And the 1932 one?", answering=answer)
    desk.fetch("INBOX")
    heard = desk.heard[-1]
    assert (heard.text, heard.answers) == ("And the 1932 one?", KEY)
    chain = heard.thread["references"].split()
    assert chain[0] == question["Message-ID"]
    assert len(chain) == 3


def test_long_ids_stay_whole():
    long = [f"<{'x' * 120}{number}@outlook.example.com>" for number in range(30)]
    found = inbound(raw("?", Message_ID=long[-1], References=" ".join(long[:-1])))
    mail = compose(ACCOUNT, READER, Reply("x", ReplyKind.LIBRARIAN, thread=found.thread), key=KEY)
    sent = mail.as_bytes()

    assert f"In-Reply-To: {long[-1]}".encode() in sent
    assert read(sent)["References"].split() == [long[0], *long[-20:]]
    assert b"=?utf-8?q?=3C" not in sent


def test_only_a_librarians_words_go_without_the_mark_of_a_machine(channel, server, reader):
    for number, kind in enumerate(ReplyKind):
        channel.send(READER, Reply("x", kind), key=f"k{number}", now=SUNDAY)
    marks = {
        kind: read(mail.raw)["Auto-Submitted"]
        for kind, mail in zip(ReplyKind, reader.screen, strict=True)
    }
    senders = {mail.sender for mail in reader.screen}

    assert marks.pop(ReplyKind.LIBRARIAN) is None
    assert set(marks.values()) == {"auto-replied"}
    assert reader.screen[-1].sender == USER
    assert senders == {"", USER}


def test_the_recorded_automatic_form():
    recorded = read((PAYLOADS / "auto-reply.eml").read_bytes())
    thread = {
        "subject": "[Ask #42] 1932 county gazetteer",
        "in_reply_to": "<c1-demo@mail.example.net>",
        "references": "<q-demo@mail.example.net> <case-42.3.k9f2@library.example>"
        " <c1-demo@mail.example.net>",
    }
    reply = Reply("We have passed your question to a librarian.", ReplyKind.NOTICE, thread=thread)
    mail = read(compose(ACCOUNT, READER, reply, key=KEY).as_bytes())

    for name in ("Subject", "In-Reply-To", "Auto-Submitted", "X-Auto-Response-Suppress", "To"):
        assert mail[name] == recorded[name]
    assert mail["References"].split() == recorded["References"].split()
    assert mail.get_content() == recorded.get_content()


def test_choices_are_written_out_and_a_plus_address_is_offered(account, reader):
    channel = account(plus_addressing="true")
    channel.send(READER, Reply("Which?", ReplyKind.CHOICES, choices=CHOICES), key=KEY, now=SUNDAY)
    mail = read(reader.screen[0].raw)

    assert mail.get_content().endswith("1. Renewals\n2. None of these\n")
    assert mail["Reply-To"].addresses[0].addr_spec.startswith(f"ask+{KEY}.")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.text(max_size=80), st.text(max_size=30))
def test_any_reply_becomes_a_mail(text, subject, number):
    found = inbound(raw("?", Subject=" ".join(subject.encode("ascii", "replace").decode().split())))
    thread = {**found.thread, "in_reply_to": f"<{number.encode('ascii', 'ignore').hex()}@x>"}
    reply = Reply(text, ReplyKind.LIBRARIAN, thread=thread)
    sent = compose(ACCOUNT, READER, reply, key=KEY).as_bytes()

    assert max(map(len, sent.split(b"\n"))) < 998
    assert sent.isascii()


# --- reading the mailbox ---------------------------------------------------------------


def test_the_first_look_answers_nothing_old(server, channel, reader):
    reader.writes("Old")
    first = channel.pull("INBOX", None, hint=None, now=SUNDAY)
    reader.writes("New")
    second = channel.pull("INBOX", first.cursor, hint=None, now=SUNDAY)

    assert (first.messages, first.cursor) == ((), "7:1")
    assert [each.text for each in second.messages] == ["Question\nNew"]
    assert second.cursor == "7:2"


def test_a_look_without_news_changes_nothing(desk, channel, reader):
    reader.writes("New")
    desk.fetch("INBOX")
    again = channel.pull("INBOX", desk.cursors["INBOX"], hint=None, now=SUNDAY)

    assert (again.messages, again.cursor) == ((), "7:1")


def test_pages_are_read_until_the_last(desk, reader):
    for number in range(60):
        reader.writes(str(number), subject="")
    desk.fetch("INBOX")

    assert [each.text for each in desk.heard] == [str(number) for number in range(60)]


def test_after_new_numbers_nothing_is_heard_twice_nor_lost(desk, server, reader, clock):
    reader.writes("One")
    desk.fetch("INBOX")
    reader.writes("Two")
    clock.advance(hours=20)
    server.renumber()
    desk.fetch("INBOX")

    assert [each.text for each in desk.heard] == ["Question\nOne", "Question\nTwo"]


def test_nothing_in_the_mailbox_is_changed(desk, server, reader):
    reader.writes("One")
    desk.fetch("INBOX")

    assert not [line for line in server.commands if "STORE" in line or "SELECT" in line]


def test_a_broken_mail_holds_up_nobody(desk, server, reader):
    server.arrives(b"\x00\xff garbage \r\n\r\n\xfe")
    server.arrives(b"")
    server.arrives(b"From: \xff\xfe@x\r\nSubject: =?x?y?z?=\r\n\r\nhello")
    reader.writes("One")
    desk.fetch("INBOX")

    assert desk.failures == []
    assert desk.heard[-1].text == "Question\nOne"


def test_a_huge_mail_is_read_in_part(desk, server):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = READER, USER, "Big"
    mail.set_content("See the scan.")
    mail.add_attachment(b"x" * 3_000_000, maintype="image", subtype="png", filename="big.png")
    server.arrives(mail)
    desk.fetch("INBOX")

    assert desk.heard[0].text == "Big\nSee the scan.\n📎 big.png"


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("LOGIN", Fault.CLOSE),
        ("LOGIN", "NO later"),
        ("STATUS", "NO later"),
        ("STATUS", "OK done"),
        ("EXAMINE", Fault.CLOSE),
        ("UID SEARCH", "BAD what"),
        ("UID SEARCH", Fault.CLOSE),
        ("UID FETCH", "NO gone"),
        ("UID FETCH", Fault.CLOSE),
    ],
)
def test_a_mailbox_that_does_not_answer_is_read_later(desk, server, reader, command, fault):
    reader.writes("One")
    server.fail_next(command, fault)
    desk.fetch("INBOX")
    assert desk.failures[0].failure is SendFailure.RETRY

    desk.fetch("INBOX")
    assert len(desk.heard) == 1


def test_a_mail_deleted_meanwhile_is_passed_over(desk, server, reader):
    reader.writes("One")
    server.fail_next("UID FETCH", "OK nothing")
    desk.fetch("INBOX")

    assert (desk.heard, desk.failures, desk.cursors) == ([], [], {"INBOX": "7:1"})


MAILS = [
    (PAYLOADS / "inbound.eml").read_bytes(),
    (PAYLOADS / "auto-reply.eml").read_bytes(),
    report(),
    raw("<p>x</p>", Content_Type="text/html; charset=utf-8"),
    raw("--b\r\n\r\nx\r\n--b--", Content_Type="multipart/mixed; boundary=b"),
]


def test_two_thousand_broken_mails_are_read():
    source = Random(1)
    for _ in range(2_000):
        changed = bytearray(source.choice(MAILS))
        for _ in range(source.choice((1, 1, 2, 8))):
            at = source.randrange(len(changed))
            changed[at : at + source.randrange(7)] = source.randbytes(source.randrange(7))
        found = Mail(bytes(changed), ACCOUNT)
        news, heard = found.undelivered(), found.inbound()

        assert news is None or news.key == KEY
        if heard is not None:
            assert heard.patron.isascii()
            assert "\x00" not in heard.text + (heard.original or "") + heard.dedupe_key
            reply = Reply("x", ReplyKind.NOTICE, thread=heard.thread)
            assert compose(ACCOUNT, heard.patron, reply, key=KEY).as_bytes().isascii()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read(mail):
    found = Mail(mail, ACCOUNT)
    found.undelivered()
    found.inbound()


@given(
    st.sampled_from(["Content-Type", "From", "Reply-To", "Subject", "Date", "References", "To"]),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=80),
)
def test_any_header_is_read(name, value):
    Mail(raw("?", **{name.replace("-", "_"): value}), ACCOUNT).inbound()


# --- handing mail over -------------------------------------------------------------------


def failure_of(channel, reply=LATE, *, to=READER):
    with pytest.raises(SendError) as caught:
        channel.send(to, reply, key=KEY, now=SUNDAY)
    return caught.value


@pytest.mark.parametrize(
    ("command", "fault", "failure"),
    [
        ("EHLO", Fault.CLOSE, SendFailure.RETRY),
        ("AUTH", "535 wrong", SendFailure.RETRY),
        ("AUTH", "454 later", SendFailure.RETRY),
        ("MAIL", "451 later", SendFailure.RETRY),
        ("MAIL", "550 no", SendFailure.PERMANENT),
        ("MAIL", Fault.CLOSE, SendFailure.RETRY),
        ("RCPT", "450 busy", SendFailure.RETRY),
        ("RCPT", "550 unknown", SendFailure.PERMANENT),
        ("RCPT", Fault.CLOSE, SendFailure.RETRY),
        ("DATA", "451 later", SendFailure.RETRY),
        ("DATA", "554 no", SendFailure.PERMANENT),
        ("CONTENT", "452 full", SendFailure.RETRY),
        ("CONTENT", "554 spam", SendFailure.PERMANENT),
        ("CONTENT", Fault.CLOSE_AFTER_ACCEPT, SendFailure.UNCERTAIN),
    ],
)
def test_failures_have_their_class(channel, server, command, fault, failure):
    server.fail_next(command, fault)

    assert failure_of(channel).failure is failure


def test_a_server_that_is_not_there_is_tried_later(account):
    assert failure_of(account(smtp_port="1")).failure is SendFailure.RETRY


def test_an_address_that_is_none_is_final(channel, server):
    for address in ("nobody", "a@x.example\r\nBcc: b@x.example", ""):
        assert failure_of(channel, to=address).failure is SendFailure.PERMANENT
    assert server.taken == []


def test_a_server_that_wants_a_return_address_gets_ours(channel, server, reader):
    server.takes_null_sender = False
    channel.send(READER, ANSWER, key=KEY, now=SUNDAY)

    assert [mail.sender for mail in reader.screen] == [USER]


@pytest.mark.parametrize("command", ["MAIL", "RSET"])
def test_a_server_that_hangs_up_over_it_is_tried_later(channel, server, command):
    server.takes_null_sender = False
    server.fail_next(command, Fault.CLOSE)

    assert failure_of(channel, ANSWER).failure is SendFailure.RETRY


def test_a_server_that_asks_for_no_login_is_used_so(channel, server, reader):
    server.asks_for_login = False
    channel.send(READER, LATE, key=KEY, now=SUNDAY)

    assert len(reader.screen) == 1


def test_a_retry_has_the_same_id(channel, server, reader):
    server.fail_next("CONTENT", Fault.CLOSE_AFTER_ACCEPT)
    failure_of(channel)
    channel.send(READER, LATE, key=KEY, now=SUNDAY)

    assert len({read(mail.raw)["Message-ID"] for mail in reader.screen}) == 1


# --- encryption, settings, health, guide -------------------------------------------------


@pytest.fixture(scope="module")
def strangers_certificate(tmp_path_factory) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(SUNDAY - timedelta(days=3650))
        .not_valid_after(SUNDAY + timedelta(days=3650))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.ours = folder / "cert.pem"
    return context


def encrypted(server, **more):
    settings = {
        "address": USER,
        "password": PASSWORD,
        "imap_host": "127.0.0.1",
        "imap_port": str(server.imap_port),
        "smtp_host": "127.0.0.1",
        "smtp_port": str(server.smtp_port),
        "smtp_security": "tls",
        **more,
    }
    return Email("mail", settings, http=None, tokens=None)


def test_a_stranger_gets_neither_password_nor_mail(clock, strangers_certificate):
    with MailServer(clock).listening(strangers_certificate) as server:
        sentences = encrypted(server).check()

    assert len(sentences) == 2
    assert "certificate" in sentences[0]
    assert server.commands == []


def test_a_trusted_server_is_used_over_tls(clock, strangers_certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(strangers_certificate.ours))
    with MailServer(clock).listening(strangers_certificate) as server:
        assert encrypted(server).check() == []


def test_a_server_without_starttls_gets_no_password(server):
    channel = encrypted(server, smtp_security="starttls", imap_security="starttls")

    assert len(channel.check()) == 2
    assert "AUTH" not in server.commands
    assert "LOGIN" not in server.commands


def test_health(account, server):
    assert account().check() == []
    assert account(password="another").check() == [
        "Reading: The mail server refuses the user name or password.",
        "Sending: The mail server refuses the user name or password.",
    ]
    assert "could not be read" in account(folder="Gone").check()[0]
    assert "could not be reached" in account(smtp_port="1").check()[0]


def test_no_secret_is_told(account):
    told = account(password="another secret").check()

    assert not [sentence for sentence in told if "secret" in sentence]
    assert PASSWORD not in repr(ACCOUNT) + repr(ACCOUNT.imap)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("address", "nobody"),
        ("password", ""),
        ("imap_host", "a b"),
        ("imap_port", "0"),
        ("imap_port", "x"),
        ("imap_security", "ssl"),
        ("smtp_security", "maybe"),
        ("plus_addressing", "yes"),
        ("poll_seconds", "1"),
        ("poll_seconds", "-5"),
    ],
)
def test_a_wrong_setting_is_named(account, setting, value):
    with pytest.raises(ValueError, match=setting):
        account(**{setting: value})


def test_no_password_travels_in_the_clear(account):
    with pytest.raises(ValueError, match="imap_security"):
        account(imap_host="imap.library.example")


def test_nothing_calls_a_mailbox(channel):
    with pytest.raises(Refused) as caught:
        channel.receive(WebhookRequest("POST", {}, {}, b""), now=SUNDAY)

    assert caught.value.status == 404


README = (Path(bot.channels.email.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_explained():
    declared = Email.declaration.required_settings + Email.declaration.optional_settings

    assert [name for name in declared if f"`{name}" not in README] == []


def test_every_fact_to_confirm_is_in_the_guide():
    table = README.split("## Confirm on your account")[1]

    assert table.count("\n- ") == len(Email.declaration.unverified)
