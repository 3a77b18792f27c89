"""Every messaging channel, one folder each. A new channel is one folder and one line here."""

from bot.channels.base import Channel
from bot.channels.rasa import Rasa
from bot.channels.web import Web
from bot.channels.wechat import WeChat

CHANNELS: dict[str, type[Channel]] = {
    Rasa.kind: Rasa,
    Web.kind: Web,
    WeChat.kind: WeChat,
}
