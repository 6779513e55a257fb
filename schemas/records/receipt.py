"""The receipt of a revocation (回执): what ended, on what ground, and from which offsets on nothing is under it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from bianhe.schemas.grant import Canonical

_PartitionText = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
Edge = Annotated[dict[_PartitionText, int], AfterValidator(lambda edge: dict(sorted(edge.items())))]
"""Partition (as text) to the offset from which nothing is under a grant."""


class Receipt(Canonical):
    """Everything that a revocation established; `bianhe receipt verify` finds it again in Kafka and the policy log.

    A mailbox has an edge. An open channel goes on for others, so there the revocation is effective when it is closed:
    when no broker knows the access rule and no fetch from before can still wait.
    """

    number: Annotated[str, StringConstraints(pattern=r"^R-\d{4}-\d{4,}$")]
    grant: str
    digest: str
    """The hash of the grant, as its letter has it."""
    department: str
    resource: str
    topic: str
    ground: str
    decided_by: str
    decided_at: datetime
    policy: int
    """The policy version that ended the grant."""
    edge: Edge
    """Empty for an open channel."""
    fenced: tuple[str, ...] = ()
    """Writers that did not acknowledge and were shut out."""
    effective_at: datetime
    withdrawn: bool = False
    """Whether what lay before the edge was deleted."""
    brokers: tuple[int, ...]
    """The brokers, by node id, that do not know the access rule any more."""
    kept_for: tuple[str, ...] = ()
    """Other grants under which the department reads the same open channel: then its access rule stays."""
    waited_millis: int = 0
    """How long an idle connection may live on the brokers, waited for after the access rule had gone."""
    closed_at: datetime
