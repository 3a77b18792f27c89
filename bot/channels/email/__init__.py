"""E-mail: a mailbox that is read, and answers in the same thread."""

from bot.channels.email.channel import Email

__all__ = ["Email"]
