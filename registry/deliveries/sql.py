"""Which topics and subjects an account may know, by what was decided."""

from __future__ import annotations

from sqlalchemy import Connection, select

from bianhe.registry.catalog.sql import load
from bianhe.registry.sharing.sql import grant_table, standings_of
from bianhe.schemas import names
from bianhe.schemas.records.policy import Closed, Effective


def subjects_of(connection: Connection, account: str) -> frozenset[str] | None:
    """The subjects that an account may know: sources that it writes, topics that its grants let it read.

    None stands for every subject, which the bus's own accounts may know.
    """
    if account in names.BUS_ACCOUNTS:
        return None
    catalog = load(connection)
    if account not in catalog.department:
        return frozenset()
    sources = {
        names.source_topic(resource.code, version)
        for resource in catalog.resources
        if resource.provider == account
        for version in range(1, resource.version + 1)
    }
    return frozenset(names.value_subject(topic) for topic in sources | granted_to(connection, account).keys())


def granted_to(connection: Connection, account: str) -> dict[str, str]:
    """The topics that an account's grants let it read, each with the hash of its grant; none for an open channel."""
    last = standings_of(connection)
    columns = grant_table.c.number, grant_table.c.topic, grant_table.c.digest
    rows = connection.execute(select(*columns).where(grant_table.c.department == account))
    return {
        row.topic: row.digest if row.topic.startswith(names.GRANT_PREFIX) else ""
        for row in rows
        if not isinstance(last.get(row.number), Effective | Closed)
    }
