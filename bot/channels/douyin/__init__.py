"""Douyin private messages (抖音私信)."""

from bot.channels.douyin.channel import Douyin

__all__ = ["Douyin"]
