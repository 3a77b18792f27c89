"""Slack: patrons in direct messages and by command, librarians in a channel's threads."""

from bot.channels.slack.channel import Slack

__all__ = ["Slack"]
