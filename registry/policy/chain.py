"""How outbox rows become records of the policy log: numbered without a hole, each chained to the one before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from bianhe.schemas.errors import Fatal
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.policy import Body, PolicyRecord
from bianhe.schemas.signatures import SigningKey


class LogUnlikeDatabase(Fatal):
    """The policy log is not the one that this database was told of: one of them was restored, cut or replaced."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A decided change of policy that the log has not numbered yet."""

    id: str
    at: datetime
    body: Body


def number(policy: Policy, rows: Iterable[OutboxRow], seen: Collection[str], key: SigningKey) -> list[PolicyRecord]:
    """The signed records that continue the log after `policy`; a row whose id was seen on the log gives none."""
    records: list[PolicyRecord] = []
    version, head = policy.version, policy.head
    for row in rows:
        if row.id in seen:
            continue
        record = key.sign(PolicyRecord(number=version + 1, previous=head, id=row.id, at=row.at, body=row.body))
        records.append(record)
        version, head = record.number, record.hash
    return records


def check_witness(policy: Policy, highest: int, same: int | None) -> None:
    """Raise LogUnlikeDatabase unless the log holds what the database last read back from it.

    `highest` is the last number that the database knows (0: none), `same` the number it has for the record that the log
    holds there. A longer log is right: the database may be an older backup.
    """
    if highest > policy.version:
        raise _unlike(f"the policy log ends at {policy.version}, the database has read it to {highest}")
    if highest and same != highest:
        raise _unlike(f"record {highest} of the policy log is not the one that the database knows")


def check_origin(policy: Policy, known: bool) -> None:
    """Raise LogUnlikeDatabase where there is a log, and its first record is not `known` to the database.

    Every backup knows it. Catalog, contracts and applications stand on no log, so a new database cannot go on with it.
    """
    if policy.version and not known:
        raise LogUnlikeDatabase(
            f"the policy log has {policy.version} records, and the registry's database knows nothing of them",
            cause="the database was lost and is new, or it belongs to another cluster",
            cure="stop the registry, put the newest backup of its database in place; the rest it learns from the log",
        )


def _unlike(message: str) -> LogUnlikeDatabase:
    return LogUnlikeDatabase(
        message,
        cause="the log was cut or replaced, or the database belongs to another cluster",
        cure="stop the registry; if this is the right cluster, bianhe policy restore appends what the log lost",
    )
