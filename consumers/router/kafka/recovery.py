"""What a worker believes of a partition when it gets it: read back from the log, never remembered (design 3.3)."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from confluent_kafka import TopicPartition

from bianhe.consumers.router.cap import Cap
from bianhe.consumers.router.limits import Limits
from bianhe.consumers.router.partition import PartitionState
from bianhe.consumers.router.plan import Route
from bianhe.consumers.router.routing import SourceRecord, holds
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explained
from bianhe.infra.kafka.log import LogReader
from bianhe.schemas import names
from bianhe.schemas.records.state import (
    Position,
    Standstill,
    ViewPosition,
    position_key,
    position_partition,
    standstill_key,
)

ANSWER_SECONDS: Final = 5.0
"""How long a broker may take: meanwhile nothing of any other partition is routed."""
_ASKED_ONE_BY_ONE: Final = 20
"""So many topics, about; more are found sooner in the list of all."""


class Recovery:
    """Reads `bus.router-state`, and for filtered views the source itself."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._logs: dict[int, _StateLog] = {}
        # Asks for ends only: from a client with a waiting fetch the answer takes as long as the fetch.
        self._asker = clients.end_consumer(connection, names.ROUTER_GROUP, "read_uncommitted")

    def existing(self, topics: frozenset[str]) -> frozenset[str]:
        """Those of these topics that exist now."""
        with explained(self._connection, "listing topics"):
            if len(topics) > _ASKED_ONE_BY_ONE:
                return topics.intersection(self._asker.list_topics(timeout=ANSWER_SECONDS).topics)
            # In order, so that a simulated history follows from its seed alone.
            asked = (self._asker.list_topics(each, timeout=ANSWER_SECONDS).topics[each] for each in sorted(topics))
            return frozenset(found.topic for found in asked if found.error is None)

    def recover(self, topic: str, partition: int, route: Route, released: int) -> PartitionState | Standstill | None:
        """The committed state of a source partition, or that it stands still there.

        Before the offset `released` it may not. None while a transaction that could change its state is still open.
        """
        number = position_partition(topic, partition)
        log = self._logs.get(number)
        if log is None:
            log = self._logs[number] = _StateLog(self._connection, number)
        _, high_watermark = self._ends(names.ROUTER_STATE, number)
        if not log.read_to(high_watermark):
            return None
        first, _ = self._ends(topic, partition)
        position, standstill = max(first, log.position(topic, partition)), log.standstill(topic, partition)
        if standstill is not None and standstill.holds(position, released):
            return standstill
        cap = Cap(self._limits, released)
        state = PartitionState(topic, partition, position, log.views(topic, partition), cap=cap)
        state.begin_views(route.deliveries)
        self._rebuild(state, route)
        return state

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        with explained(self._connection, f"reading the ends of {topic}"):
            return self._asker.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)

    def _rebuild(self, state: PartitionState, route: Route) -> None:
        """Find again which entities the filtered views hold: one pass over the source up to the position."""
        # A view that is behind finds its own again, see Loading.
        joined = {each.topic for each in route.filtered if state.views[each.topic].joined}
        start = self._ends(state.topic, state.partition)[0]
        if not joined or start >= state.committed:
            return
        route = route.only(joined)
        with LogReader(
            self._connection,
            state.topic,
            state.partition,
            group=names.ROUTER_GROUP,
            start=start,
            timeout=ANSWER_SECONDS,
        ) as reader:
            for offset, key, value, append_millis in reader.stream_to_end():
                if offset >= state.committed:
                    break
                record = SourceRecord(offset, key, value, append_millis)
                for delivery, held in holds(record, route):
                    if key is None or append_millis >= delivery.until:
                        continue
                    (state.held[delivery.topic].add if held else state.held[delivery.topic].discard)(key)


class _StateLog:
    """The latest record of each key in one partition of the state topic."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._reader = LogReader(
            connection, names.ROUTER_STATE, number, group=names.ROUTER_GROUP, timeout=ANSWER_SECONDS
        )
        self._latest: dict[str, dict[str, bytes]] = defaultdict(dict)
        """By source partition, then by view; its own position stands under no view."""

    def read_to(self, high_watermark: int) -> bool:
        """Read all committed records; False while some below the high watermark are not yet decided."""
        for record in self._reader.read_to_end():
            if record.key is not None and record.value is not None:
                topic, number, *view = record.key.decode().split("/", 2)
                self._latest[f"{topic}/{number}"]["".join(view)] = record.value
        return self._reader.position >= high_watermark

    def position(self, topic: str, partition: int) -> int:
        value = self._latest[position_key(topic, partition)].get("")
        return Position.decode(value).position if value is not None else 0

    def standstill(self, topic: str, partition: int) -> Standstill | None:
        source, _, number = standstill_key(topic, partition).rpartition("/")
        value = self._latest[source].get(number)
        return Standstill.decode(value) if value is not None else None

    def views(self, topic: str, partition: int) -> dict[str, ViewPosition]:
        known = self._latest[position_key(topic, partition)]
        return {view: ViewPosition.decode(value) for view, value in known.items() if view}
