"""Files become changes or rejects, row by row; nothing is dropped, nothing guessed (B14 to B18)."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.producers.encodings import UnreadableFile, encoding_of
from bianhe.producers.importers import REJECT_COLUMNS, Change, Format, Reject, changes
from bianhe.producers.publisher import Event, Writer, uuid7
from bianhe.producers.synthetic import history
from bianhe.producers.validation import InvalidEvent, Validator
from bianhe.schemas.contract import Contract, shipped
from support.rows import LEGAL_ENTITY, POPULATION, SECRET, UNIT, csv_file, json_file, number, person, row

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EVENT = Event(uuid7(0, bytes(10)), "CHANGED", NOW)


def read(file: BinaryIO, form: Format = Format.CSV, contract: Contract = POPULATION) -> list[Change | Reject]:
    return list(changes(file, encoding_of(file, None), form, contract))


def rejected(file: BinaryIO, form: Format = Format.CSV) -> list[Reject]:
    """What reading and validating a file refuses."""
    validate = Validator.of(POPULATION)
    found = []
    for each in read(file, form):
        if isinstance(each, Reject):
            found.append(each)
            continue
        try:
            validate(each.items)
        except InvalidEvent as fault:
            found.append(Reject(each.row, each.source, fault))
    return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_b14_utf_8_and_gb18030_are_recognised(encoding: str) -> None:
    [change] = read(csv_file([row(name="王𠮷")], encoding))
    assert change.source["name"] == "王𠮷"


@pytest.mark.parametrize(
    ("content", "asked", "line"),
    [
        ("name\n王某\n".encode("gb18030"), "utf-8", 2),
        ("name\nok\n王某\n".encode("utf-16"), None, 1),
        (("王某" * 50 + "\n").encode() * 3 + b"\xff\n", None, 4),
        ("王某\n".encode() + b"\xff\xff", "gb18030", 2),
        ("王某\n".encode("utf-16-be"), "utf-16", 1),
    ],
)
def test_b14_a_wrong_encoding_names_the_line_and_the_cure(content: bytes, asked: str | None, line: int) -> None:
    with pytest.raises(UnreadableFile, match=f"line {line} ") as raised:
        encoding_of(io.BytesIO(content), asked)
    assert "--encoding" in raised.value.cure


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", "undefined", "utf-8\0"])
def test_b14_an_encoding_may_be_named_if_it_is_one_of_text(encoding: str) -> None:
    assert encoding_of(io.BytesIO("王".encode("utf-16")), "utf-16") == "utf-16"
    with pytest.raises(UnreadableFile, match="there is no encoding"):
        encoding_of(io.BytesIO(b"name"), encoding)


@given(st.text(st.characters(codec="gb18030", exclude_categories=["Cs"]), max_size=40), st.integers(0, 3))
def test_a_file_is_read_as_it_was_written_or_refused(text: str, damage: int) -> None:
    content = text.encode()
    assert encoding_of(io.BytesIO(content), None) == "utf-8-sig"
    assert encoding_of(io.BytesIO(text.encode("gb18030")), "gb18030") == "gb18030"
    damaged = ("汴河" * 40).encode() + content + b"\xff" * damage
    if damage:
        with pytest.raises(UnreadableFile):
            encoding_of(io.BytesIO(damaged), None)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_file_stays_open_and_its_owners_however_far_it_was_read(rows: int) -> None:
    with csv_file([row(), row(name="")]) as file:
        assert len(list(itertools.islice(changes(file, "utf-8", Format.CSV, POPULATION), rows))) == min(rows, 2)
        assert not file.closed


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ([name for name in POPULATION.by_name if name != "sex"], "missing for population.v1: sex"),
        ([*POPULATION.by_name, "nationality"], "does not have: 'nationality'"),
        ([*POPULATION.by_name, "name"], "stand twice: name"),
        ([], "missing for population.v1: citizen_id, name"),
    ],
)
def test_b15_a_wrong_header_stops_before_the_first_row(header: list[str], told: str) -> None:
    file = io.BytesIO((",".join(header) + "\n" + "x," * len(header)).encode())
    with pytest.raises(UnreadableFile, match=told):
        next(changes(file, "utf-8", Format.CSV, POPULATION))


def test_b15_a_missing_field_of_a_json_row_is_its_own_reject() -> None:
    items = {name: value for name, value in row().items() if value}
    short = {name: value for name, value in items.items() if name != "sex"}
    [reject] = rejected(json_file([items, short]), Format.JSON_LINES)
    assert (reject.row, reject.fault.field, reject.fault.reason) == (2, "sex", "is missing and must not be")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"citizen_id": number()[:17] + ("1" if number()[17] != "1" else "2")}, "check digit is"),
        ({"name": "王" * 61}, "61 characters, at most 50"),
        ({"birth_date": "2026-02-30"}, "must be a date, such as 2026-11-20"),
        ({"birth_date": "20260220"}, "must be a date, such as 2026-11-20"),
        ({"birth_date": ""}, "is missing and must not be"),
    ],
)
def test_b16_b17_a_wrong_value_rejects_its_row_alone(changed: dict[str, str], reason: str) -> None:
    [reject] = rejected(csv_file([row(), row(**changed), row()]))
    assert reject.row == 3
    assert reject.fault.field == next(iter(changed))
    assert reject.fault.reason.startswith(reason)
    assert reject.source == row(**changed)


class _Rows(io.RawIOBase):
    """A file that is made while it is read, of any length; `given` counts its rows."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.given = 0
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer) and (line := next(self._lines, b"")):
            self._rest += line
            self.given += 1
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def test_b18_a_million_rows_with_one_bad_give_one_reject_and_are_never_held_together() -> None:
    head, good, bad = csv_file([row(), row(birth_date="x")]).getvalue().splitlines(keepends=True)
    lines = itertools.chain([head], itertools.repeat(good, 700_000), [bad], itertools.repeat(good, 299_999))
    file = _Rows(lines)
    good_rows, bad_rows, held = 0, [], 0
    for each in changes(io.BufferedReader(file, 1 << 16), "utf-8", Format.CSV, POPULATION):
        held = max(held, file.given - each.row)
        if isinstance(each, Reject):
            bad_rows.append(each.row)
        else:
            good_rows += 1
    assert (good_rows, bad_rows) == (999_999, [700_002])
    assert held < 2_000


