"""A patron who is called something else from now on keeps their conversation."""

from sqlalchemy import select

from bot import aliases
from bot.messages import Inbound
from bot.models import Conversation


def adopt(patron, name, *others):
    inbound = Inbound(name, "", "x", aliases=others)
    aliases.adopt(patron.session, patron.account, inbound)


def names(patron):
    return list(patron.session.scalars(select(Conversation.external_id).order_by(Conversation.id)))


def test_the_conversation_goes_on_under_the_new_name(patron):
    patron.name = "+8613800000000"
    patron.says("我的论文题目合适吗")
    adopt(patron, "CN.user1", "+8613800000000")

    patron.name = "CN.user1"
    patron.says("还在吗")

    assert names(patron) == ["CN.user1"]
    assert patron.conversation.position >= 3


def test_a_conversation_under_the_present_name_stays_as_it_is(patron):
    for name in ("+8613800000000", "CN.user1"):
        patron.name = name
        patron.says("我的论文题目合适吗")

    adopt(patron, "CN.user1", "+8613800000000")

    assert names(patron) == ["+8613800000000", "CN.user1"]


def test_of_several_former_names_the_newest_conversation_goes_on(patron):
    for name in ("old", "newer"):
        patron.name = name
        patron.says("我的论文题目合适吗")

    adopt(patron, "present", "old", "newer")

    assert names(patron) == ["old", "present"]


def test_who_has_no_other_name_is_left_alone(patron):
    adopt(patron, "new")

    assert names(patron) == []
