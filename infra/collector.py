"""Python's collector of cycles, kept away from where it finds none and takes longest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_collecting() -> Iterator[None]:
    """Make very many values that stay: to look through them for cycles again and again takes longer than to make them.

    Who keeps them for ever calls `gc.freeze()` within the block.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
