"""What a worker believes of a partition when it gets it: read back from the log, never remembered (design 3.3)."""

from __future__ import annotations

from datetime import date

from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route
from bianhe.consumers.router.routing import SourceRecord, holds
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import EndOffsets, LogReader
from bianhe.schemas import names
from bianhe.schemas.records.state import Position, ViewPosition, position_key, position_partition, view_key


class Recovery:
    """Reads `bus.router-state`, and for filtered views the source itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._logs: dict[int, _StateLog] = {}
        self._ends = EndOffsets(connection, names.ROUTER_GROUP, "read_uncommitted")

    def recover(self, topic: str, partition: int, route: Route, today: date) -> PartitionState | None:
        """The committed state of a source partition; None while a transaction that could change it is still open."""
        number = position_partition(topic, partition)
        log = self._logs.get(number)
        if log is None:
            log = self._logs[number] = _StateLog(self._connection, number)
        if not log.read_to(self._ends.end(names.ROUTER_STATE, number)):
            return None
        first = self._ends.begin(topic, partition)
        committed = log.position(topic, partition)
        state = PartitionState(topic, partition, max(first, committed), log.views(topic, partition))
        state.begin_views(route.deliveries)
        self._rebuild(state, route, today)
        return state

    def _rebuild(self, state: PartitionState, route: Route, today: date) -> None:
        """Find again which entities the filtered views hold: one pass over the source up to the position."""
        begins = {d.topic: state.views[d.topic].begin for d in route.filtered}
        start = min(begins.values(), default=state.committed)
        if start >= state.committed:
            return
        reader = LogReader(self._connection, state.topic, state.partition, group=names.ROUTER_GROUP, begin=start)
        for entry in reader.read_to_end():
            if entry.offset >= state.committed:
                break
            record = SourceRecord(entry.offset, entry.key, entry.value, entry.timestamp)
            for delivery, held in holds(record, route, today):
                if record.offset < begins[delivery.topic] or record.append_millis >= delivery.until:
                    continue
                if held:
                    state.held[delivery.topic].add(record.key or b"")
                else:
                    state.held[delivery.topic].discard(record.key or b"")
        reader.close()


class _StateLog:
    """The latest record of each key in one partition of the state topic."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._reader = LogReader(connection, names.ROUTER_STATE, number, group=names.ROUTER_GROUP)
        self._latest: dict[str, bytes] = {}

    def read_to(self, high_watermark: int) -> bool:
        """Read all committed records; False while some below the high watermark are not yet decided."""
        for entry in self._reader.read_to_end():
            if entry.key is not None and entry.value is not None:
                self._latest[entry.key.decode()] = entry.value
        return self._reader.position >= high_watermark

    def position(self, topic: str, partition: int) -> int:
        value = self._latest.get(position_key(topic, partition))
        return Position.decode(value).position if value is not None else 0

    def views(self, topic: str, partition: int) -> dict[str, ViewPosition]:
        prefix = view_key(topic, partition, "")
        return {
            key.removeprefix(prefix): ViewPosition.decode(value)
            for key, value in self._latest.items()
            if key.startswith(prefix)
        }
