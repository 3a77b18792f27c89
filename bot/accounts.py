"""The channel accounts of a library, those that every library has among them."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from bot.models import ChannelAccount
from tracker.models import Library


def built_in_account(
    session: Session, library: Library, kind: str, *, now: datetime
) -> ChannelAccount:
    """The library's account of a channel that needs no adding (widget, Rasa), made when missing."""
    name = f"{kind}-{library.slug}"
    found = account_named(session, kind, name)
    if found is None:
        found = ChannelAccount(
            library_id=library.id, kind=kind, name=name, settings={}, enabled=True, created_at=now
        )
        session.add(found)
        session.flush()
    return found


def account_named(session: Session, kind: str, name: str) -> ChannelAccount | None:
    """The account behind /channels/{kind}/{name}, if there is one."""
    return session.scalar(
        select(ChannelAccount).where(ChannelAccount.kind == kind, ChannelAccount.name == name)
    )
