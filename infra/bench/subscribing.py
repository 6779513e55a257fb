"""`bianhe bench subscribe`: what it costs to decode and verify a delivered record, against fastavro's bare decode."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from statistics import median
from typing import Any, Final

from fastavro import parse_schema, schemaless_reader

from bianhe.consumers.subscriber import Delivery, Reader
from bianhe.consumers.subscriber import Sequence as Numbers
from bianhe.infra.bench.city import contract, source_values
from bianhe.schemas import names, wire
from bianhe.schemas.slicer import Slicer
from bianhe.schemas.view import View, open_view

_TOPIC: Final = names.open_topic("population", 1, 1)
_MILLIS: Final = 1_795_000_000_000


def compare(records: int, rounds: int) -> dict[str, Any]:
    """CPU microseconds for each record, for the open channel and for all items; interleaved rounds."""
    rows, ratios = [], {}
    everything = View(contract(), tuple(contract().by_name), {}, ())
    for label, view in (("open", open_view(contract())), ("all", everything)):
        deliveries, text = _deliveries(view, records), json.dumps(view.schema())
        steps = {"fastavro_decode": _bare, "decode_and_verify": _verified}
        measured: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 1):
            for name, step in steps.items():
                cost = _microseconds(step, deliveries, text)
                if number:
                    measured[name].append(cost)
        medians = {name: median(costs) for name, costs in measured.items()}
        rows.append({"items": len(view.items), **{name: round(value, 2) for name, value in medians.items()}})
        ratios[f"{label}_to_fastavro_decode"] = round(medians["fastavro_decode"] / medians["decode_and_verify"], 2)
    conditions = {"records": records, "rounds": f"{rounds}, after one that is thrown away; medians of CPU time"}
    return {"figures": rows, "ratios": ratios, "conditions": conditions}


def _microseconds(step: Callable[[Sequence[Delivery], str], None], deliveries: Sequence[Delivery], text: str) -> float:
    begun = time.process_time()
    step(deliveries, text)
    return 1e6 * (time.process_time() - begun) / len(deliveries)


def _deliveries(view: View, count: int) -> list[Delivery]:
    """Records as the router writes them, in the order of their numbers."""
    slicer = Slicer(contract(), [(view, None)])
    bodies = [slicer.slice(value[wire.HEAD_BYTES :])[0] or b"" for value in source_values()]
    found = []
    for number in range(count):
        bus = wire.long(number) + wire.long(number + 1) + wire.long(1)
        value = wire.frame(100, bus + bodies[number % len(bodies)])
        found.append(Delivery(_TOPIC, 0, number, _MILLIS, f"entity-{number}".encode(), value, {}))
    return found


def _verified(deliveries: Sequence[Delivery], text: str) -> None:
    reader, numbers = Reader("renshe", lambda schema_id: text), Numbers()
    for delivery in deliveries:
        numbers.check(reader.event(delivery), delivery.append_millis, _MILLIS)


def _bare(deliveries: Sequence[Delivery], text: str) -> None:
    schema: Any = parse_schema(json.loads(text))
    for delivery in deliveries:
        schemaless_reader(BytesIO((delivery.value or b"")[wire.HEAD_BYTES :]), schema, None)
