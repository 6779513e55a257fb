"""Source partitions judged one after another, or by several processes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Final

from bianhe.consumers.checker.bus_records import Books
from bianhe.consumers.checker.findings import Report
from bianhe.consumers.checker.log import Bus, Place
from bianhe.consumers.checker.partition import Partition
from bianhe.consumers.checker.projection import Secrets
from bianhe.consumers.checker.timeline import Timeline

WorkerPool = Callable[..., AbstractContextManager[Pool]]
"""Takes how many processes there is work for, and the call with which each begins."""
WORTH_WHILE: Final = 20_000
"""Source records below which other processes would start for longer than they work."""


@dataclass(frozen=True, slots=True)
class Case:
    """What every partition is judged by. It goes to other processes whole."""

    bus: Bus
    timeline: Timeline
    books: Books
    secrets: Secrets

    def judge(self, place: Place) -> Report:
        """Judge one source partition with all that was delivered of it."""
        report = Report()
        Partition(self.bus, place, self.timeline, self.books, report).judge(self.secrets)
        return report


def judged(case: Case, places: Sequence[Place], pool: WorkerPool | None) -> Iterator[Report]:
    """The report on each place, in their order."""
    extents = [case.bus.extents[place] for place in places]
    if pool is None or sum(extent.end - extent.start for extent in extents) < WORTH_WHILE:
        yield from map(case.judge, places)
        return
    with pool(len(places), _begin, case) as workers:
        yield from workers.imap(_judge, places)


_given: list[Case] = []


def _begin(case: Case) -> None:
    _given.append(case)


def _judge(place: Place) -> Report:
    return _given[0].judge(place)
