"""Source partitions judged one after another, or by several processes at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from bianhe.consumers.checker.bus_records import Books
from bianhe.consumers.checker.findings import Report
from bianhe.consumers.checker.log import Bus, Place
from bianhe.consumers.checker.partition import Partition
from bianhe.consumers.checker.projection import Secrets
from bianhe.consumers.checker.timeline import Timeline

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


def judged(case: Case, places: Sequence[Place], processes: int) -> Iterator[Report]:
    """The report on each place, in their order."""
    extents = [case.bus.extents[place] for place in places]
    if processes < 2 or sum(extent.end - extent.start for extent in extents) < WORTH_WHILE:
        yield from map(case.judge, places)
        return
    # Forking a process that has Kafka clients leaves their threads behind.
    with get_context("spawn").Pool(min(processes, len(places)), _begin, (case,)) as pool:
        yield from pool.imap(_judge, places)


_given: list[Case] = []


def _begin(case: Case) -> None:
    # Ctrl-C is for the parent, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _given.append(case)


def _judge(place: Place) -> Report:
    return _given[0].judge(place)
