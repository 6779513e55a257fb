"""What stands in the place of `bianhe.infra.kafka.clients`: the client library as the router uses it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, TopicPartition
from simulation.kafka import Cluster, Headers, Member, fault

from bianhe.consumers.checker.log import Entry, Place
from bianhe.infra.kafka.connection import Connection
from bianhe.schemas.names import POLICY

_END = KafkaError(KafkaError._PARTITION_EOF, "end")
_UNKNOWN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown")
Callback = Callable[["GroupConsumer", list[TopicPartition]], None]


@dataclass(frozen=True)
class Seat(Connection):
    """The connection of one simulated process."""

    cluster: Cluster = None  # type: ignore[assignment]
    process: Any = None


class Message(NamedTuple):
    """A record, or an error, as the client library hands it out."""

    place: Place
    entry: Entry
    fault: KafkaError | None = None

    def error(self) -> KafkaError | None:
        return self.fault

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.entry.offset

    def key(self) -> bytes | None:
        return self.entry.key

    def value(self) -> bytes | None:
        return self.entry.value

    def timestamp(self) -> tuple[int, int]:
        return 2, self.entry.millis


class Listed(NamedTuple):
    """A topic in a listing."""

    topic: str
    error: KafkaError | None


class Listing(NamedTuple):
    """What a broker says of topics."""

    topics: dict[str, Listed]


def consumer(connection: Seat, group: str, *, instance: str, start: str, isolation: str) -> GroupConsumer:
    return GroupConsumer(connection, instance)


def arrived(consumer: EndConsumer, count: int, wait_seconds: float) -> list[Message]:
    return consumer.consume(count, wait_seconds)


def end_consumer(connection: Seat, group: str, isolation: str) -> EndConsumer:
    return EndConsumer(connection, isolation)


def transactional_producer(
    connection: Seat, transactional_id: str, timeout: float, *, logger: logging.Logger
) -> Producer:
    return Producer(connection, transactional_id, logger)


def leave_group(connection: Seat, group: str, instance: str) -> bool:
    connection.cluster.group.remove(instance)
    return True


class Producer:
    """One transactional producer; it sends when it likes, and asks again in silence."""

    def __init__(self, seat: Seat, transactional_id: str, logger: logging.Logger) -> None:
        self._seat, self._cluster, self._world = seat, seat.cluster, seat.cluster.world
        self._id = transactional_id
        self._logger = logger
        self._epoch = -1
        self._queue: list[tuple[Place, bytes | None, bytes | None, Headers]] = []
        self._lines: list[str] = []

    def init_transactions(self, timeout: float) -> None:
        # It takes longer than anything else.
        for _ in range(3):
            self._world.disturb(self._seat.process)
        self._epoch = self._cluster.initialise(self._id)
        self._seat.process.writes_as = self._cluster.coordinators[self._id].producer, self._epoch

    def begin_transaction(self) -> None:
        self._world.disturb(self._seat.process)

    def produce(
        self, topic: str, value: bytes | None, key: bytes, partition: int, headers: Headers | None = None
    ) -> None:
        self._queue.append(((topic, max(partition, 0)), key, value, headers or []))
        if self._world.happens(0.3):
            self._world.disturb(self._seat.process)
            self._send()

    def send_offsets_to_transaction(self, positions: Sequence[TopicPartition], member: Member, timeout: float) -> None:
        self._world.disturb(self._seat.process)
        self._send()
        offsets = {(each.topic, each.partition): each.offset for each in positions}
        cluster, id, epoch = self._cluster, self._id, self._epoch
        cluster.add_offsets(id, epoch, offsets, member)
        self._held(lambda: cluster.add_offsets(id, epoch, offsets, member))

    def commit_transaction(self, timeout: float) -> None:
        self._world.disturb(self._seat.process)
        self._send()
        if self._world.happens(self._world.rates.refused):
            raise fault(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, abortable=True)
        self._end(commit=True)

    def abort_transaction(self, timeout: float) -> None:
        self._world.disturb(self._seat.process)
        self._queue.clear()
        self._end(commit=False)

    def poll(self, timeout: float) -> None:
        for line in self._lines:
            self._logger.error(line)
        self._lines.clear()

    def _send(self) -> None:
        for place, key, value, headers in self._queue:
            self._cluster.produce(self._id, self._epoch, place, key, value, headers)
        self._queue.clear()

    def _end(self, commit: bool) -> None:
        cluster, id, epoch = self._cluster, self._id, self._epoch
        if self._world.happens(self._world.rates.unknown):
            if self._world.happens(0.5):
                cluster.end_transaction(id, epoch, commit)
            else:
                cluster.late.append(lambda: cluster.end_transaction(id, epoch, commit))
            raise fault(KafkaError._TIMED_OUT, retriable=True)
        if commit and self._world.happens(self._world.rates.belied):
            self._lines.append("FAIL: the connection is gone")
            commit = False
        cluster.end_transaction(id, epoch, commit)
        self._held(lambda: cluster.end_transaction(id, epoch, commit))

    def _held(self, request: Callable[[], None]) -> None:
        """The request was given up on a broken connection and sent again: its first copy may still be on its way."""
        if self._world.happens(self._world.rates.held):
            self._cluster.late.append(request)
            self._lines.append("FAIL: the connection is gone")
        elif self._world.happens(self._world.rates.lost):
            self._lines.append("REQTMOUT: a request got no answer")


class GroupConsumer:
    """A static member of the router's group."""

    def __init__(self, seat: Seat, instance: str) -> None:
        self._seat, self._cluster, self._world = seat, seat.cluster, seat.cluster.world
        self._member = Member(instance)
        self._joined = False
        self._positions: dict[Place, int] = {}

    def subscribe(self, topics: list[str], *, on_assign: Callback, on_revoke: Callback, on_lost: Callback) -> None:
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self._cluster.group.partitions |= {place for place in self._cluster.logs if place[0] in topics}
        if not self._joined:
            self._joined = True
            self._member = self._cluster.group.join(self._member.instance)
            self._cluster.group.rebalance(self._world.number)

    def consumer_group_metadata(self) -> Member:
        return self._member

    def consume(self, count: int, timeout: float) -> list[Message]:
        self._world.disturb(self._seat.process)
        if self._member.fenced:
            return [Message(("", 0), Entry(-1, 0, None, None), KafkaError(KafkaError._FATAL, "fenced instance"))]
        if not self._joined or not count:
            return []
        self._serve()
        found = list(self._fetched(self._world.share(count)))
        if not found:
            self._world.wait(timeout)
        return found

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            if (each.topic, each.partition) in self._positions:
                raise fault(KafkaError._CONFLICT)
            self._positions[each.topic, each.partition] = each.offset
            self._cluster.begun[each.topic, each.partition].add((*self._seat.process.writes_as, each.offset))

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            del self._positions[each.topic, each.partition]

    def seek(self, partition: TopicPartition) -> None:
        if (partition.topic, partition.partition) not in self._positions:
            raise fault(KafkaError._UNKNOWN_PARTITION)
        self._positions[partition.topic, partition.partition] = partition.offset

    def close(self) -> None:
        """Lets all go; a static member stays in the group for the length of a session."""
        member = self._member
        if self._joined and not member.fenced and member.owned:
            self._on_revoke(self, _partitions(member.owned))

    def _serve(self) -> None:
        """What the group has to say is said inside consume()."""
        member = self._member
        if not member.valid:
            lost = member.owned
            self._member = member = self._cluster.group.join(member.instance)
            if lost:
                self._on_lost(self, _partitions(lost))
        if going := member.going & member.owned:
            self._on_revoke(self, _partitions(going))
            member.owned -= going
            member.going -= going
            self._cluster.group.rebalance(self._world.number)
        if member.coming:
            coming, member.coming = member.coming, set()
            member.owned |= coming
            self._on_assign(self, _partitions(coming))

    def _fetched(self, count: int) -> Iterator[Message]:
        for place, position in list(self._positions.items()):
            for entry in self._cluster.logs[place][position : position + count]:
                self._positions[place] = entry.offset + 1
                count -= 1
                yield Message(place, entry)


