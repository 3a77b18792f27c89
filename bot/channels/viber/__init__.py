"""Viber bots."""

from bot.channels.viber.channel import Viber

__all__ = ["Viber"]
