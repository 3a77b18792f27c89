"""One patron, several names on one channel: the conversation goes on under the newest."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bot.messages import Inbound
from bot.models import ChannelAccount, Conversation


def adopt(session: Session, account: ChannelAccount, inbound: Inbound) -> None:
    """Let a conversation begun under an earlier id of this patron be found under the present.

    Call it in the transaction that stores the message. A conversation that exists under the
    present id stays as it is.
    """
    if not inbound.aliases:
        return
    names = (inbound.patron, *inbound.aliases)
    found = session.scalars(
        select(Conversation)
        .where(
            Conversation.library_id == account.library_id,
            Conversation.account_id == account.id,
            Conversation.external_id.in_(names),
        )
        .order_by(Conversation.id)
        .with_for_update(of=Conversation)
    ).all()
    if found and all(each.external_id != inbound.patron for each in found):
        found[-1].external_id = inbound.patron
        session.flush()
