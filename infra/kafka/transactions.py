"""Transactions that nobody can end any more, which Kafka calls hanging (KIP-664): found, and aborted.

One is open on a partition while no coordinator knows of it, so no timeout ends it. Nobody reads what was committed
behind its first record, and no revocation finds an edge there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kafka.errors import for_code  # type: ignore[import-untyped]
from kafka.protocol.admin import DescribeProducersRequest, ListTransactionsRequest  # type: ignore[import-untyped]
from kafka.protocol.producer import WriteTxnMarkersRequest  # type: ignore[import-untyped]

from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import refused
from bianhe.infra.kafka.raw_log import Place, RawLogs
from bianhe.infra.kafka.session import Message, Session, check_login

SILENT_SECONDS: Final = 30.0
"""Twice the longest transaction of any writer of the bus: what wrote since then may still be ended by its owner."""
_GOING_ON: Final = ["Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"]


@dataclass(frozen=True, slots=True)
class HangingTransaction:
    """Where it stands, and what a marker must say to end it."""

    topic: str
    partition: int
    offset: int
    """Its first record."""
    producer_id: int
    epoch: int
    coordinator_epoch: int
    silent_seconds: float
    """Since it last wrote, by the clock of this machine."""

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} from offset {self.offset} on"


def hanging(
    connection: Connection, prefixes: tuple[str, ...], silent: float = SILENT_SECONDS
) -> list[HangingTransaction]:
    """What hangs on the topics that begin so. Needs TOPIC READ on them, and DESCRIBE on every transactional id."""
    with RawLogs(connection) as logs:
        waiting = [
            place
            for place in sorted(logs.leaders)
            if place[0].startswith(prefixes) and logs.offset(place, "stable") < logs.offset(place, "end")
        ]
        found = [each for place in waiting for each in _open(connection, logs.leaders[place], place)]
    found = [each for each in found if each.silent_seconds > silent]
    # Asked second: what a coordinator began meanwhile is not silent.
    known = _known(connection) if found else frozenset()
    return [each for each in found if each.producer_id not in known]


def abort(connection: Connection, transaction: HangingTransaction) -> None:
    """Write the marker that nobody else writes: none of it counts. Needs CLUSTER ALTER."""
    topic, partition = place = transaction.topic, transaction.partition
    marker = WriteTxnMarkersRequest.WritableTxnMarker
    request = WriteTxnMarkersRequest[1](
        markers=[
            marker(
                producer_id=transaction.producer_id,
                producer_epoch=transaction.epoch,
                transaction_result=False,
                topics=[marker.WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
                coordinator_epoch=max(transaction.coordinator_epoch, 0),
            )
        ]
    )
    with RawLogs(connection) as logs, Session(connection, (logs.leaders[place],)) as session:
        answer = session.ask(request)
    _check(answer.markers[0].topics[0].partitions[0].error_code, f"ending {transaction}", connection)


def _open(connection: Connection, leader: str, place: Place) -> Iterator[HangingTransaction]:
    """The transactions that are open on a partition."""
    topic, partition = place
    asked = DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=[partition])
    with Session(connection, (leader,)) as session:
        answer: Message = session.ask(DescribeProducersRequest[0](topics=[asked]))
    described = answer.topics[0].partitions[0]
    _check(described.error_code, f"asking who writes to {topic}/{partition}", connection)
    for each in described.active_producers:
        if each.current_txn_start_offset >= 0:
            yield HangingTransaction(
                topic,
                partition,
                each.current_txn_start_offset,
                each.producer_id,
                each.producer_epoch,
                each.coordinator_epoch,
                time.time() - each.last_timestamp / 1000,
            )


def _known(connection: Connection) -> frozenset[int]:
    """The producer ids of all transactions that a coordinator will still end."""
    known: set[int] = set()
    for address in check_login(connection).values():
        with Session(connection, (address,)) as session:
            answer = session.ask(ListTransactionsRequest[0](state_filters=_GOING_ON, producer_id_filters=[]))
        _check(answer.error_code, "listing transactions", connection)
        known |= {each.producer_id for each in answer.transaction_states}
    return frozenset(known)


def _check(code: int, doing: str, connection: Connection) -> None:
    if code:
        raise refused(str(for_code(code).message), doing, connection.account)
