"""A bus that runs, read by raw fetch: what the checker judges online, and what a dump is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bianhe.consumers.checker import streams
from bianhe.consumers.checker.batches import entries
from bianhe.consumers.checker.findings import Floor, Report
from bianhe.consumers.checker.judgement import check
from bianhe.consumers.checker.log import Entry, Extent, Place, Rule
from bianhe.infra.kafka import raw
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.raw_log import RawLogs
from bianhe.infra.kafka.transactions import SILENT_SECONDS
from bianhe.infra.processes import worker_pool
from bianhe.schemas import names

_BOOKS: Final = (names.ROUTER_STATE, names.JOURNAL)


class Cluster:
    """A cluster as it stands when this is made; what is written later is not seen.

    The state's end is taken before the journal's, that before the ends of the deliveries, those before the sources':
    so all that the journal tells of is there.
    """

    def __init__(self, logs: RawLogs, connection: Connection) -> None:
        self._logs = logs
        managed = sorted((place for place in logs.leaders if place[0].startswith(names.MANAGED_PREFIXES)), key=_order)
        books = [place for topic in _BOOKS for place in managed if place[0] == topic]
        ends = {place: logs.offset(place, "stable") for place in books}
        # One that stays open longer than any writer may leave it is nobody's any more: the judgement says so.
        deadline = time.monotonic() + SILENT_SECONDS
        ends |= {place: logs.decided(place, deadline) for place in managed if place not in ends}
        self.settled: bool = all(logs.offset(place, "end") == ends[place] for place in books)
        self.extents: Mapping[Place, Extent] = {
            place: Extent(logs.offset(place, "start"), end) for place, end in ends.items()
        }
        self.rules: Mapping[int, frozenset[Rule]] = {
            node: frozenset(
                Rule(
                    rule.principal.removeprefix("User:"),
                    rule.operation,
                    rule.resource_type,
                    rule.name,
                    rule.pattern,
                    rule.permission,
                    rule.host,
                )
                for rule in rules
            )
            for node, rules in raw.access_rules(connection).items()
        }

    def batches(self, place: Place) -> Iterable[bytes]:
        """The raw batches of a partition."""
        extent = self.extents[place]
        return self._logs.batches(place, extent.start, extent.end)

    def entries(self, place: Place) -> Iterator[Entry]:
        """The raw log of a partition, fetched piece by piece."""
        extent = self.extents[place]
        for piece in self.batches(place):
            yield from (entry for entry in entries(piece) if extent.start <= entry.offset < extent.end)


def check_cluster(
    connection: Connection,
    pseudonym_key: bytes | None,
    floor: Floor | None = None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Judge a running bus as it stands now, on all cores. The account must be allowed to read every topic and rule."""
    with RawLogs(connection) as logs:
        return check(
            Cluster(logs, connection),
            pseudonym_key,
            floor,
            policy_keys=connection.policy_keys,
            pool=worker_pool,
            told=told,
        )


def dump_cluster(connection: Connection, folder: Path) -> None:
    """Write all that a judgement needs into a new folder, which then holds personal data. Raises NoDump."""
    with RawLogs(connection) as logs:
        cluster = Cluster(logs, connection)
        streams.make_folder(folder)
        for place in cluster.extents:
            streams.write_batches(folder, place, cluster.batches(place))
        streams.write_cluster(folder, cluster.extents, cluster.rules, cluster.settled)


def _order(place: Place) -> tuple[int, Place]:
    """Deliveries, then sources, the policy log last."""
    prefixes = (names.GRANT_PREFIX, names.OPEN_PREFIX, names.SOURCE_PREFIX)
    return next((rank for rank, prefix in enumerate(prefixes) if place[0].startswith(prefix)), len(prefixes)), place
