from collections.abc import Callable

from confluent_kafka import Message, Producer

from bianhe.schemas.lanes import Deliver

class Outlet:
    def __init__(
        self, producer: Producer, client: int, produce: int, new_topic: int, destroy_topic: int, last_error: int
    ) -> None: ...
    def topics(self, names: tuple[str, ...]) -> Topics: ...
    def refusal(self, topic: str) -> int: ...

class Topics:
    names: tuple[str, ...]
    def write(
        self,
        partition: int,
        key: bytes,
        values: list[bytes | None],
        produce: Callable[[str, int, bytes, bytes], None],
    ) -> int: ...
    def run(
        self,
        messages: list[Message],
        at: int,
        source: str,
        partition: int,
        position: int,
        delivering: dict[bytes, Deliver],
        policy_version: int,
        events_max: int,
        bytes_max: int,
        value_max: int,
        produce: Callable[[str, int, bytes, bytes], None],
        after: Callable[[bytes, int, list[bytes | None]], None] | None,
    ) -> tuple[int, int, int]: ...
