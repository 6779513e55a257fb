"""How outbox rows become records of the policy log: numbered without a hole, each chained to the one before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from bianhe.schemas.errors import Fatal
from bianhe.schemas.policy import Policy
from bianhe.schemas.records.policy import Body, PolicyRecord


class LogBehindDatabase(Fatal):
    """The database knows more of the policy log than the log holds: one of them was restored or cut."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A decided change of policy that the log has not numbered yet."""

    id: str
    at: datetime
    body: Body


def number(policy: Policy, rows: Iterable[OutboxRow], seen: Collection[str]) -> list[PolicyRecord]:
    """The records that continue the log after `policy`; a row whose id was seen on the log gives none."""
    records: list[PolicyRecord] = []
    version, head = policy.version, policy.head
    for row in rows:
        if row.id in seen:
            continue
        record = PolicyRecord(number=version + 1, previous=head, id=row.id, at=row.at, body=row.body)
        records.append(record)
        version, head = record.number, record.hash
    return records


def check_witness(policy: Policy, highest_number: int) -> None:
    """Raise LogBehindDatabase if the database learned a number that the log does not have."""
    if highest_number > policy.version:
        raise LogBehindDatabase(
            f"the policy log ends at {policy.version}, the database has read it to {highest_number}",
            cause="the log was cut or replaced, or the database belongs to another cluster",
            cure="stop the registry and compare both with a backup; nothing is appended until then",
        )
