"""Rounds of contestants in turn on one broker: how many deliveries a second, and how much CPU each costs."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import TopicPartition

from bianhe.infra.bench import contestants
from bianhe.infra.bench.city import PARTITIONS, WORKERS, City, mailboxes
from bianhe.infra.bench.contestants import Kind
from bianhe.infra.bench.figures import Figure, Sample, figure
from bianhe.infra.kafka import clients
from bianhe.infra.kafka.admin import Admin, Topic
from bianhe.schemas.errors import Transient

_TICK: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 120.0


class StoodStill(Transient):
    """A contestant did not finish its round."""


@dataclass(frozen=True)
class Race:
    """One city, its source records, and how many of them a round has."""

    city: City
    values: Sequence[bytes]
    records: Callable[[int], int]
    """By number of views: about as many deliveries for each."""

    def prepare(self, kinds: Sequence[Kind], views: Sequence[int]) -> None:
        """Make the contestants' topics."""
        names = [contestants.topic(kind, each, view) for kind in kinds for each in views for view in range(each)]
        with Admin(self.city.broker.connection()) as admin:
            admin.create_topics(dict.fromkeys(names, Topic(PARTITIONS, {})))

    def router(self, views: int) -> Figure:
        """A round of the router: its source is filled while no worker runs, then all of it is routed."""
        records = self.records(views)
        self.city.fill(views, self.values, records)
        with _Watch(self.city, mailboxes(views)[0], views) as watch:
            pids = self.city.start_router()
            try:
                return figure(watch.until(records * views, pids))
            finally:
                self.city.children.stop()

    def contestant(self, kind: Kind, views: int) -> Figure:
        """A round of a contestant; it begins when all its processes are ready."""
        context = multiprocessing.get_context("spawn")
        records, go = self.records(views), context.Event()
        processes = [
            context.Process(
                target=contestants.run,
                args=(kind, self.city.broker.connection(), views, worker, self.values, records, go),
                daemon=True,
            )
            for worker in range(WORKERS)
        ]
        with _Watch(self.city, contestants.topic(kind, views, 0), views) as watch:
            for process in processes:
                process.start()
            try:
                go.set()
                return figure(watch.until(records * views, [process.pid or 0 for process in processes]))
            finally:
                for process in processes:
                    process.join(10)
                    process.kill()


class _Watch:
    """Samples one topic's stable end, which stands for all of a contestant's topics, and the processes' CPU."""

    def __init__(self, city: City, topic: str, views: int) -> None:
        self._broker = city.broker
        self._views = views
        self._places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        self._consumer = clients.end_consumer(city.broker.connection(), "bench", "read_committed")
        self._base = self._end()

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def until(self, deliveries: int, pids: Sequence[int]) -> list[Sample]:
        """Sample until so many deliveries are stable; raises StoodStill."""
        samples: list[Sample] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not samples or samples[-1].deliveries < deliveries:
            if time.monotonic() > deadline:
                raise StoodStill(
                    f"{samples[-1].deliveries} of {deliveries} deliveries in {_PATIENCE_SECONDS:.0f} s",
                    cure="run the bench on a machine with nothing else to do",
                )
            written = (self._end() - self._base) * self._views
            samples.append(Sample(time.monotonic(), written, cpu_seconds(pids), cpu_seconds([self._broker.pid])))
            time.sleep(_SAMPLE_SECONDS)
        return samples

    def _end(self) -> int:
        return sum(self._consumer.get_watermark_offsets(place, timeout=30)[1] for place in self._places)


def cpu_seconds(pids: Sequence[int]) -> float:
    """What these processes, all their threads, have used since they began."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
    except FileNotFoundError:
        return 0.0
    return (int(user) + int(system)) / _TICK
