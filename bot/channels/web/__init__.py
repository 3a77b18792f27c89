"""The widget on the library's own pages."""

from bot.channels.web.channel import MAX_ID, Web, session_patron

__all__ = ["MAX_ID", "Web", "session_patron"]