class EndConsumer:
    """Reads one partition to its end, or only asks where that is."""

    def __init__(self, seat: Seat, isolation: str) -> None:
        self._seat, self._cluster, self._world = seat, seat.cluster, seat.cluster.world
        self._committed = isolation == "read_committed"
        self._place: Place = "", 0
        self._position, self._end_then = 0, 0
        self._unread: deque[Entry] | None = None
        """What stood there when it began to read."""

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        self._world.disturb(self._seat.process)
        place = partition.topic, partition.partition
        if place[0] == POLICY and self._cluster.blind:
            self._cluster.blind -= 1
            raise fault(KafkaError._TIMED_OUT, retriable=True)
        return 0, self._end(place)

    def list_topics(self, topic: str | None = None, timeout: float = 0) -> Listing:
        self._world.disturb(self._seat.process)
        if self._cluster.blind:
            self._cluster.blind -= 1
            raise fault(KafkaError._TIMED_OUT, retriable=True)
        known = set[str]() if self._world.happens(self._world.rates.stale) else self._cluster.topics
        asked = known if topic is None else {topic}
        return Listing({name: Listed(name, None if name in known else _UNKNOWN) for name in asked})

    def assign(self, partitions: list[TopicPartition]) -> None:
        [partition] = partitions
        self._place, self._position = (partition.topic, partition.partition), partition.offset
        self._unread = None

    def unassign(self) -> None:
        self._unread = None

    def consume(self, count: int, timeout: float) -> list[Message]:
        unread = self._begun()
        found = [Message(self._place, unread.popleft()) for _ in range(min(count, len(unread)))]
        if len(found) < count:
            found.append(self._ended())
        return found

    def close(self) -> None:
        self._unread = None

    def _begun(self) -> deque[Entry]:
        if self._unread is None:
            self._unread = deque(self._cluster.read(self._place, self._position))
            self._end_then = self._end(self._place)
        return self._unread

    def _ended(self) -> Message:
        self._position, self._unread = max(self._end_then, self._position), None
        return Message(self._place, Entry(self._position, 0, None, None), _END)

    def _end(self, place: Place) -> int:
        return self._cluster.stable(place) if self._committed else self._cluster.end(place)


def _partitions(places: set[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in sorted(places)]
