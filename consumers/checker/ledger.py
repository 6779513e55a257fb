"""The journal of one flow, walked along with its source: do the ranges tile it, and do their numbers add up?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bianhe.consumers.checker.bus_records import Range, Share
from bianhe.consumers.checker.findings import Finding, Kind, Report
from bianhe.schemas import names


class Ledger:
    """The journal entries of a source partition, or of a view's first load from it.

    `at` must be asked for rising offsets. What is due in a range is told to `due` and compared when it ends.
    """

    def __init__(
        self,
        key: str,
        ranges: Sequence[Range],
        start: int,
        last_version: int,
        report: Report,
        elsewhere: Callable[[int, int], bool] = lambda begin, end: False,
    ) -> None:
        self._key = key
        self._elsewhere = elsewhere
        """Whether another flow routed the offsets from one to before another, so that this one leaves them out."""
        self._holes: list[tuple[int, int]] = []
        self._report = report
        self._ranges: list[Range] = []
        self._next = 0
        self._quarantined = 0
        self._shares: dict[str, Share] = {}
        self._forged: set[int] = set()
        self.untold: set[str] = set()
        """Topics of which nothing can be said: their state is older than this journal."""
        self.wrong_numbers: list[Finding] = []
        """Where it does not say what was due; findings only if the source is complete."""
        for each in sorted(ranges, key=lambda one: (one.begin, one.offset)):
            self._tile(each, start, last_version)

    @property
    def end(self) -> int:
        """Source offset up to which the journal reaches."""
        return self._ranges[-1].end if self._ranges else 0

    @property
    def begin(self) -> int:
        return self._ranges[0].begin if self._ranges else 0

    def leaves_out(self, offset: int) -> bool:
        """Whether another flow routed an offset: behind the end, or where this one rightly has a hole."""
        return offset >= self.end or any(begin <= offset < end for begin, end in self._holes)

    def covers(self, begin: int, end: int, holds: Callable[[int], bool]) -> bool:
        """Whether every entry that has some of these offsets stands under a version of which something holds."""
        return all(holds(each.version) for each in self._ranges if each.begin < end and begin < each.end)

    def under(self, holds: Callable[[int], bool]) -> list[Range]:
        """The entries under a version of which something holds."""
        return [each for each in self._ranges if holds(each.version)]

    def mentions(self, topic: str) -> bool:
        return any(topic in each.shares for each in self._ranges)

    def version_at(self, offset: int) -> int:
        """The version under which an offset was routed; in a gap, the one before it."""
        low, high = 0, len(self._ranges)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._ranges[middle].begin <= offset else (low, middle)
        return self._ranges[low - 1].version if low else (self._ranges[0].version if self._ranges else 0)

    def at(self, offset: int) -> Range | None:
        """The range that holds an offset; None in a gap, and where the version of the range cannot be believed."""
        while self._next < len(self._ranges) and self._ranges[self._next].end <= offset:
            self._close()
        if self._next >= len(self._ranges) or self._ranges[self._next].begin > offset:
            return None
        found = self._ranges[self._next]
        return None if found.offset in self._forged else found

    def due(self, topic: str, records: int, kept_back: int, last_seq: int) -> None:
        """Add to what the present range must say of a delivery topic."""
        known = self._shares.get(topic, Share(0, 0, 0))
        self._shares[topic] = Share(known.records + records, known.kept_back + kept_back, last_seq)

    def due_quarantined(self) -> None:
        self._quarantined += 1

    def close(self) -> None:
        """Compare the ranges that are left; the source was read up to `end`."""
        while self._next < len(self._ranges):
            self._close()

    def _tile(self, each: Range, start: int, last_version: int) -> None:
        self._report.checked[Kind.ATOMICITY] += 1
        expected = self._ranges[-1].end if self._ranges else None
        if each.begin > (expected or 0) and self._elsewhere(expected or 0, each.begin):
            self._holes.append((expected or 0, each.begin))
        elif expected is None and each.begin not in (0, start):
            self._found(each, f"the first entry for {self._key} begins at {each.begin}")
        elif expected is not None and each.begin != expected:
            how = "leaves out" if each.begin > expected else "repeats"
            self._found(each, f"the entry for {self._key} {how} the offsets between {expected} and {each.begin}")
        if expected is not None and each.begin < expected:
            return
        before = self._ranges[-1].version if self._ranges else 1
        if not 1 <= each.version <= last_version:
            self._found(each, f"policy version {each.version} is not on the log", Kind.VERSION)
            self._forged.add(each.offset)
        elif each.version < before:
            self._found(each, f"policy version {each.version} comes after {before}", Kind.VERSION)
        self._ranges.append(each)

    def _close(self) -> None:
        closing = self._ranges[self._next]
        self._next += 1
        if closing.offset not in self._forged:
            if closing.quarantined != self._quarantined:
                self._wrong(closing, f"says {closing.quarantined} quarantined, {self._quarantined} are bad")
            for topic in sorted(self._shares.keys() | closing.shares.keys()):
                due, said = self._shares.get(topic), closing.shares.get(topic)
                if due != said and topic not in self.untold:
                    self._wrong(closing, f"says {_said(said)} of {topic}, due were {_said(due)}")
        self._quarantined = 0
        self._shares = {}

    def _wrong(self, each: Range, message: str) -> None:
        self.wrong_numbers.append(Finding(Kind.ATOMICITY, names.JOURNAL, each.partition, each.offset, message))

    def _found(self, each: Range, message: str, kind: Kind = Kind.ATOMICITY) -> None:
        self._report.add(kind, names.JOURNAL, each.partition, each.offset, message)


def _said(share: Share | None) -> str:
    if share is None:
        return "nothing"
    return f"{share.records} records, {share.kept_back} kept back, last bus_seq {share.last_seq}"
