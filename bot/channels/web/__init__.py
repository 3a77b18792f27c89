"""The widget on the library's own pages."""

from bot.channels.web.channel import Web, session_patron

__all__ = ["Web", "session_patron"]
