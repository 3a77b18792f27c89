"""Find the backlog and pauses without reading all."""

import sqlalchemy as sa
from alembic import op

revision = "202611221134"
down_revision = "202611220844"
branch_labels = None
depends_on = None

UNANSWERED = "excluded_at IS NULL AND feedback_at IS NULL AND withdrawn_at IS NULL"


def upgrade() -> None:
    op.create_index(
        "ix_consultation_unanswered",
        "consultation",
        ["library_id", "received_at"],
        sqlite_where=sa.text(f"{UNANSWERED} AND handed_over = 1"),
        postgresql_where=sa.text(f"{UNANSWERED} AND handed_over"),
    )
    op.create_index(
        "ix_event_paused",
        "event",
        ["library_id", "consultation_id"],
        sqlite_where=sa.text("kind = 'paused'"),
        postgresql_where=sa.text("kind = 'paused'"),
    )


def downgrade() -> None:
    op.drop_index("ix_event_paused", "event")
    op.drop_index("ix_consultation_unanswered", "consultation")
