"""Zalo Official Account."""

from bot.channels.zalo.channel import Zalo

__all__ = ["Zalo"]
