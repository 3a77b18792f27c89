from datetime import UTC, datetime
from xml.etree.ElementTree import Element

import pytest

from bot.channels.wechat.reading import Unreadable, field, inbound, parsed
from bot.messages import Inbound, InboundKind
from tests.bot.channels.wechat.conftest import NOON, payload

READER = "oLibQ7m2xReaderA-demo0001"


def read(name: str) -> Inbound:
    message = inbound(parsed(payload(name)))
    assert message is not None
    return message


def made(kind: str, parts: str) -> Element:
    return parsed(
        "<xml><ToUserName>gh_4b7riverbend</ToUserName><FromUserName>oReader</FromUserName>"
        f"<CreateTime>1795305600</CreateTime><MsgType>{kind}</MsgType>{parts}</xml>".encode()
    )


def test_text_keeps_its_words_its_time_and_its_key():
    assert read("text.xml") == Inbound(
        READER, "请问县志 1932 年版在哪里可以查阅？", "24795305600000117", sent_at=NOON
    )


def test_an_image_is_referred_to_by_its_address():
    message = read("image.xml")

    assert (message.kind, message.text) == (InboundKind.IMAGE, "")
    assert message.media == "http://mmbiz.qpic.cn/demo/0"


def test_an_image_without_a_web_address_is_referred_to_by_its_id():
    parts = "<PicUrl>javascript:alert(1)</PicUrl><MediaId>m1</MediaId><MsgId>1</MsgId>"

    message = inbound(made("image", parts))

    assert message is not None
    assert message.media == "m1"


def test_voice_holds_the_recognised_words_where_there_are_any():
    parts = "<MediaId>m2</MediaId><Recognition>怎么续借</Recognition><MsgId>1</MsgId>"
    recognised = inbound(made("voice", parts))

    assert recognised is not None
    assert (recognised.kind, recognised.text) == (InboundKind.VOICE, "怎么续借")
    assert (read("voice.xml").text, read("voice.xml").media) == ("", "mediaDemo0002")


def test_a_location_message_keeps_the_place_and_its_name():
    parts = (
        "<Location_X>30.27</Location_X><Location_Y>120.15</Location_Y>"
        "<Label>杭州图书馆</Label><MsgId>1</MsgId>"
    )

    message = inbound(made("location", parts))

    assert message is not None
    assert message.kind is InboundKind.LOCATION
    assert message.media is not None
    assert message.media.startswith("geo:30.27,120.15?q=%E6%9D%AD")


def test_a_link_is_read_as_its_title_and_address():
    parts = "<Title>A page</Title><Description>-</Description><Url>https://a.example/</Url>"

    message = inbound(made("link", f"{parts}<MsgId>1</MsgId>"))

    assert message is not None
    assert (message.kind, message.text) == (InboundKind.TEXT, "A page\nhttps://a.example/")


@pytest.mark.parametrize("kind", ["video", "shortvideo", "hologram"])
def test_other_messages_even_of_unknown_kinds_reach_a_librarian_as_files(kind):
    message = inbound(made(kind, "<MediaId>m3</MediaId><MsgId>1</MsgId>"))

    assert message is not None
    assert (message.kind, message.media) == (InboundKind.FILE, "m3")


def test_a_tap_in_a_menu_is_a_choice_that_opens_the_window_of_a_click():
    message = read("msgmenu-click.xml")

    assert message.kind is InboundKind.CHOICE
    assert (message.text, message.payload, message.event) == ("查馆藏", "menu-holdings", "CLICK")


def test_following_tells_the_scanned_scene():
    message = read("subscribe-qr.xml")

    assert (message.kind, message.payload) == (InboundKind.FOLLOW, "qrscene_branch_east")
    assert message.event is None


def test_unfollowing_is_heard():
    assert read("unsubscribe.xml").kind is InboundKind.UNFOLLOW


