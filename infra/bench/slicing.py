"""`bianhe bench slicer`: the engines of the slicer against decoding and encoding again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from io import BytesIO
from statistics import median
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from bianhe.infra.bench.city import contract, source, source_values
from bianhe.schemas import wire
from bianhe.schemas.slicer import ENGINES, Slicer
from bianhe.schemas.view import View, grant_view

Slice = Callable[[bytes], object]


def compare(views: Sequence[int], records: int, rounds: int) -> dict[str, Any]:
    """CPU microseconds for each record, by engine and number of views; fastavro takes fewer records."""
    bodies = [value[wire.HEAD_BYTES :] for value in source_values()]
    rows, ratios = [], {}
    for count in views:
        cut = [grant_view(contract(), grant) for grant in source(count).grants]
        engines: dict[str, tuple[Slice, int]] = {
            engine.value: (Slicer(contract(), [(view, None) for view in cut], engine).slice, records)
            for engine in ENGINES
        }
        engines["fastavro"] = _decoding(cut), max(records // 50, 1)
        measured: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(rounds + 1):
            for name, (slice, taken) in engines.items():
                cost = _microseconds(slice, bodies, taken)
                if number:
                    measured[name].append(cost)
        medians = {name: median(costs) for name, costs in measured.items()}
        rows.append({"views": count, **{name: round(cost, 3) for name, cost in medians.items()}})
        first = next(iter(medians))
        ratios[f"fastavro_to_{first}_n{count}"] = round(medians["fastavro"] / medians[first], 1)
    conditions = {"records": records, "rounds": f"{rounds}, after one that is thrown away; medians of CPU time"}
    return {"figures": rows, "ratios": ratios, "conditions": conditions}


def _microseconds(slice: Slice, bodies: Sequence[bytes], records: int) -> float:
    begun = time.process_time()
    for number in range(records):
        slice(bodies[number % len(bodies)])
    return 1e6 * (time.process_time() - begun) / records


def _decoding(views: Sequence[View]) -> Slice:
    """Decode once and encode for each view."""
    whole: Any = parse_schema(dict(contract().schema))
    bus = ("bus_offset", "bus_seq", "bus_policy")
    schemas: list[Any] = []
    for view in views:
        schema = view.schema()
        schemas.append(
            parse_schema({**schema, "fields": [each for each in schema["fields"] if each["name"] not in bus]})
        )

    def slice(body: bytes) -> list[bytes]:
        record = schemaless_reader(BytesIO(body), whole, None)
        found = []
        for schema in schemas:
            out = BytesIO()
            schemaless_writer(out, schema, record)
            found.append(out.getvalue())
        return found

    return slice
