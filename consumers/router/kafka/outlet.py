"""The short way into a producer's queue: librdkafka's own produce, on the handle that confluent-kafka's Producer owns.

From Python a record costs three times as much, and librdkafka looks each topic up among all by name: at 5,000 delivery
topics that is thirty times as much (infra/docs/performance.md). Transactions, polling and errors stay with the client.
"""

from __future__ import annotations

import ctypes
from importlib import metadata
from typing import Final

from confluent_kafka import KafkaError, Producer, cimpl

from bianhe.schemas import names

try:
    from bianhe.consumers.router.kafka._outlet import Outlet
except ImportError:  # installed where no compiler was
    Outlet = None  # type: ignore[assignment, misc]

KNOWN_VERSIONS: Final = ("2.16.1",)
"""Of confluent-kafka: in these a Producer begins with the handle of its client. Read in the source, and tried."""


def is_known() -> bool:
    """Whether this installation has the short way: compiled, and for the version of the client that is installed."""
    return Outlet is not None and metadata.version("confluent-kafka") in KNOWN_VERSIONS


def open_outlet(producer: Producer) -> Outlet | None:
    """The outlet of a transactional producer that has no transaction open; None where it would not be safe."""
    if not isinstance(producer, cimpl.Producer) or not is_known():
        return None
    try:
        library = ctypes.CDLL(cimpl.__file__)
        produce, new_topic, destroy_topic, last_error = (
            _address(library, name)
            for name in ("rd_kafka_produce", "rd_kafka_topic_new", "rd_kafka_topic_destroy", "rd_kafka_last_error")
        )
        name_of = library.rd_kafka_name
    except (OSError, AttributeError):
        return None
    client = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__).value
    name_of.argtypes, name_of.restype = [ctypes.c_void_p], ctypes.c_char_p
    if not client or not name_of(client).startswith(b"bianhe#producer-"):
        return None
    outlet = Outlet(producer, client, produce, new_topic, destroy_topic, last_error)
    # A record outside of a transaction is refused: so the handle is this producer's, and the call is understood.
    return outlet if outlet.refusal(names.JOURNAL) == KafkaError._STATE else None


def _address(library: ctypes.CDLL, function: str) -> int:
    return ctypes.cast(getattr(library, function), ctypes.c_void_p).value or 0
