"""Sina Weibo private messages (微博私信)."""

from bot.channels.weibo.channel import Weibo

__all__ = ["Weibo"]