def test_rows_without_the_form_of_their_file_are_rejected_whole() -> None:
    file = io.BytesIO(csv_file([row()]).getvalue() + b'a,b\n"a"b,c\n\n')
    _, short, broken = read(file)
    assert isinstance(short, Reject)
    assert isinstance(broken, Reject)
    assert (short.row, short.fault.reason) == (3, "2 fields, the header has 16")
    assert (broken.row, broken.fields()["reject_line"]) == (4, '"a"b,c')


def test_a_quote_that_is_never_closed_stops_the_import_and_says_where() -> None:
    file = io.BytesIO(csv_file([row()]).getvalue() + b'"a,b\nc\nd\n')
    rows = changes(file, "utf-8", Format.CSV, POPULATION)
    assert isinstance(next(rows), Change)
    with pytest.raises(UnreadableFile) as raised:
        next(rows)
    assert "line 3" in raised.value.cause
    assert "--from-row 3" in raised.value.cure


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"a": 1, "a": 2}', "names a field twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_rejected_whole(line: str, reason: str) -> None:
    [reject] = read(io.BytesIO(f"\n{line}\n".encode()), Format.JSON_LINES)
    assert isinstance(reject, Reject)
    assert (reject.row, reject.fault.reason, reject.fields()["reject_line"]) == (2, reason, line)


def test_a_corrected_reject_file_can_be_imported() -> None:
    [reject] = rejected(csv_file([row(sex="5")]))
    fields = reject.fields()
    assert tuple(fields)[:4] == REJECT_COLUMNS
    assert (fields["reject_row"], fields["reject_field"]) == (2, "sex")
    [change] = read(csv_file([{name: str(value) for name, value in fields.items()} | {"sex": "1"}]))
    assert isinstance(change, Change)
    assert change.items["sex"] == "1"
    assert Reject(9, change.source, InvalidEvent("name", "x")).fields()["reject_row"] == 9


def test_event_columns_are_optional_and_a_removal_needs_its_key_alone() -> None:
    event = {"event_id": EVENT.id, "event_time": "2026-11-20T08:30:00+08:00", "event_case": "Y-1"}
    removal = {"event_kind": "REMOVED"} | dict.fromkeys(POPULATION.by_name, "") | {"citizen_id": number()}
    full, removed = read(csv_file([event | {"event_kind": "CREATED"} | row(), dict.fromkeys(event, "") | removal]))
    assert isinstance(full, Change)
    assert isinstance(removed, Change)
    assert (full.kind, full.event_id, full.event_case) == ("CREATED", EVENT.id, "Y-1")
    assert full.event_time == datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
    assert (removed.kind, removed.items, removed.event_id) == ("REMOVED", {"citizen_id": number()}, None)
    [plain] = read(csv_file([row()]))
    assert isinstance(plain, Change)
    assert (plain.kind, plain.event_id, plain.event_time, plain.event_case) == ("CHANGED", None, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"event_kind": "ERASED"},
        {"event_kind": ["CREATED"]},
        {"event_time": "2026-11-20T08:30:00"},
        {"event_time": 5},
        {"event_id": 5},
        {"nationality": "x"},
    ],
)
def test_wrong_event_fields_and_unknown_fields_reject_the_row(fields: dict[str, Any]) -> None:
    [reject] = rejected(json_file([person(birth_date="1850-01-01") | fields]), Format.JSON_LINES)
    assert reject.fault.field == next(iter(fields))


