"""Partitions as they lie on the broker's disk: record batches with their headers, control batches, aborted records.

The client library shows none of these. Batches come as bytes, in the format of Kafka's segment files.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from kafka.errors import for_code  # type: ignore[import-untyped]
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest  # type: ignore[import-untyped]
from kafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]

from bianhe.infra.closing import Closing
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import refused
from bianhe.infra.kafka.session import Message, Session

Place = tuple[str, int]
Point = Literal["start", "end", "stable"]

_FETCH_BYTES: Final = 8 * 1024 * 1024
_FRESH_SECONDS: Final = 20.0
"""A broker closes a connection that is idle or whose login is old, either as early as after 30 s."""
_HEAD: Final = struct.Struct(">qi")
_TIMESTAMPS: Final = {"start": -2, "end": -1, "stable": -1}


class RawLogs(Closing):
    """Reads partitions from their leaders. Use it in a `with` block; not for several threads.

    The account must be allowed to read the topics. Raises BrokerUnreachable, LoginRefused and RefusedByBroker.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sessions: dict[str, Session] = {}
        self.leaders: Mapping[Place, str] = self._find_leaders()
        """Every partition of the cluster that the account may see, with its leader's address."""

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def __getstate__(self) -> dict[str, object]:
        """To another process goes what it needs to log in by itself."""
        return self.__dict__ | {"_sessions": {}}

    def offset(self, place: Place, point: Point) -> int:
        """Where a partition starts, where it ends, or up to where all transactions are decided (stable)."""
        topic, partition = place
        asked = ListOffsetsRequest.ListOffsetsTopic(
            name=topic,
            partitions=[
                ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition(
                    partition_index=partition, current_leader_epoch=-1, timestamp=_TIMESTAMPS[point]
                )
            ],
        )
        request = ListOffsetsRequest[4](replica_id=-1, isolation_level=int(point == "stable"), topics=[asked])
        found = self._leader(place).ask(request).topics[0].partitions[0]
        self._check(found.error_code, f"asking where {topic}/{partition} lies")
        return int(found.offset)

    def decided(self, place: Place, deadline: float) -> int:
        """The end of a partition, once every transaction that stands before it is decided, or the deadline is over."""
        end = self.offset(place, "end")
        while self.offset(place, "stable") < end and time.monotonic() < deadline:
            time.sleep(0.01)
        return end

    def batches(self, place: Place, start: int, end: int) -> Iterator[bytes]:
        """All that stands from an offset to before another, in pieces of whole batches, aborted records included.

        The first piece may begin before `start` and the last one go on behind `end`.
        """
        position = start
        while position < end:
            piece, position = _whole(self._fetch(place, position), position)
            yield piece

    def _fetch(self, place: Place, position: int) -> bytes:
        topic, partition = place
        asked = FetchRequest.FetchTopic(
            topic=topic,
            partitions=[
                FetchRequest.FetchTopic.FetchPartition(
                    partition=partition, fetch_offset=position, partition_max_bytes=_FETCH_BYTES
                )
            ],
        )
        request = FetchRequest[11](
            replica_id=-1, max_wait_ms=500, min_bytes=1, max_bytes=_FETCH_BYTES, isolation_level=0, topics=[asked]
        )
        answer = self._leader(place).ask(request)
        self._check(answer.error_code, f"reading {topic}/{partition}")
        found = answer.responses[0].partitions[0]
        self._check(found.error_code, f"reading {topic}/{partition}")
        return bytes(found.records or b"")

    def _find_leaders(self) -> dict[Place, str]:
        with Session(self._connection) as session:
            answer: Message = session.ask(MetadataRequest[9](topics=None, allow_auto_topic_creation=False))
        brokers = {broker.node_id: f"{broker.host}:{broker.port}" for broker in answer.brokers}
        return {
            (topic.name, partition.partition_index): brokers[partition.leader_id]
            for topic in answer.topics
            for partition in topic.partitions
            if partition.leader_id in brokers
        }

    def _leader(self, place: Place) -> Session:
        address = self.leaders[place]
        session = self._sessions.get(address)
        if session is not None and time.monotonic() - session.since > _FRESH_SECONDS:
            session.close()
            session = None
        if session is None:
            session = self._sessions[address] = Session(self._connection, (address,), timeout=30.0)
        return session

    def _check(self, code: int, doing: str) -> None:
        if code:
            raise refused(str(for_code(code).message), doing, self._connection.account)


def _whole(records: bytes, position: int) -> tuple[bytes, int]:
    """The whole batches of a fetched piece, whose last one is often cut, and the offset to go on from."""
    at = 0
    while at + 27 <= len(records):
        base, length = _HEAD.unpack_from(records, at)
        if at + _HEAD.size + length > len(records):
            break
        (delta,) = struct.unpack_from(">i", records, at + 23)
        position = base + delta + 1
        at += _HEAD.size + length
    return records[:at], position