def test_a_menu_button_is_an_event_unless_its_key_is_a_command():
    plain = read("click.xml")
    person = inbound(made("event", "<Event>CLICK</Event><EventKey>/person</EventKey>"))

    assert (plain.kind, plain.payload, plain.event) == (
        InboundKind.EVENT,
        "ASK_LIBRARIAN",
        "CLICK",
    )
    assert person is not None
    assert (person.kind, person.payload, person.event) == (InboundKind.CHOICE, "/person", "CLICK")


@pytest.mark.parametrize("event", ["SCAN", "VIEW", "LOCATION"])
def test_further_deeds_of_a_patron_are_events_by_name(event):
    message = inbound(made("event", f"<Event>{event}</Event><EventKey>k</EventKey>"))

    assert message is not None
    assert (message.kind, message.event) == (InboundKind.EVENT, event)


@pytest.mark.parametrize("event", ["TEMPLATESENDJOBFINISH", "kf_create_session", "从未见过"])
def test_an_event_that_is_no_deed_of_the_patron_is_no_message(event):
    assert inbound(made("event", f"<Event>{event}</Event>")) is None


def test_two_events_of_one_second_have_two_keys_and_a_repetition_has_one():
    keys = {
        read(name).dedupe_key
        for name in ("click.xml", "click.xml", "subscribe-qr.xml", "location.xml")
    }

    assert len(keys) == 3
    assert all(len(key) < 100 for key in keys)


def test_a_later_year_is_read_in_utc():
    message = inbound(made("text", "<Content>a</Content><MsgId>1</MsgId>"))

    assert message is not None
    assert message.sent_at == datetime(2026, 11, 22, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<xml><a></xml>",
        b"<html></html>",
        b"<xml>\x00</xml>",
        b"<xml>\xff\xfe</xml>",
        '<?xml version="1.0" encoding="utf-16"?><xml/>'.encode("utf-16"),
        b"<!DOCTYPE xml><xml/>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml>&b;</xml>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><xml>&f;</xml>',
        b"<xml>&undefined;</xml>",
        b"<xml><a>" + b"x" * 1_000_000 + b"</a></xml>",
        b"<xml" + b" a='1'" * 2 + b"/>",
    ],
)
def test_what_is_no_message_of_wechat_is_unreadable(body):
    with pytest.raises(Unreadable):
        parsed(body)


def test_an_encoding_declared_inside_cannot_choose_another_codec():
    body = '<?xml version="1.0" encoding="gb2312"?><xml><Content>续借</Content></xml>'

    assert field(parsed(body.encode()), "Content") == "续借"


def test_deep_nesting_is_only_a_strange_message():
    depth = 9_000
    body = b"<xml>" + b"<a>" * depth + b"</a>" * depth + b"</xml>"

    assert field(parsed(body), "Content") == ""


@pytest.mark.parametrize(
    ("kind", "parts", "sentence"),
    [
        ("text", "<Content>a</Content>", "MsgId is missing"),
        ("text", "<MsgId> </MsgId>", "MsgId is missing"),
        ("text", f"<MsgId>{'1' * 129}</MsgId>", "MsgId is too long"),
        ("text", "<MsgId>1</MsgId><MsgId>2</MsgId>", "MsgId appears twice"),
        ("text", "<FromUserName>o2</FromUserName><MsgId>1</MsgId>", "FromUserName appears twice"),
        ("text", "<Content>a</Content><Content>b</Content><MsgId>1</MsgId>", "Content appears"),
        ("event", "", "Event is missing"),
        ("", "<MsgId>1</MsgId>", "MsgType is missing"),
    ],
)
def test_a_message_without_its_parts_is_unreadable(kind, parts, sentence):
    with pytest.raises(Unreadable, match=sentence):
        inbound(made(kind, parts))


@pytest.mark.parametrize("time", ["", "soon", "-1", "１７９５", "9" * 20, "4102444800"])
def test_a_creation_time_that_is_none_is_unreadable(time):
    body = payload("text.xml").replace(b"1795305600</CreateTime>", f"{time}</CreateTime>".encode())

    with pytest.raises(Unreadable, match="CreateTime"):
        inbound(parsed(body))
