from collections.abc import Sequence

from bianhe.schemas.lanes import Deliver, Lanes

Step = tuple[str, int, int, int, int, int, int]
Piece = tuple[str, int, int, int, bool, int, bytes]
Test = tuple[str, int, int, int, bool, frozenset[bytes]]

class Program:
    def __init__(
        self, steps: Sequence[Step], views: Sequence[tuple[Sequence[Test], Sequence[Piece]]], end: int
    ) -> None: ...
    def delivering(self, lanes: Lanes) -> Deliver: ...
    def slice(self, body: bytes, /) -> list[bytes | None]: ...
