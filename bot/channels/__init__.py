"""Every messaging channel, one folder each. A new channel is one folder and one line here."""

from bot.channels.base import Channel
from bot.channels.douyin import Douyin
from bot.channels.email import Email
from bot.channels.rasa import Rasa
from bot.channels.rasa_callback import RasaCallback
from bot.channels.rasa_server import RasaServer
from bot.channels.slack import Slack
from bot.channels.telegram import Telegram
from bot.channels.viber import Viber
from bot.channels.web import Web
from bot.channels.wechat import WeChat
from bot.channels.wecom import WeCom
from bot.channels.weibo import Weibo
from bot.channels.whatsapp import WhatsApp
from bot.channels.zalo import Zalo

CHANNELS: dict[str, type[Channel]] = {
    Douyin.kind: Douyin,
    Email.kind: Email,
    Rasa.kind: Rasa,
    RasaCallback.kind: RasaCallback,
    RasaServer.kind: RasaServer,
    Slack.kind: Slack,
    Telegram.kind: Telegram,
    Viber.kind: Viber,
    Web.kind: Web,
    WeChat.kind: WeChat,
    Weibo.kind: Weibo,
    WeCom.kind: WeCom,
    WhatsApp.kind: WhatsApp,
    Zalo.kind: Zalo,
}
