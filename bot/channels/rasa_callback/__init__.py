"""Rasa's callback channel, for servers that take replies at an address of their own."""

from bot.channels.rasa_callback.channel import RasaCallback

__all__ = ["RasaCallback"]
