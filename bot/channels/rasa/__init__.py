"""Rasa's REST, Socket.IO and callback channels, as existing Rasa clients speak them."""

from bot.channels.rasa.callback import RasaCallback
from bot.channels.rasa.channel import Rasa, bot_messages
from bot.channels.rasa.uttered import uttered

__all__ = ["Rasa", "RasaCallback", "bot_messages", "uttered"]
