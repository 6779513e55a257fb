"""Policies to test with: a small city whose grants stand in every state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from bianhe.schemas import names
from bianhe.schemas.grant import Grant
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.policy import (
    Body,
    Department,
    Effective,
    Granted,
    OpenChannel,
    PolicyRecord,
    Resource,
    Revoked,
    Writers,
)

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
OPEN = names.open_topic("population", 1, 1)
SOURCE = names.source_topic("population", 1)
WRITERS = Writers(transactional_ids=("bus.router.0", "bus.router.1"))
POPULATION = Resource(
    code="population", provider="gongan", version=1, partitions=2, erasure_days=30, schema_id=101, contract="{}"
)
OPEN_CHANNEL = OpenChannel(resource="population", version=1, revision=1, topic=OPEN, schema_id=102, view_schema="{}")


def department(code: str, *, enabled: bool = True, clients: tuple[str, ...] = ("main",)) -> Department:
    return Department(code=code, title=code, enabled=enabled, clients=clients, bytes_per_second=5_000_000)


def mailbox(number: int, code: str) -> str:
    return names.mailbox(code, "population", 1, f"G-2026-{number:04}")


def granted(number: int, code: str, topic: str | None = None) -> Granted:
    """A grant of population to a department, with a mailbox of its own unless a topic is named."""
    grant = Grant(
        number=f"G-2026-{number:04}",
        department=code,
        resource="population",
        version=1,
        items=("name",),
        purpose="业务协同",
        basis="示例,待核",
        scenario="示例",
        scope="示例",
        until=date(2027, 12, 31),
    )
    return Granted(
        grant=grant, digest=grant.digest, topic=topic or mailbox(number, code), schema_id=103, view_schema="{}"
    )


def revoked(number: int) -> Revoked:
    return Revoked(grant=f"G-2026-{number:04}", ground="purpose-met", decided_by="security")


def effective(number: int, edge: dict[str, int] | None = None) -> Effective:
    return Effective(grant=f"G-2026-{number:04}", edge=edge or {})


def records(bodies: Iterable[Body], after: Policy = EMPTY) -> list[PolicyRecord]:
    """These bodies as the records that follow a policy."""
    made: list[PolicyRecord] = []
    version, head = after.version, after.head
    for body in bodies:
        made.append(PolicyRecord(number=version + 1, previous=head, id=f"id-{version + 1}", at=AT, body=body))
        version, head = made[-1].number, made[-1].hash
    return made


def policy(*bodies: Body, after: Policy = EMPTY) -> Policy:
    return fold(after, records(bodies, after))


def city() -> Policy:
    """renshe reads the open channel; tongji has a mailbox, minzheng's is being revoked, jiaoyu's has ended, as has
    shangwu's access to the open channel; the account of jiaotong is disabled."""
    return policy(
        WRITERS,
        *(department(code) for code in ("gongan", "tongji", "minzheng", "jiaoyu", "shangwu")),
        department("renshe", clients=("main", "report")),
        department("jiaotong", enabled=False),
        POPULATION,
        OPEN_CHANNEL,
        granted(1, "renshe", OPEN),
        granted(2, "tongji"),
        granted(3, "minzheng"),
        granted(4, "jiaoyu"),
        granted(5, "shangwu", OPEN),
        granted(6, "jiaotong"),
        revoked(3),
        revoked(4),
        effective(4, {"0": 7, "1": 9}),
        revoked(5),
        effective(5),
    )
