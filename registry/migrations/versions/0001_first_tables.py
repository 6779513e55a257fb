"""The first tables: catalog, contracts, sharing, calendar, accounts, outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, and the one row that deciding transactions take turns on."""
    _policy_and_schemas()
    _catalog()
    _sharing()
    op.execute("INSERT INTO turn (number) VALUES (0)")


def downgrade() -> None:
    """Drop every table, those that are referred to last."""
    for table in (
        "grant",
        "application",
        "open_channel",
        "item",
        "resource",
        "department",
        "catalog",
        "subject_version",
        "schema_text",
        "outbox",
        "calendar_exception",
        "account",
        "turn",
    ):
        op.drop_table(table)


def _policy_and_schemas() -> None:
    op.create_table("turn", sa.Column("number", sa.Integer(), nullable=False))
    op.create_table(
        "account",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_account"),
    )
    op.create_table(
        "calendar_exception",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("working", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_calendar_exception"),
    )
    op.create_table(
        "outbox",
        sa.Column("position", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("after", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"),
        sa.UniqueConstraint("id", name="uq_outbox_id"),
        sa.UniqueConstraint("number", name="uq_outbox_number"),
    )
    op.create_table(
        "schema_text",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schema_text"),
        sa.UniqueConstraint("guid", name="uq_schema_text_guid"),
    )
    op.create_table(
        "subject_version",
        sa.Column("subject", sa.String(length=250), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("schema_id", sa.Integer(), nullable=False),
        sa.Column("outbox_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name="fk_subject_version_outbox_id_outbox"),
        sa.ForeignKeyConstraint(["schema_id"], ["schema_text.id"], name="fk_subject_version_schema_id_schema_text"),
        sa.PrimaryKeyConstraint("subject", "version", name="pk_subject_version"),
    )


def _catalog() -> None:
    op.create_table(
        "catalog",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("edition", sa.String(length=20), nullable=False),
        sa.Column("notice", sa.String(length=100), nullable=False),
        sa.Column("authority", sa.String(length=40), nullable=False),
        sa.Column("purposes", sa.JSON(), nullable=False),
        sa.Column("writers", sa.JSON(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_catalog"),
    )
    op.create_table(
        "department",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("uscc", sa.String(length=18), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("clients", sa.JSON(), nullable=False),
        sa.Column("bytes_per_second", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_department"),
    )
    op.create_table(
        "resource",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("source_of_record", sa.String(length=40), nullable=False),
        sa.Column("base", sa.Boolean(), nullable=False),
        sa.Column("ndrc_code", sa.String(length=64), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=500), nullable=False),
        sa.Column("update_cycle", sa.String(length=500), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("erasure_days", sa.Integer(), nullable=False),
        sa.Column("standing_consent", sa.Boolean(), nullable=False),
        sa.Column("schema_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["provider"], ["department.code"], name="fk_resource_provider_department"),
        sa.ForeignKeyConstraint(["schema_id"], ["schema_text.id"], name="fk_resource_schema_id_schema_text"),
        sa.ForeignKeyConstraint(
            ["source_of_record"], ["department.code"], name="fk_resource_source_of_record_department"
        ),
        sa.PrimaryKeyConstraint("code", name="pk_resource"),
    )
    op.create_table(
        "item",
        sa.Column("resource", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("part", sa.String(length=10), nullable=False),
        sa.Column("sharing", sa.String(length=20), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("basis", sa.JSON(), nullable=True),
        sa.Column("secrecy", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(["resource"], ["resource.code"], name="fk_item_resource_resource"),
        sa.PrimaryKeyConstraint("resource", "name", name="pk_item"),
    )
    op.create_table(
        "open_channel",
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("resource", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("schema_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["resource"], ["resource.code"], name="fk_open_channel_resource_resource"),
        sa.ForeignKeyConstraint(["schema_id"], ["schema_text.id"], name="fk_open_channel_schema_id_schema_text"),
        sa.PrimaryKeyConstraint("topic", name="pk_open_channel"),
    )


def _sharing() -> None:
    op.create_table(
        "application",
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("due", sa.Date(), nullable=True),
        sa.Column("due_provisional", sa.Boolean(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("grant", sa.String(length=20), nullable=True),
        sa.Column("letter", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_application"),
        sa.UniqueConstraint("grant", name="uq_application_grant"),
    )
    op.create_table(
        "grant",
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("application", sa.String(length=20), nullable=False),
        sa.Column("department", sa.String(length=40), nullable=False),
        sa.Column("resource", sa.String(length=40), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outbox_id", sa.String(length=36), nullable=False),
        sa.Column("ground", sa.String(length=40), nullable=True),
        sa.Column("revoked_by", sa.String(length=100), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["application"], ["application.number"], name="fk_grant_application_application"),
        sa.ForeignKeyConstraint(["department"], ["department.code"], name="fk_grant_department_department"),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name="fk_grant_outbox_id_outbox"),
        sa.ForeignKeyConstraint(["resource"], ["resource.code"], name="fk_grant_resource_resource"),
        sa.PrimaryKeyConstraint("number", name="pk_grant"),
        sa.UniqueConstraint("application", name="uq_grant_application"),
    )
