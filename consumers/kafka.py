"""Subscriber: the events that the bus delivers to a department, each acknowledged when it was handled."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from bianhe.consumers.subscriber import Delivery, Event, Last, Place, Reader, Sequence, topics_to_read
from bianhe.infra import clock
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explain, explained
from bianhe.infra.kafka.session import check_login
from bianhe.infra.schema_registry import SchemaRegistry
from bianhe.infra.settings import Profile
from bianhe.schemas import names
from bianhe.schemas.errors import BusError, Transient

FETCH_RECORDS: Final = 500
WAIT_SECONDS: Final = 0.2
COMMIT_SECONDS: Final = 1.0
TOPICS_SECONDS: Final = 60.0
"""How soon a new grant is read without a restart."""
DRAIN_SECONDS: Final = 30.0
"""How long `drain` waits for brokers that went away."""
_CALL_SECONDS: Final = 10.0

_NOT_OURS_NOW: Final = frozenset({"UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS"})


class Subscriber:
    """A department's events from every topic that it may read; not for several threads.

    Asking for the next event, or batch, acknowledges the one before; an exception or `break` leaves the current one
    unacknowledged, and it comes again. So each event comes at least once, and in order for its key.

    Iterating raises DeliveryLost, DeliveryDoubled, Misaddressed, and RefusedByBroker where access has ended; while the
    brokers are away it waits. Opening raises NothingGranted, BrokerUnreachable or LoginRefused.
    """

    def __init__(self, profile: Profile, resources: Collection[str] | None = None) -> None:
        password = profile.password()
        self._department = profile.department
        self._resources = frozenset(resources) if resources else None
        self._connection = Connection(profile.bootstrap, profile.department, password, profile.ca_file)
        check_login(self._connection)
        self._registry = SchemaRegistry(profile.registry, profile.department, password, ca_file=profile.ca_file)
        self._reader = Reader(profile.department, self._registry.by_id)
        self._sequence = Sequence()
        self._fetched: list[Message] = []
        self._unplaced: set[Place] = set()
        """Partitions that were assigned, and of which it is not known yet what was handled before."""
        self._pending: deque[Event] = deque()
        self._appended: deque[Last] = deque()
        self._handed_out = 0
        self._handled: dict[Place, tuple[int, Last]] = {}
        self._ends: dict[Place, int] = {}
        self._fault: BusError | None = None
        self._away_since: float | None = None
        """When the last broker went away, until anything arrives again."""
        self._consumer: Consumer = clients.consumer(
            self._connection,
            names.group(profile.department, profile.client),
            shows_ends=True,
            on_error=self._note,
        )
        self._topics: frozenset[str] = frozenset()
        self._committed_at = self._listed_at = time.monotonic()
        try:
            self._subscribe()
        except BaseException:
            self._consumer.close()
            self._registry.close()
            raise

    @classmethod
    def from_profile(cls, path: str | Path, resources: Collection[str] | None = None) -> Self:
        """Open a subscriber with a profile file, for all resources granted or for those named."""
        return cls(Profile.read(Path(path)), resources)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._commit()
        except BusError as uncommitted:
            if error is None:
                raise
            error.add_note(f"positions were not committed: {uncommitted}")
        finally:
            self._consumer.close()
            self._registry.close()

    @property
    def topics(self) -> frozenset[str]:
        """The topics that are read."""
        return self._topics

    def __iter__(self) -> Iterator[Event]:
        """Every event, for ever."""
        return self._events(lambda: False)

    def drain(self) -> Iterator[Event]:
        """Every event up to the present end of the partitions that this client holds; then it stops.

        Raises BrokerUnreachable where nothing arrives and no broker answers for 30 s.
        """
        return self._events(self._at(self._present_ends()))

    def batches(self) -> Iterator[list[Event]]:
        """Every event, for ever, in batches of up to 500; asking for the next batch acknowledges the whole of one."""
        while self._more(lambda: False):
            self._handed_out = len(self._pending)
            yield list(self._pending)
            self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge the event or batch handed out last, without asking for another."""
        for _ in range(self._handed_out):
            event, last = self._pending.popleft(), self._appended.popleft()
            self._handled[event.topic, event.partition] = event.offset + 1, last
        self._handed_out = 0
        self._commit_if_due()

    def _events(self, finished: Callable[[], bool]) -> Iterator[Event]:
        while self._more(finished):
            self._handed_out = 1
            yield self._pending[0]
            self.acknowledge()
        self._commit()

    def _more(self, finished: Callable[[], bool]) -> bool:
        """Wait for events; False when there are none and it is finished."""
        while not self._pending:
            if self._fault is not None:
                raise self._fault
            if finished():
                return False
            self._fetch()
        return True

    def _fetch(self) -> None:
        if time.monotonic() - self._listed_at > TOPICS_SECONDS:
            self._listed_at = time.monotonic()
            with suppress(Transient):
                self._subscribe()
        if not self._fetched:
            with explained(self._connection, "reading"):
                self._fetched = clients.arrived(self._consumer, FETCH_RECORDS, WAIT_SECONDS)
        if self._unplaced and not self._placed():
            return
        messages, self._fetched = self._fetched, []
        now_millis = int(clock.now().timestamp() * 1000)
        try:
            for message in messages:
                self._take(message, now_millis)
        except BusError as error:
            # What came before it is right and is handed out first.
            self._fault = error
        self._commit_if_due()

    def _placed(self) -> bool:
        """Begin each partition behind what was handled before; false while no broker says what that is."""
        wanted = [TopicPartition(topic, partition) for topic, partition in sorted(self._unplaced)]
        try:
            with explained(self._connection, "reading what was handled before"):
                found = self._consumer.committed(wanted, timeout=_CALL_SECONDS)
        except Transient:
            self._away_since = self._away_since or time.monotonic()
            return False
        for position in found:
            self._sequence.start((position.topic, position.partition), Last.parse(position.metadata))
        self._unplaced.clear()
        return True

    def _take(self, message: Message, now_millis: int) -> None:
        error = message.error()
        if error is not None:
            self._take_error(error, message)
            return
        self._away_since = None
        delivery = delivery_of(message)
        event = self._reader.event(delivery)
        self._sequence.check(event, delivery.append_millis, now_millis)
        self._pending.append(event)
        self._appended.append(Last(event.seq, delivery.append_millis))

    def _take_error(self, error: KafkaError, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error.code() == KafkaError._PARTITION_EOF:
            assert topic is not None
            assert partition is not None
            assert offset is not None
            self._ends[topic, partition] = offset
        elif error.code() != KafkaError._MAX_POLL_EXCEEDED:  # after that one the client joins its group again
            fault = explain(error, self._connection, f"reading {topic or 'the delivery topics'}")
            if not isinstance(fault, Transient):
                raise fault

    def _commit_if_due(self) -> None:
        if time.monotonic() - self._committed_at > COMMIT_SECONDS:
            # While the brokers are away it waits: what was handled is committed when they are back.
            with suppress(Transient):
                self._commit()

    def _commit(self) -> None:
        self._committed_at = time.monotonic()
        if not self._handled:
            return
        positions = [
            TopicPartition(topic, partition, offset, str(last))
            for (topic, partition), (offset, last) in self._handled.items()
        ]
        try:
            with explained(self._connection, "committing positions"):
                self._consumer.commit(offsets=positions, asynchronous=False)
        except BusError as error:
            # Another member has the partitions now, and their events come again to it.
            if getattr(error, "code", None) not in _NOT_OURS_NOW:
                raise
        self._handled.clear()

    def _subscribe(self) -> None:
        """Read what the account may read now; raises where a topic that was read is gone."""
        with explained(self._connection, "listing topics"):
            visible = frozenset(self._consumer.list_topics(timeout=_CALL_SECONDS).topics)
        topics = topics_to_read(visible, self._department, self._resources)
        self._listed_at = time.monotonic()
        if topics != self._topics:
            self._topics = topics
            self._consumer.subscribe(
                sorted(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for position in partitions:
            self._unplaced.add((position.topic, position.partition))
            self._ends.setdefault((position.topic, position.partition), -1)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with suppress(Transient):
            self._commit()
        self._lost(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for position in partitions:
            place = (position.topic, position.partition)
            self._unplaced.discard(place)
            self._handled.pop(place, None)
            self._ends.pop(place, None)

    def _present_ends(self) -> dict[Place, int]:
        ends = {}
        with explained(self._connection, "reading the ends of the delivery topics"):
            topics = self._consumer.list_topics(timeout=_CALL_SECONDS).topics
            for topic in self._topics & topics.keys():
                for partition in topics[topic].partitions:
                    place = TopicPartition(topic, partition)
                    _, ends[topic, partition] = self._consumer.get_watermark_offsets(place, timeout=_CALL_SECONDS)
        return ends

    def _at(self, ends: dict[Place, int]) -> Callable[[], bool]:
        def reached() -> bool:
            if self._ends and all(end >= ends.get(place, 0) for place, end in self._ends.items()):
                return True
            if self._away_since is not None and time.monotonic() - self._away_since > DRAIN_SECONDS:
                check_login(self._connection)
                self._away_since = None
            return False

        return reached

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            self._fault = explain(error, self._connection, "reading")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = time.monotonic()


def delivery_of(message: Message) -> Delivery:
    """A message without a fault, as the pure half takes it."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value = message.key(), message.value()
    return Delivery(
        topic=topic,
        partition=partition,
        offset=offset,
        append_millis=message.timestamp()[1],
        key=key if isinstance(key, bytes | None) else key.encode(),
        value=value if isinstance(value, bytes | None) else value.encode(),
        headers=dict(message.headers() or ()),
    )
