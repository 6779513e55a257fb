"""From samples of a running contestant to rates, CPU per delivery and ratios. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bianhe.schemas.errors import Rejected


class TooShort(Rejected):
    """A round was over before its rate could be told."""


class Sample(NamedTuple):
    """At `seconds` so many deliveries were stable on the log, and the processes had used so much CPU."""

    seconds: float
    deliveries: int
    client_cpu: float
    broker_cpu: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One round of one contestant: deliveries a second, and CPU in microseconds for each."""

    rate: float
    client_us: float
    broker_us: float

    def row(self) -> dict[str, float]:
        """Its columns, with what one core carries in a second, client and broker together."""
        cost = self.client_us + self.broker_us
        return {
            "rate": round(self.rate),
            "client_us": round(self.client_us, 3),
            "broker_us": round(self.broker_us, 3),
            "a_core_carries": round(1e6 / cost) if cost else 0,
        }


def figure(samples: Sequence[Sample], *, since: float = 0.1, until: float = 0.95) -> Figure:
    """The slope between two shares of all deliveries: start, warm-up and the tail do not count; raises TooShort."""
    total = samples[-1].deliveries - samples[0].deliveries
    first = next(each for each in samples if each.deliveries - samples[0].deliveries >= since * total)
    last = next(each for each in samples if each.deliveries - samples[0].deliveries >= until * total)
    deliveries, seconds = last.deliveries - first.deliveries, last.seconds - first.seconds
    if deliveries <= 0 or seconds <= 0:
        raise TooShort(
            f"{total} deliveries came in too few transactions to tell their rate",
            cure="measure more deliveries",
        )
    return Figure(
        deliveries / seconds,
        1e6 * (last.client_cpu - first.client_cpu) / deliveries,
        1e6 * (last.broker_cpu - first.broker_cpu) / deliveries,
    )


def middle(rounds: Sequence[Figure]) -> Figure:
    """The medians of several rounds."""
    return Figure(
        median(each.rate for each in rounds),
        median(each.client_us for each in rounds),
        median(each.broker_us for each in rounds),
    )
