"""The monitors on faust: windowed tables over the journal, freshness and alerts, all under `monitor.` (design 5).

They stand beside the way of the events: they read the journal, which names no entity, and nothing waits for them.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import faust
import structlog
from faust.transport.drivers import aiokafka as driver

from bianhe.consumers.monitors.counts import CITY_SECONDS, Count, Span, journal_key
from bianhe.consumers.monitors.report import Figures, Kind, Row, alerts, figures
from bianhe.infra import clock, telemetry
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.log import LogReader
from bianhe.infra.processes import not_collecting
from bianhe.schemas import names
from bianhe.schemas.errors import Transient
from bianhe.schemas.policy import EMPTY, Policy, fold
from bianhe.schemas.records.journal import JournalEntry
from bianhe.schemas.signatures import PinnedKeys

log = structlog.get_logger("bianhe.monitors")

PARTITIONS: Final = 4
"""Of the journal, and so of every table over it."""
ROUND_SECONDS: Final = 5.0
"""How soon an alert is raised or ended."""
BATCH_SECONDS: Final = 1.0
"""How often what was read is counted: each key and window once, however many transactions there were."""
_BATCH_ENTRIES: Final = 10_000


class Monitors:
    """Counts the journal into windows, and every few seconds says what they mean; lives in one event loop.

    Faust wants a folder of its own; what was counted is on Kafka alone.
    """

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._policy: Policy = EMPTY
        self._policy_keys = PinnedKeys.parse(connection.policy_keys)
        self._policy_log = LogReader(connection, names.POLICY, 0, group=names.MONITOR_GROUP)
        self.app = _app(connection, folder)
        self._windows: dict[Span, Any] = {span: self._window(span) for span in Span}
        self._latest = self.app.Table("latest")
        self._raised = self.app.Table("alerts", use_partitioner=True)
        journal = self.app.topic(names.JOURNAL, key_serializer="raw", value_serializer=_JournalCodec())
        self.app.agent(journal, name="journal")(self._count)
        self.app.timer(ROUND_SECONDS)(self._round)

    def _window(self, span: Span) -> Any:
        return self.app.Table(span.label).tumbling(span.seconds, expires=span.kept).table

    async def run(self, stopping: asyncio.Event) -> None:
        """Count until `stopping` is set, or faust gives up."""
        async with self.app:
            ends = [asyncio.create_task(each.wait()) for each in (stopping, self.app._crashed)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for each in ends:
                each.cancel()
        self._policy_log.close()

    async def _count(self, stream: Any) -> None:
        async for batch in stream.take_events(_BATCH_ENTRIES, within=BATCH_SECONDS):
            counts: dict[tuple[Any, Any], Count] = {}
            for event in batch:
                key, at, entry = event.key.decode(), event.message.timestamp, event.value
                named = journal_key(key)
                if named is None:
                    continue
                self.app.partitions[key] = event.message.partition
                # Faust's windows begin where a multiple of their length does: a day of the city at its own midnight.
                places = [(table, (key, table.window.current(at + CITY_SECONDS))) for table in self._windows.values()]
                for table, place in (*places, (self._latest, key)):
                    before = counts.get((table, place)) or Count.of(table.get(place))
                    counts[table, place] = before.after(entry, at, live=named.live)
            for (table, place), count in counts.items():
                table[place] = count.document()

    async def _round(self) -> None:
        """Read the policy, then say what the tables mean."""
        try:
            await asyncio.to_thread(self._follow_policy)
        except Transient as fault:
            log.warning("waiting", fault=str(fault))
            return
        now = clock.now().timestamp()
        cycles = {resource.code: resource.update_cycle for resource in self._policy.resources.values()}
        latest = {key: Count.of(document) for key, document in self._latest.items()}
        found = figures(cycles, latest, self._rows(), now)
        _publish(found, now)
        self._raise(found, now)

    def _follow_policy(self) -> None:
        with not_collecting():
            records = self._policy_keys.read(entry.value for entry in self._policy_log.stream_to_end())
            if records:
                self._policy = fold(self._policy, records)
                gc.freeze()

    def _rows(self) -> Iterator[Row]:
        for span, table in self._windows.items():
            for (key, (begin, _)), document in table.items():
                yield Row(span, begin - CITY_SECONDS, key, Count.of(document))

    def _raise(self, found: dict[str, Figures], now: float) -> None:
        raised = {alert.key: alert for alert in alerts(found, now)}
        for key in set(self._raised) - raised.keys():
            log.info("alert is over", alert=key)
            del self._raised[key]
        for key, alert in raised.items():
            # What changes with every round is no news.
            if key not in self._raised:
                log.warning("alert", **alert.document())
                self._raised[key] = alert.document()
        for kind in Kind:
            count = sum(alert.kind is kind for alert in raised.values())
            telemetry.MONITOR_ALERTS.labels(kind.value).set(count)


def _publish(found: dict[str, Figures], now: float) -> None:
    for gauge in (telemetry.MONITOR_EVENTS, telemetry.MONITOR_QUARANTINED, telemetry.MONITOR_DELIVERIES):
        gauge.clear()
    for resource, known in found.items():
        if known.cycle is not None:
            telemetry.MONITOR_CYCLE_SECONDS.labels(resource).set(known.cycle.total_seconds())
        if (age := known.age(now)) is not None:
            telemetry.MONITOR_AGE_SECONDS.labels(resource).set(age)
        telemetry.MONITOR_HOUR_EVENTS.labels(resource).set(known.hour_events)
        for span, window in known.whole.items():
            telemetry.MONITOR_EVENTS.labels(resource, span.label).set(window.events)
            telemetry.MONITOR_QUARANTINED.labels(resource, span.label).set(window.quarantined)
            for topic, records in window.records.items():
                telemetry.MONITOR_DELIVERIES.labels(resource, topic, span.label).set(records)


class _JournalCodec(faust.Codec):
    """Entries of the journal, by the bus's own reading of them."""

    def _loads(self, value: bytes) -> JournalEntry:
        return JournalEntry.decode(value)


