"""Rasa's REST and Socket.IO channels, as existing Rasa chat widgets speak them."""

from bot.channels.rasa.channel import Rasa, bot_messages
from bot.channels.rasa.uttered import uttered

__all__ = ["Rasa", "bot_messages", "uttered"]
