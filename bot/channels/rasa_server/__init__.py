"""A Rasa Open Source server of the library's own, to which late answers are pushed."""

from bot.channels.rasa_server.channel import RasaServer

__all__ = ["RasaServer"]
