"""What the demo does in processes of their own: a provider's import, a department's reading, the recount of a file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bianhe.consumers import Event, Subscriber
from bianhe.infra.demo.files import read_rows
from bianhe.infra.demo.recount import Answer, Recount, Tally
from bianhe.infra.kafka.errors import RefusedByBroker
from bianhe.producers import Publisher
from bianhe.producers.encodings import encoding_of
from bianhe.producers.importers import Format, changes
from bianhe.producers.kafka import publish_rows
from bianhe.schemas.errors import Transient


class Published(NamedTuple):
    """What became of a provider's file."""

    resource: str
    read: int
    published: int
    rejected: int


class NotPublished(Transient):
    """A provider's file did not reach the bus whole."""


@dataclass
class Reading:
    """What a department received: per topic a tally, and the last event of the person of the story."""

    department: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    story: dict[str, Event] = field(default_factory=dict)
    refusal: str = ""
    """Kafka's name of the error that ended the reading, where one did."""


def log_to(file: Path) -> None:
    """Write what the Kafka client says into a file: refusals that the story asks for are no news on the screen."""
    logging.basicConfig(filename=file, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")


def publish(profile: Path, resource: str, file: Path, seconds_between: float = 0.0) -> Published:
    """Publish a CSV file as its provider, through the importer; raises NotPublished where the bus does not take it."""
    with file.open("rb") as source, Publisher.from_profile(profile) as publisher:
        target = publisher.resource(resource)
        rows = changes(source, encoding_of(source, "utf-8"), Format.CSV, target.contract)
        tally = publish_rows(
            target,
            rows,
            from_row=1,
            reject=lambda reject: None,
            stopped=lambda: False,
            progress=lambda tally: time.sleep(seconds_between) if seconds_between else None,
        )
    if tally.failure is not None:
        raise NotPublished(f"{file.name} was not published whole: {tally.failure}", cause=tally.failure.cause)
    return Published(resource, tally.read, tally.published, tally.rejected)


def read(profile: Path, reading: Reading, resources: Collection[str] = (), story_key: str = "") -> Reading:
    """Go on reading as a department, to the present end of all its topics."""
    with Subscriber.from_profile(profile, resources) as subscriber:
        _receive(subscriber.drain(), reading, story_key)
    return reading


def read_until_refused(profile: Path, reading: Reading, resource: str) -> Reading:
    """Go on reading as a department until the broker refuses."""
    try:
        with Subscriber.from_profile(profile, [resource]) as subscriber:
            _receive(subscriber, reading, "")
    except RefusedByBroker as refused:
        reading.refusal = refused.code
    return reading


def _receive(events: Iterable[Event], reading: Reading, story_key: str) -> None:
    for event in events:
        tally = reading.tallies.get(event.topic)
        if tally is None:
            tally = reading.tallies[event.topic] = Tally()
        tally.receive(event)
        if event.key == story_key:
            reading.story[event.topic] = event


def recount(
    resource: Mapping[str, Any],
    contract: str,
    answers: Collection[Answer],
    secrets: tuple[bytes | None, bytes],
    file: Path,
) -> Recount:
    """Recount one input file; `secrets` are the provider's for its keys and the routers' for pseudonyms."""
    return recount_on(Recount(resource, json.loads(contract), answers, *secrets), file)


def recount_on(recount: Recount, file: Path) -> Recount:
    """Go on with the rows that follow."""
    for row in read_rows(file):
        recount.take(row)
    return recount
