"""Reading partitions to their present ends, as the policy log and the router's state are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bianhe.infra.closing import Closing
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import UNREACHABLE, explained, unreachable

_FETCH_RECORDS: Final = 500
_WAIT_SECONDS: Final = 1.0


class LogRecord(NamedTuple):
    """A record as it lies in the log; `time` is in milliseconds since 1970, by the topic's own kind of timestamp."""

    offset: int
    key: bytes | None
    value: bytes | None
    time: int


class LogReader(Closing):
    """Reads a partition from `start` on, each time to where it ends now. Use it in a `with` block.

    The account needs READ on the topic and DESCRIBE on the group, which is never joined; nothing is committed.
    A position that is no longer in the log raises, instead of being replaced by another.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        partition: int,
        *,
        group: str,
        start: int = 0,
        isolation: clients.Isolation = "read_committed",
        timeout: float = 30.0,
    ) -> None:
        self._connection = connection
        self._place = TopicPartition(topic, partition, start)
        self._timeout = timeout
        self._reader = clients.end_consumer(connection, group, isolation)
        # A client of its own, which never fetches: behind a waiting fetch the question takes as long as the wait.
        self._asker = clients.end_consumer(connection, group, isolation)
        self.position = start

    def close(self) -> None:
        self._reader.close()
        self._asker.close()

    def end(self) -> int:
        """Where the partition ends now: the last stable offset, or with read_uncommitted the log end."""
        with explained(self._connection, f"reading the end of {self._place.topic}"):
            try:
                return self._asker.get_watermark_offsets(self._place, timeout=self._timeout)[1]
            except KafkaException as error:
                if error.args[0].name() in UNREACHABLE:  # nobody could tell a reason, and asking costs CPU
                    raise
                raise KafkaException(self._reason() or error.args[0]) from error

    def _reason(self) -> KafkaError | None:
        """Why the topic is not to be seen: the question for its end is told no more than that it is unknown."""
        topic = self._place.topic
        found = self._asker.list_topics(topic, timeout=self._timeout).topics[topic].error
        return found if isinstance(found, KafkaError) else None

    def read_to_end(self) -> list[LogRecord]:
        """Return what was added since the last call, complete to the end that the partition had when called.

        `position` is then the offset to go on from. With nothing new it costs one question to the broker.
        """
        return list(self.stream_to_end())

    def stream_to_end(self) -> Iterator[LogRecord]:
        """The same one record at a time, for a partition that memory should not hold; `position` moves at its end."""
        end = self.end()
        if self.position >= end:
            return
        # Assigned only while it reads: a fetch that waits for nothing, every 10 ms, costs the broker a fifth of a core.
        with explained(self._connection, f"reading {self._place.topic}"):
            self._reader.assign([TopicPartition(self._place.topic, self._place.partition, self.position)])
            try:
                yield from self._read_until(end)
            finally:
                self._reader.unassign()

    def _read_until(self, end: int) -> Iterator[LogRecord]:
        position, progress_at, arriving = self.position, time.monotonic(), self._arriving()
        # Behind the last record lie transaction markers: only the EOF event tells that nothing more is to come.
        while position < end:
            message = next(arriving)
            if message is None or time.monotonic() - progress_at > self._timeout:
                raise unreachable(self._connection.bootstrap)
            error, offset = message.error(), message.offset()
            if error is None and offset is not None:
                yield LogRecord(offset, message.key(), message.value(), message.timestamp()[1])
                position, progress_at = offset + 1, time.monotonic()
            elif error is not None and error.code() == KafkaError._PARTITION_EOF and offset is not None:
                position = offset
            elif error is not None and not error.retriable():
                raise KafkaException(error)
        self.position = position

    def _arriving(self) -> Iterator[Message | None]:
        """What has arrived, many at a time; where nothing has, the next, and None where it does not come in time."""
        while True:
            yield from clients.arrived(self._reader, _FETCH_RECORDS, self._timeout) or (None,)


def read_to_ends(
    connection: Connection, consumer: Consumer, positions: dict[tuple[str, int], int], timeout: float = 30.0
) -> Iterator[Message]:
    """Every record of these partitions from their positions to where they end now, by one client; positions move on.

    The client shows ends (`clients.end_consumer`) and has nothing assigned: before and after it fetches nothing.
    """
    with explained(connection, "reading several partitions"):
        ends = {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout)[1] for place in positions}
        behind = {place for place, end in ends.items() if positions[place] < end}
        consumer.assign([TopicPartition(*place, positions[place]) for place in behind])
        progress_at = time.monotonic()
        try:
            while behind:
                for message in clients.arrived(consumer, _FETCH_RECORDS, _WAIT_SECONDS):
                    progress_at = time.monotonic()
                    error, place = message.error(), (message.topic() or "", message.partition() or 0)
                    if error is None and (message.offset() or 0) < ends[place]:
                        positions[place] = (message.offset() or 0) + 1
                        yield message
                    elif error is None or error.code() == KafkaError._PARTITION_EOF:
                        positions[place] = max(positions[place], ends[place])
                        behind.discard(place)
                    elif not error.retriable():
                        raise KafkaException(error)
                if time.monotonic() - progress_at > timeout:
                    raise unreachable(connection.bootstrap)
        finally:
            consumer.unassign()
