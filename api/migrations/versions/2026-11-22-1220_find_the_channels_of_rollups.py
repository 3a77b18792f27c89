"""Find the channels of rollups without reading every day."""

from alembic import op

revision = "202611221220"
down_revision = "202611221134"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_rollup_channel", "rollup", ["library_id", "channel"])


def downgrade() -> None:
    op.drop_index("ix_rollup_channel", "rollup")
