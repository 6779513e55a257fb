from collections.abc import Sequence
from typing import Any

from bianhe.schemas.canonical import Row

class Reader:
    def __init__(self, model: type, hashed: str, table: Sequence[Row]) -> None: ...
    def __call__(self, text: bytes, /) -> Any: ...