class _Table(faust.Table[Any, Any]):
    def _changelog_topic_name(self) -> str:
        return f"{names.MONITOR_PREFIX}{self.name}"

    def partition_for_key(self, key: Any) -> int | None:
        # Alerts are raised by the clock, outside of any stream, perhaps before the producer knows the topic.
        if self.use_partitioner:
            return 0
        return cast(_App, self.app).partitions[key[0] if self.window else key]

    def _maybe_set_key_ttl(self, key: Any, partition: int) -> None:
        # Faust notes at each write when the window expires, and keeps the note as long: for a day's window 62 days.
        if self.window is None or key not in self._partition_timestamp_keys.get((partition, key[1][1]), ()):
            super()._maybe_set_key_ttl(key, partition)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        events = list(batch)
        super().apply_changelog_batch(events)
        # Faust does not note of a window that it recovers when it expires, so it would stay.
        for event in events:
            if self.window is not None and event.message.value is not None:
                self._maybe_set_key_ttl(self._to_key(event.key), event.message.partition)

    def _new_changelog_topic(self, **options: Any) -> Any:
        topic = super()._new_changelog_topic(**options)
        topic.replicas = -1  # as the brokers are set, like every other topic of the bus
        return topic


class _CommittedThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads uncommitted unless it writes transactions itself; but what an aborted one routed never was.
        consumer._isolation_level = "read_committed"
        # The broker collects for faust's 1.5 s: an answer for each transaction costs more than counting it.
        consumer._fetch_min_bytes = 1_000_000
        # Ten attempts a second at a broker that is away take more of a core than all the counting.
        consumer._retry_backoff_ms = 1000
        return consumer


class _CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> _CommittedThread:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        # Faust 0.15 counts the record behind a gap to it, so to its books it came twice: behind each transaction's
        # marker its position stood still, and its list of what it has read grew for as long as it ran.
        await super()._add_gap(tp, offset_from, offset_to - 1)


class _Transport(driver.Transport):
    Consumer = _CommittedConsumer


class _App(faust.App):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.partitions: dict[str, int] = {}
        """Where each key of the journal lies, and so what is kept of it: a batch is of all partitions."""

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)


def _app(connection: Connection, folder: Path) -> _App:
    credentials = faust.SASLCredentials(
        username=connection.account,
        password=connection.password.get_secret_value(),
        mechanism=connection.mechanism,
        ssl_context=ssl.create_default_context(cafile=connection.ca_file) if connection.ca_file else None,
    )
    return _App(
        names.MONITOR_GROUP,
        broker=[f"kafka://{address}" for address in connection.addresses],
        broker_credentials=credentials,
        Table=_Table,
        datadir=folder,
        topic_partitions=PARTITIONS,
        # The leader of several monitors would be elected on a topic of its own; there is one.
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
    )
