"""Feeds hostile bytes to every engine of the slicer and compares what they make of them.

    .venv/bin/python tests/fuzz/slicer.py SECONDS [SEED]

Bodies are mutations of the corpus; one that takes the Python engine along new lines joins it. Ends with 1 at the first
difference, and says the body. To look for reads beyond the body, build the kernel with CFLAGS="-fsanitize=address -g".
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bianhe.schemas import walk
from bianhe.schemas.slicer import Engine, Slicer
from support.hostile import CONTRACT, CORPUS, SEEDS, outcome, slicers

GENERATED = f"<slicer of {CONTRACT.resource}>"
TELLING = [b"\0", b"\1", b"\2", b"\x7e", b"\x7f", b"\x80", b"\xff", b"\x80\0", b"\xff" * 9 + b"\1", b"\xff" * 9 + b"\2"]
TELLING += [
    "汴河".encode(),
    b"\xed\xa0\x80",
    b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x06\xe6\xb1\xb4",
]
BODY_MAX = 4000
TRACED_ONE_IN = 8


def mutant(rng: random.Random, corpus: list[bytes]) -> bytes:
    body = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(7):
            case 0:
                body[at : at + 1] = rng.choice(TELLING)
            case 1:
                body[at:at] = rng.choice(TELLING)
            case 2:
                del body[at : at + rng.choice((1, 1, 2, 8))]
            case 3 if at < len(body):
                body[at] ^= 1 << rng.randrange(8)
            case 4 if at < len(body):
                body[at] = (body[at] + rng.choice((-2, -1, 1, 2))) % 256
            case 5:
                other = rng.choice(corpus)
                start = rng.randrange(len(other))
                body[at : at + rng.choice((0, 8))] = other[start : start + rng.choice((4, 16, 64))]
            case _:
                del body[at:]
    return bytes(body[:BODY_MAX])


def lines(slicer: Slicer, body: bytes) -> frozenset[tuple[str, int]]:
    """The lines of generated Python, and of the steps that it calls, over which a body leads; and why it is refused."""
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in (GENERATED, walk.__file__):
            return None
        seen.add((frame.f_code.co_name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        found = outcome(slicer, body)
    finally:
        sys.settrace(None)
    if isinstance(found, tuple):
        seen.add((found[0].name, 0))
    return frozenset(seen)


def main(seconds: float, seed: int) -> int:
    rng, all_slicers = random.Random(seed), slicers()
    oracle = all_slicers[Engine.PYTHON]
    corpus = [bytes.fromhex(line) for line in CORPUS.read_text().split()] if CORPUS.exists() else []
    corpus = corpus or list(SEEDS)
    covered = frozenset[tuple[str, int]]().union(*(lines(oracle, body) for body in corpus))
    tried = taken = 0
    slowest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        body = mutant(rng, corpus)
        expected = outcome(oracle, body)
        for engine, slicer in all_slicers.items():
            before = time.thread_time()
            found = outcome(slicer, body)
            if engine is not Engine.PYTHON:
                slowest = max(slowest, time.thread_time() - before)
            if found != expected:
                print(f"{engine} gives {found}, {Engine.PYTHON} {expected}: {body.hex()}")
                return 1
        tried += 1
        taken += isinstance(expected, list)
        if tried % TRACED_ONE_IN == 0 and (new := lines(oracle, body)) - covered:
            covered |= new
            corpus.append(body)
    CORPUS.write_text("".join(f"{body.hex()}\n" for body in sorted(set(corpus), key=lambda body: (len(body), body))))
    print(f"{tried} bodies, {taken} taken, corpus {len(corpus)}, {len(covered)} lines, slowest {slowest * 1e6:.0f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
