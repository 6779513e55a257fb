"""Records of `bus.policy`: the numbered, chained sequence of all that the router and sync must know (design 3.4)."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from bianhe.schemas.canonical import reader
from bianhe.schemas.errors import Fatal
from bianhe.schemas.grant import Canonical, Grant
from bianhe.schemas.records.receipt import Edge, Receipt

GENESIS: Final = "0" * 64
"""What the first record names as its predecessor."""


class BrokenPolicyLog(Fatal):
    """The policy log has a hole, a fork or a record that cannot be read: nobody may act on it."""


class Writers(Canonical):
    """The transactional ids that may write deliveries; a revocation waits for each of them."""

    kind: Literal["writers"] = "writers"
    transactional_ids: tuple[str, ...]


class Department(Canonical):
    """A department and its account: enabled or not, its clients, its quota each way. Never a password."""

    kind: Literal["department"] = "department"
    code: str
    title: str
    clients: tuple[str, ...] = ("main",)
    enabled: bool = True
    bytes_per_second: int = 10_000_000


class Resource(Canonical):
    """A resource's contract, its provider and its source topic."""

    kind: Literal["resource"] = "resource"
    code: str
    provider: str
    version: int
    partitions: int
    erasure_days: int
    schema_id: int
    contract: str
    """The Avro schema as text."""
    update_cycle: str = Field(default="", exclude_if=lambda cycle: not cycle)
    """How often its provider declares to update it (更新周期); left out where nothing is declared."""


class OpenChannel(Canonical):
    """The present open channel of a resource: a new revision where its view changes."""

    kind: Literal["open-channel"] = "open-channel"
    resource: str
    version: int
    revision: int
    topic: str
    schema_id: int
    view_schema: str


class Granted(Canonical):
    """A grant begins: to read an open channel, or with a mailbox of its own."""

    kind: Literal["granted"] = "granted"
    application: str = Field(default="", pattern=r"^(A-\d{4}-\d{4,})?$", exclude_if=lambda number: not number)
    """The one that it answers; early logs do not say, and their bytes stay as they are."""
    grant: Grant
    digest: str
    topic: str
    schema_id: int
    view_schema: str
    """The Avro schema of a mailbox as text; empty on an open channel, whose own record has it."""


class Suspended(Canonical):
    """A grant stands still: nothing is delivered under it until it is resumed, or ends (809 article 27)."""

    kind: Literal["suspended"] = "suspended"
    grant: str
    ground: str
    correct_by: date
    decided_by: str


class Resumed(Canonical):
    """A suspended grant goes on from where it stood still."""

    kind: Literal["resumed"] = "resumed"
    grant: str
    decided_by: str


class Revoked(Canonical):
    """A grant ends: from here on nothing more is delivered under it."""

    kind: Literal["revoked"] = "revoked"
    grant: str
    ground: str
    decided_by: str
    withdraw: bool = False
    """Whether what was delivered is deleted from the mailbox too."""


class Effective(Canonical):
    """The edge of a revoked grant is known; its access rules go (design 3.5). No edge on an open channel."""

    kind: Literal["effective"] = "effective"
    grant: str
    edge: Edge = Field(default_factory=dict)
    fenced: tuple[str, ...] = ()
    """Writers that did not acknowledge the revocation and were shut out."""


class Closed(Canonical):
    """Nothing can be read under a revoked grant any more: the receipt."""

    kind: Literal["closed"] = "closed"
    receipt: Receipt


Change = Suspended | Resumed | Revoked | Effective | Closed
"""What comes upon a grant after it was given."""


class Target(StrEnum):
    """What can be stopped at once."""

    DEPARTMENT = "department"
    RESOURCE = "resource"


class Stopped(Canonical):
    """One person stops a department or a resource at once (break-glass); a second one ratifies or lifts it."""

    kind: Literal["stopped"] = "stopped"
    target: Target
    code: str
    reason: str
    decided_by: str


class Ratified(Canonical):
    """A second person stands by a stop."""

    kind: Literal["ratified"] = "ratified"
    target: Target
    code: str
    decided_by: str


class Lifted(Canonical):
    """A second person ends a stop: all goes on from where it stood still."""

    kind: Literal["lifted"] = "lifted"
    target: Target
    code: str
    decided_by: str


class Released(Canonical):
    """Source partitions that stood still go on: what is bad before these offsets is quarantined, however much it is."""

    kind: Literal["released"] = "released"
    resource: str
    version: int
    before: Edge
    reason: str
    decided_by: str


Body = Annotated[
    Writers
    | Department
    | Resource
    | OpenChannel
    | Granted
    | Suspended
    | Resumed
    | Revoked
    | Effective
    | Closed
    | Stopped
    | Ratified
    | Lifted
    | Released,
    Field(discriminator="kind"),
]
_BODY: Final[TypeAdapter[Body]] = TypeAdapter(Body)


class PolicyRecord(Canonical):
    """One numbered record: `number` counts from 1 without a hole, `previous` is the hash of the record before.

    `signature` is Ed25519 over all else, as 128 hexadecimal digits; the hash covers it too.
    """

    number: int
    previous: str
    id: str
    at: datetime
    body: Body
    signature: str = ""

    @property
    def signed_bytes(self) -> bytes:
        return self.model_dump_json(exclude={"signature"}).encode()

    @cached_property
    def hash(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()

    @classmethod
    def decode(cls, value: bytes) -> PolicyRecord:
        """Read a record; raises BrokenPolicyLog, also where the bytes are not canonical."""
        found: PolicyRecord | None = READER(value) if READER else None
        return found or cls.decode_whole(value)

    @classmethod
    def decode_whole(cls, value: bytes) -> PolicyRecord:
        """The same by pydantic alone, which can say what is wrong."""
        try:
            record = cls.model_validate_json(value)
        except ValidationError as error:
            raise _unreadable("a record of the policy log cannot be read") from error
        if record.encode() != value:
            raise _unreadable(f"record {record.number} of the policy log is not canonical JSON")
        # These bytes need not be made a second time.
        record.__dict__["hash"] = hashlib.sha256(value).hexdigest()
        return record


READER: Final = reader(PolicyRecord, "hash", body=reader(Granted, "", grant=reader(Grant, "digest")))


def _unreadable(message: str) -> BrokenPolicyLog:
    return BrokenPolicyLog(
        message,
        cause="a newer version of Bianhe wrote it, or somebody else did",
        cure="start the version that wrote it; if none did, see infra/docs/policy-log.md",
    )


def encode_body(body: Body) -> str:
    """A body as the outbox keeps it."""
    return json.dumps(_BODY.dump_python(body, mode="json"), ensure_ascii=False)


def decode_body(text: str) -> Body:
    document: Any = json.loads(text)
    return _BODY.validate_python(document)
