"""WeChat Official Account (微信公众号)."""

from bot.channels.wechat.channel import WeChat

__all__ = ["WeChat"]