def test_json_values_are_read_by_the_type_of_their_item() -> None:
    line = json_file([{"uscc": UNIT, "registered_capital": 0.1, "employees": 3, "abnormal": True}]).getvalue()
    line = line.replace(b"0.1", b"1000000000000000.10")
    [change] = read(io.BytesIO(line), Format.JSON_LINES, LEGAL_ENTITY)
    assert isinstance(change, Change)
    assert change.items["registered_capital"] == Decimal("1000000000000000.10")
    assert (change.items["employees"], change.items["abnormal"]) == (3, True)


def test_nested_values_are_read_by_their_types_from_json_lines_and_from_cells_of_csv() -> None:
    point = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "double"}]}
    visit = {"type": "record", "name": "Visit", "fields": [
        {"name": "on", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "at", "type": {"type": "map", "values": point}},
        {"name": "mark", "type": {"type": "fixed", "name": "Mark", "size": 2}},
    ]}  # fmt: skip
    schema = json.loads(shipped("population", 1))
    properties = {"title": "走访", "code": "X-1", "part": "base", "sharing": "unconditional", "sensitivity": 1}
    schema["fields"].append({"name": "visits", "type": {"type": "array", "items": visit}, **properties})
    contract = Contract.parse(json.dumps(schema))
    written = [{"on": "2026-11-20", "at": {"甲": {"x": 1}, "乙": {"x": 0.5}}, "mark": "00ff"}, {"on": None}]
    wanted = [{"on": date(2026, 11, 20), "at": {"甲": {"x": 1}, "乙": {"x": 0.5}}, "mark": b"\0\xff"}, {"on": None}]
    row = {"visits": written}
    cells = dict.fromkeys(contract.by_name, "") | {"visits": json.dumps(written)}
    for file, form in ((json_file([row]), Format.JSON_LINES), (csv_file([cells]), Format.CSV)):
        [change] = read(file, form, contract)
        assert isinstance(change, Change)
        assert change.items["visits"] == wanted
    written[1] = {"at": {"甲": {"x": "1"}, "乙": {"x": "half"}}}
    for cell, reason in (("[{", "is not JSON"), (json.dumps(written), "number 2: at: number 2: x: must be a number")):
        [reject] = read(csv_file([cells | {"visits": cell}]), contract=contract)
        assert isinstance(reject, Reject)
        assert (reject.fault.field, reject.fault.reason) == ("visits", reason)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(POPULATION.by_name)), st.text(max_size=9)), max_size=9))
def test_every_row_read_is_a_change_or_a_reject(rows: list[dict[str, str]]) -> None:
    full = [dict.fromkeys(POPULATION.by_name, "") | fields for fields in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(POPULATION.by_name))
    writer.writeheader()
    writer.writerows(full)
    file = io.BytesIO(text.getvalue().encode())
    assert [each.row for each in changes(file, "utf-8", Format.CSV, POPULATION)] == list(range(2, len(rows) + 2))
    lines = io.BytesIO("".join(json.dumps(fields) + "\n" for fields in rows).encode())
    assert len(list(changes(lines, "utf-8", Format.JSON_LINES, POPULATION))) == len(rows)


@pytest.mark.parametrize("resource", ["population", "legal-entity", "geospatial", "licence"])
def test_every_row_of_the_synthetic_city_can_be_published(resource: str) -> None:
    contract = Contract.parse(shipped(resource, 1))
    writer = Writer.of(contract, 1, SECRET)
    file = csv_file(history.events(resource, 500, 1))
    for change in read(file, contract=contract):
        assert isinstance(change, Change), change
        if change.kind == "REMOVED":
            assert writer.removal(change.items, date(2026, 11, 22)).value is None
        else:
            assert change.event_id
            assert change.event_time
            event = Event(change.event_id, change.kind, change.event_time, change.event_case)
            assert writer.event(change.items, event, date(2026, 11, 22)).value
