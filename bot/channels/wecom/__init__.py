"""WeCom customer service (微信客服)."""

from bot.channels.wecom.channel import WeCom

__all__ = ["WeCom"]
