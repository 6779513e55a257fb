"""`bianhe bench latency`: from the provider's produce call to the subscriber's hands, at given rates."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from bianhe.infra.bench.city import PARTITIONS, WORKERS, City, Source, a_city, source, source_values
from bianhe.infra.bench.race import StoodStill, Told
from bianhe.infra.kafka import clients
from bianhe.producers.kafka import LINGER_MS

VIEWS: Final = 5
_TICK_SECONDS: Final = 0.002
_UNTIMED: Final = b"untimed"
"""The key of events that are not measured."""
_PATIENCE_SECONDS: Final = 30.0
_WARM_UP: Final = 3
"""Of a round."""


class Latency(NamedTuple):
    """From the produce call to the subscriber's hands, in milliseconds."""

    p50_ms: float
    p99_ms: float


def measure(folder: Path, rates: Sequence[int], seconds: float, rounds: int, told: Told) -> dict[str, Any]:
    """p50 and p99 in milliseconds at each rate, seen by a read_committed consumer of one of five mailboxes.

    Every rate in turn, `rounds` times after one three times as long that is thrown away: a broker that has just started
    compiles itself for minutes, and one at work has long done so.
    """
    values, found = source_values(), dict[int, list[Latency]]()
    with a_city(folder, [source(VIEWS)]) as city:
        city.start_router()
        for number in range(rounds + 1):
            for rate in rates:
                took = at_rate(city, values, source(VIEWS), rate, seconds if number else _WARM_UP * seconds)
                told(f"round {number} of {rounds}  {rate} a second: p50 {took.p50_ms:.0f} ms, p99 {took.p99_ms:.0f} ms")
                if number:
                    found.setdefault(rate, []).append(took)
    rows = [
        {
            "rate": rate,
            "p50_ms": round(median(each.p50_ms for each in took), 1),
            "p99_ms": round(median(each.p99_ms for each in took), 1),
            "worst_p99_ms": round(max(each.p99_ms for each in took), 1),
        }
        for rate, took in found.items()
    ]
    return {
        "figures": rows,
        "ratios": {f"p99_to_p50_at_{row['rate']}": round(row["p99_ms"] / row["p50_ms"], 2) for row in rows},
        "conditions": {
            "views": VIEWS,
            "workers": WORKERS,
            "partitions": PARTITIONS,
            "seconds_at_a_rate": seconds,
            "rounds": f"{rounds}, after one {_WARM_UP} times as long that is thrown away; medians",
        },
    }


def at_rate(city: City, values: Sequence[bytes], source: Source, rate: int, seconds: float) -> Latency:
    """The p50 and p99 of all events of one rate, in the first mailbox of a source."""
    sent: list[float] = []
    count = int(rate * seconds)
    with clients.consumer(city.broker.connection(), "bench") as consumer:
        places = [TopicPartition(source.mailboxes[0], partition) for partition in range(PARTITIONS)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
        consumer.assign(places)
        publishing = threading.Thread(target=_publish, args=(city, values, source.topic, rate, count, sent))
        publishing.start()
        took = _received(consumer, count, sent)
        publishing.join()
    cuts = quantiles(took, n=100)
    return Latency(1000 * cuts[49], 1000 * cuts[98])


def _publish(city: City, values: Sequence[bytes], topic: str, rate: int, count: int, sent: list[float]) -> None:
    """Produce at an even rate; `sent` gets the time of each."""
    producer = clients.producer(city.broker.connection(), linger_ms=LINGER_MS)
    # The first events of a producer wait for its connection and its id.
    for partition in range(PARTITIONS):
        producer.produce(topic, values[partition], _UNTIMED, partition)
    producer.flush(30)
    begun = time.monotonic()
    while len(sent) < count:
        due = min(int((time.monotonic() - begun) * rate) + 1, count)
        for number in range(len(sent), due):
            sent.append(time.monotonic())
            producer.produce(topic, values[number % len(values)], str(number), number % PARTITIONS)
        producer.poll(0)
        time.sleep(_TICK_SECONDS)
    producer.flush(30)


def _received(consumer: Consumer, count: int, sent: Sequence[float]) -> list[float]:
    """How long each event took; raises StoodStill."""
    took: list[float] = []
    deadline = time.monotonic() + count * _TICK_SECONDS + _PATIENCE_SECONDS
    while len(took) < count:
        messages = clients.arrived(consumer, 500, 0.01)
        now = time.monotonic()
        keys = [message.key() for message in messages if message.error() is None]
        took += [now - sent[int(key)] for key in keys if key is not None and key != _UNTIMED]
        if now > deadline:
            raise StoodStill(f"{len(took)} of {count} events arrived", cure="try a lower rate: --rate")
    return took
