"""How long revocations take under traffic: `python -m faults.revocations --grants N`. The last line is the summary."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from faults.town import Town, a_town, granted, mailbox

from bianhe.infra import clock
from bianhe.registry.policy.kafka import read_policy
from bianhe.schemas.policy import GrantState
from bianhe.schemas.records.receipt import Receipt

BATCH = 10
"""Mailboxes that are filled at the same time."""


class Took(NamedTuple):
    """Milliseconds from the decision."""

    effective: float
    """Until the edge was known."""
    closed: float
    """Until no broker knew the access rule."""
    receipt: Receipt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grants", type=int, default=40)
    count, found, rates = parser.parse_args().grants, list[Took](), list[float]()
    with tempfile.TemporaryDirectory(prefix="bianhe-revocations-") as folder, a_town(Path(folder)) as town:
        for first in range(1, count + 1, BATCH):
            numbers = range(first, min(first + BATCH, count + 1))
            town.grant(*map(granted, numbers))
            assert all(town.grows(mailbox(number)) for number in numbers)
            published, begun = town.published, time.monotonic()
            found += [revoked(town, number) for number in numbers]
            rates.append((town.published - published) / (time.monotonic() - begun))
        for number, took in enumerate(found, 1):
            town.check(mailbox(number), took.receipt)
    for name in ("effective", "closed"):
        took_millis = [getattr(each, name) for each in found]
        cuts = quantiles(took_millis, n=100, method="inclusive")
        print(f"{name:10} p50 {median(took_millis):.0f} ms · p99 {cuts[98]:.0f} ms · max {max(took_millis):.0f} ms")
    written = sum(sum(each.receipt.edge.values()) for each in found)
    fenced = sum(bool(each.receipt.fenced) for each in found)
    print(
        f"{len(found)} revocations, {fenced} by a fence, at {median(rates):.0f} events/s; "
        f"{written:,} offsets before their edges, nothing at or after"
    )
    return 0


def revoked(town: Town, number: int) -> Took:
    """Revoke one grant; when its steps were decided stands on the policy log."""
    grant, begun = granted(number).grant.number, clock.now()
    receipt = town.revoke(number)
    reached = read_policy(town.admin).grants[grant].reached
    effective, closed = (
        (reached[state].at - begun).total_seconds() * 1000 for state in (GrantState.EFFECTIVE, GrantState.CLOSED)
    )
    return Took(effective, closed, receipt)


if __name__ == "__main__":
    sys.exit(main())
