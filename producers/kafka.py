"""Publisher: a provider's events onto its source topics, each acknowledged by Kafka or reported."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message

from bianhe.infra import clock
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.connection import Connection
from bianhe.infra.kafka.errors import explain, explained
from bianhe.infra.kafka.session import check_login
from bianhe.infra.schema_registry import SchemaRegistry
from bianhe.infra.settings import Profile, read_secret
from bianhe.producers.importers import REMOVED, Change, Reject
from bianhe.producers.keys import InvalidSecret, secret_of
from bianhe.producers.publisher import Event, EventIds, Record, Writer
from bianhe.producers.validation import InvalidEvent
from bianhe.schemas import names
from bianhe.schemas.contract import Contract, Derivation
from bianhe.schemas.errors import BusError, Rejected, Transient

DELIVERY_SECONDS = 120.0
LINGER_MS = 20
"""How long a batch waits for more."""
_FULL_QUEUE_WAIT = 0.2
_DAY_MS = 86_400_000
_POLL_SECONDS = 0.005
"""How often receipts are taken in while events are sent one after the other."""


class Receipt(NamedTuple):
    """Where Kafka keeps a published record (回执)."""

    topic: str
    partition: int
    offset: int


OnReceipt = Callable[[Receipt], None]


class NotAProvider(Rejected):
    """The account may not write a source topic of this resource."""


class NotDelivered(Transient):
    """Some records were not acknowledged; `delivered` were. Publish the others again: with the same event ids if the
    provider knows them, since a record may have arrived whose acknowledgement did not."""

    def __init__(self, delivered: int, reasons: Mapping[str, int]) -> None:
        self.delivered = delivered
        self.undelivered = sum(reasons.values())
        super().__init__(
            f"{self.undelivered:,} of {delivered + self.undelivered:,} events were not acknowledged",
            cause="; ".join(f"{count:,} × {reason}" for reason, count in list(reasons.items())[:3]),
            cure="publish them again when the cause is gone",
        )


class Publisher:
    """A provider's way onto the bus; not for several threads at once.

    Sends in the background and tries again for `delivery_timeout` seconds. Leaving the block waits for every receipt,
    or raises NotDelivered. Opening it raises BrokerUnreachable or LoginRefused.
    """

    def __init__(self, profile: Profile, *, delivery_timeout: float = DELIVERY_SECONDS) -> None:
        password = profile.password()
        self._profile = profile
        self._connection = Connection(profile.bootstrap, profile.department, password, profile.ca_file)
        check_login(self._connection)
        self._registry = SchemaRegistry(profile.registry, profile.department, password, ca_file=profile.ca_file)
        self._open = partial(
            clients.producer,
            self._connection,
            linger_ms=LINGER_MS,
            delivery_timeout=delivery_timeout,
            on_error=self._note,
        )
        self._receipts = False
        self._producer = self._open(reports=False)
        self._sent = 0
        self._failed = 0
        self._failures: Counter[str] = Counter()
        self._login_error: KafkaError | None = None
        self._polled = -_POLL_SECONDS

    @classmethod
    def from_profile(cls, path: str | Path, *, delivery_timeout: float = DELIVERY_SECONDS) -> Self:
        """Open a publisher with a profile file; the password is `BIANHE_PASSWORD` or in the profile's password file."""
        return cls(Profile.read(Path(path)), delivery_timeout=delivery_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except NotDelivered as undelivered:
            if error is None:
                raise
            error.add_note(str(undelivered))
        finally:
            self._registry.close()

    @property
    def delivered(self) -> int:
        """How many records Kafka has acknowledged so far."""
        return self._sent - self._failed - len(self._producer)

    def resource(self, name: str) -> ResourcePublisher:
        """Publish to a resource under its newest contract; raises NotAProvider, InvalidContract or InvalidSecret."""
        topic = self._source_topic(name)
        registered = self._registry.latest(names.value_subject(topic))
        contract = Contract.parse(registered.text)
        return ResourcePublisher(self, Writer.of(contract, registered.id, self._secret(contract)))

    def flush(self) -> None:
        """Wait until every record so far is acknowledged; raises NotDelivered, once for each record that was not."""
        with explained(self._connection, "waiting for receipts"):
            while self._producer.flush(1.0):
                pass
        self._raise_failures()

    def give_up(self) -> None:
        """Stop trying to send what is not acknowledged; `flush` then reports it."""
        self._producer.purge()

    def send(self, topic: str, record: Record, on_receipt: OnReceipt | None) -> None:
        """Hand a record to the background; waits while its queue is full."""
        if self._failures:
            self.flush()
        if on_receipt is None:
            deliver: Callable[[KafkaError | None, Message], None] = self._answered
        else:
            self._report_success()
            deliver = partial(self._receipt, on_receipt)
        while True:
            try:
                self._producer.produce(topic, record.value, record.key, on_delivery=deliver)
            except BufferError:
                self._producer.poll(_FULL_QUEUE_WAIT)
            except (KafkaException, SystemError):
                with explained(self._connection, f"writing {topic}"):
                    raise
            else:
                break
        self._sent += 1
        if (now := time.monotonic()) - self._polled > _POLL_SECONDS:
            self._polled = now
            self._producer.poll(0)

    def _report_success(self) -> None:
        """From the first receipt that somebody wants, have all of them told: that costs most of an event."""
        if not self._receipts:
            self.flush()  # two producers keep no order
            self._producer, self._receipts = self._open(), True

    def _answered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            fault = explain(self._login_error or error, self._connection, f"writing {message.topic()}")
            self._failures[str(fault)] += 1
            self._failed += 1

    def _receipt(self, on_receipt: OnReceipt, error: KafkaError | None, message: Message) -> None:
        self._answered(error, message)
        if error is None:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            on_receipt(Receipt(topic, partition, offset))

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            self._login_error = error

    def _raise_failures(self) -> None:
        failures, self._failures = self._failures, Counter()
        if failures:
            raise NotDelivered(self.delivered, failures)

    def _source_topic(self, resource: str) -> str:
        with explained(self._connection, "listing topics"):
            topics = self._producer.list_topics(timeout=10).topics
        versions = [
            parsed.version
            for topic in topics
            if isinstance(parsed := names.parse_topic(topic), names.SourceTopic) and parsed.resource == resource
        ]
        if not versions:
            raise NotAProvider(
                f"account {self._profile.department} may not publish to {resource}",
                cause="the resource is unknown, has another provider, or is not yet on the cluster",
                cure="see who provides what: bianhe catalog show; bring the cluster up to date: bianhe sync apply",
            )
        return names.source_topic(resource, max(versions))

    def _secret(self, contract: Contract) -> bytes | None:
        if contract.key.derivation is Derivation.NATURAL:
            return None
        if self._profile.key_secrets is None:
            raise InvalidSecret(
                f"keys of {contract.resource} are derived with a secret, and the profile names no key_secrets",
                cure='add key_secrets = "keys" to the profile, then bianhe profile key ' + contract.resource,
            )
        file = self._profile.key_secrets / f"{contract.resource}.key"
        cure = f"make it once and keep a copy: bianhe profile key {contract.resource} --profile <your profile>"
        return secret_of(read_secret(file, cure).get_secret_value())


class ResourcePublisher:
    """Publishes the events of one resource; made by `Publisher.resource`."""

    def __init__(self, publisher: Publisher, writer: Writer) -> None:
        self._publisher = publisher
        self._writer = writer
        self._ids = EventIds(os.urandom)

    @property
    def contract(self) -> Contract:
        return self._writer.contract

    def settle(self) -> BusError | None:
        """Wait until every record so far is acknowledged, or give up at Ctrl-C; return what was not delivered."""
        try:
            self._publisher.flush()
        except KeyboardInterrupt:
            self._publisher.give_up()
            return self.settle()
        except BusError as error:
            return error
        return None

    def publish(
        self,
        items: Mapping[str, Any],
        kind: str = "CHANGED",
        *,
        event_time: datetime | None = None,
        case: str | None = None,
        event_id: str | None = None,
        on_receipt: OnReceipt | None = None,
    ) -> None:
        """Publish one event: the entity's new state, all items of the contract.

        Raises InvalidEvent at once; sends in the background. Without `event_time` it is now, without `event_id` a new
        UUIDv7. `case` is the objection that a correction answers. Raises NotDelivered if an earlier record failed.
        """
        millis = clock.millis()
        if not event_id:
            event_id = self._ids.new(millis)
        elif event_time is None:
            event_time = clock.now()
        record = self._writer.event(items, Event(event_id, kind, event_time, case), _date(millis // _DAY_MS))
        self._publisher.send(self._writer.topic, record, on_receipt)

    def remove(self, natural: str | Mapping[str, Any], *, on_receipt: OnReceipt | None = None) -> None:
        """Say that no record of an entity is kept any more, given its natural key (its value, or key items by name).

        A death or a deregistration is an event, not a removal.
        """
        record = self._writer.removal(natural, clock.now().date())
        self._publisher.send(self._writer.topic, record, on_receipt)


@lru_cache(maxsize=1)
def _date(days: int) -> date:
    """A day by its number since 1970."""
    return date(1970, 1, 1) + timedelta(days)


@dataclass
class Tally:
    """What became of a file's rows: each one read is published, rejected or unsent.

    `failure` is why it ended early, `resume_row` the first row that may be neither on the bus nor among the rejects.
    """

    read: int = 0
    published: int = 0
    rejected: int = 0
    resume_row: int | None = None
    failure: BusError | None = None

    @property
    def unsent(self) -> int:
        """Rows that were taken and not acknowledged."""
        return self.read - self.published - self.rejected


def publish_rows(
    resource: ResourcePublisher,
    rows: Iterable[Change | Reject],
    *,
    from_row: int,
    reject: Callable[[Reject], None],
    stopped: Callable[[], bool],
    progress: Callable[[Tally], None],
) -> Tally:
    """Publish a file's rows from a row on, until its end or until `stopped`; waits for every receipt.

    What cannot be published goes to `reject`. Never raises for what a row or the bus does: see the tally.
    """
    tally = Tally()
    waiting: dict[int, None] = {}

    def published(row: int, receipt: Receipt) -> None:
        del waiting[row]
        tally.published += 1

    last = from_row - 1
    try:
        for row in rows:
            if stopped():
                tally.resume_row = last + 1
                break
            if row.row < from_row:
                continue
            last, tally.read = row.row, tally.read + 1
            waiting[last] = None
            fault = row if isinstance(row, Reject) else _publish(resource, row, partial(published, last))
            if fault is not None:
                reject(fault)
                del waiting[last]
                tally.rejected += 1
            progress(tally)
    except BusError as error:
        tally.failure, tally.resume_row = error, last + 1
    unsettled = resource.settle()
    tally.failure = tally.failure or unsettled
    if waiting:
        tally.resume_row = next(iter(waiting))
    return tally


def _publish(resource: ResourcePublisher, row: Change, on_receipt: OnReceipt) -> Reject | None:
    try:
        if row.kind == REMOVED:
            resource.remove(row.items, on_receipt=on_receipt)
        else:
            resource.publish(
                row.items,
                row.kind,
                event_time=row.event_time,
                case=row.event_case,
                event_id=row.event_id,
                on_receipt=on_receipt,
            )
    except InvalidEvent as fault:
        return Reject(row.row, row.source, fault)
    return None
