"""One contract with every type, views with every mask and test, and what an engine makes of bytes: for fuzzing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bianhe.schemas.grant import Mask, parse_row_rule
from bianhe.schemas.slicer import ENGINES, Engine, Slicer
from bianhe.schemas.view import View
from bianhe.schemas.wire import Malformed, Reason
from support.avro_records import SECRET, contract_of

VECTORS: Final = Path(__file__).parents[1] / "vectors"
CORPUS: Final = VECTORS / "fuzzed" / "bodies.txt"
_ROW = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "word", "type": "string"},
        {"name": "maybe", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "digest", "type": {"type": "fixed", "name": "RowDigest", "size": 3}},
        {
            "name": "sum",
            "type": {"type": "fixed", "name": "Sum", "size": 20, "logicalType": "decimal", "precision": 38},
        },
        {"name": "raw", "type": "bytes"},
        {"name": "uid", "type": {"type": "string", "logicalType": "uuid"}},
    ],
}
_MORE: Final[dict[str, Any]] = {
    "many": {"type": "enum", "name": "Many", "symbols": [f"S{i}" for i in range(150)]},
    "born": ["null", {"type": "int", "logicalType": "date"}],
    "phone": ["null", "string"],
    "rows": {"type": "map", "values": {"type": "array", "items": _ROW}},
    "note": "string",
}
_VECTORS = json.loads((VECTORS / "malformed" / "records.json").read_text(encoding="utf-8"))
SEEDS: Final = [bytes.fromhex(case["hex"]) for case in _VECTORS["cases"]]
"""Records of the first items alone: whole, and broken each for its reason."""
CONTRACT: Final = contract_of({**_VECTORS["items"], **_MORE})
VIEWS: Final = [
    View(CONTRACT, tuple(CONTRACT.by_name), {}, ()),
    View(CONTRACT, ("text", "small", "born", "note"), {"born": Mask.parse("born=year")}, ()),
    View(CONTRACT, ("day", "phone", "text"), {"day": Mask.parse("day=year"), "phone": Mask.parse("phone=first:2")}, ()),
    View(CONTRACT, ("text", "maybe", "note"), {"maybe": Mask.parse("maybe=pseudonym")}, ()),
    View(CONTRACT, ("text", "note"), {"text": Mask.parse("text=first:3"), "note": Mask.parse("note=null")}, ()),
    View(CONTRACT, ("rows", "flag"), {"flag": Mask.parse("flag=constant:无")}, parse_row_rule("phone prefix 13")),
    View(CONTRACT, ("note",), {}, parse_row_rule("kind in A,B and flag = true")),
    View(CONTRACT, ("many",), {}, parse_row_rule("text prefix 汴")),
]

Outcome = list[bytes | None] | tuple[Reason, int]


def slicers() -> dict[Engine, Slicer]:
    """A slicer of the contract for all views, by each engine."""
    return {engine: Slicer(CONTRACT, [(view, SECRET) for view in VIEWS], engine) for engine in ENGINES}


def outcome(slicer: Slicer, body: bytes) -> Outcome:
    """The slices, or why and where the body is refused."""
    try:
        return slicer.slice(body)
    except Malformed as error:
        return error.reason, error.at
