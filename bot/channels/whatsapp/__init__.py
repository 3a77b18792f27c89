"""WhatsApp, through Meta's Cloud API."""

from bot.channels.whatsapp.channel import WhatsApp

__all__ = ["WhatsApp"]
