from collections.abc import Mapping, Sequence
from typing import Any

from bianhe.producers.encoder import Row

class Encoder:
    def __init__(self, table: Sequence[Row]) -> None: ...
    def __call__(
        self, head: bytes, event_id: str, kind: bytes, millis: int | None, items: Mapping[str, Any], /
    ) -> bytes | None: ...
