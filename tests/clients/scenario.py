"""What the providers publish, and what each subscriber must then hold. Nothing is taken from the router's code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bianhe.schemas.identifiers import uscc

RESOURCE: Final = "legal-entity"
PROVIDER: Final = "shichang"
SOURCE: Final = "source.legal-entity.v1"
ROW_RULE: Final = "domicile_division prefix 410212"
MASK: Final = "representative_name=first:1"
MAILBOX_ITEMS: Final = (
    "uscc",
    "name",
    "representative_name",
    "status",
    "established_on",
    "closed_on",
    "domicile_division",
    "registered_capital",
    "employees",
)
EVENT: Final = ("event_id", "event_kind", "event_time", "event_case")
_INSIDE, _OUTSIDE = "410212", "410211"
_KEYS = tuple(uscc.make("91", _INSIDE, f"MA{number:06}") for number in range(8))

Line = dict[str, Any]
Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Published:
    """An event of the source topic, and where the broker put it; a value of None removes the entity."""

    key: str
    value: Line | None
    partition: int
    offset: int


def events(round: int) -> list[Line]:
    """One provider's events: every key appears, one leaves the row rule, one enters it, two are removed.

    `round` sets the event ids apart. Dates are days since 1970, times milliseconds, decimals hundredths.
    """
    changes = [(key, "CREATED", (_INSIDE, _OUTSIDE)[number % 2]) for number, key in enumerate(_KEYS)]
    changes += [(_KEYS[0], "CHANGED", _OUTSIDE), (_KEYS[1], "CHANGED", _INSIDE)]
    states = [
        {"key": key, "value": _entity(key, kind, division, f"0193{round:04x}-0000-7000-8000-{number:012x}")}
        for number, (key, kind, division) in enumerate(changes)
    ]
    return [*states, {"key": _KEYS[2], "value": None}, {"key": _KEYS[3], "value": None}]


def deliveries(log: Iterable[Published], items: tuple[str, ...], mailbox: str, channel: str) -> dict[Place, list[Line]]:
    """What a subscriber of the mailbox and of the open channel must hold, per topic and partition in order."""
    held: set[str] = set()
    found: dict[Place, list[Line]] = defaultdict(list)
    for event in sorted(log, key=lambda event: (event.partition, event.offset)):
        _deliver(found[channel, event.partition], event, event.value and {name: event.value[name] for name in items})
        inside = event.value is not None and event.value["domicile_division"].startswith(_INSIDE)
        if inside or event.key in held:
            _deliver(found[mailbox, event.partition], event, _masked(event.value) if inside else None)
        (held.add if inside else held.discard)(event.key)
    return {place: lines for place, lines in found.items() if lines}


def received(lines: Iterable[Line]) -> dict[Place, list[Line]]:
    """What a subscriber printed, in the same form; policy versions are checked to be numbers and left out."""
    found: dict[Place, list[Line]] = defaultdict(list)
    for line in lines:
        facts = line["value"] or line["headers"]
        if int(facts.pop("bus_policy")) < 1:
            raise ValueError(f"{line['topic']}: no policy version")
        found[line["topic"], line["partition"]].append({name: line[name] for name in ("key", "headers", "value")})
    return dict(found)


def _deliver(lines: list[Line], event: Published, items: Mapping[str, Any] | None) -> None:
    seq = len(lines) + 1
    if items is not None and event.value is not None:
        facts = {name: event.value[name] for name in EVENT}
        value = {"bus_offset": event.offset, "bus_seq": seq, **facts, **items}
        lines.append({"key": event.key, "headers": {}, "value": value})
    else:
        kind = "removed" if event.value is None else "retracted"
        headers = {"bus_kind": kind, "bus_offset": str(event.offset), "bus_seq": str(seq)}
        lines.append({"key": event.key, "headers": headers, "value": None})


def _masked(value: Line | None) -> Line | None:
    return value and {name: value[name] for name in MAILBOX_ITEMS} | {
        "representative_name": value["representative_name"][:1]
    }


def differences(expected: dict[Place, list[Line]], found: dict[Place, list[Line]]) -> Iterator[str]:
    """Where the two part, first in each partition."""
    for place in sorted(expected.keys() | found.keys()):
        want, got = expected.get(place, []), found.get(place, [])
        if want != got:
            at = next((i for i, pair in enumerate(zip(want, got, strict=False)) if pair[0] != pair[1]), None)
            what = f"{len(got)} records, not {len(want)}" if at is None else f"{got[at]}, not {want[at]}"
            yield f"{place[0]}[{place[1]}]: {what}"


def _entity(key: str, kind: str, division: str, event_id: str) -> Line:
    return {
        "event_id": event_id,
        "event_kind": kind,
        "event_time": 1_795_305_600_123,
        "event_case": None,
        "uscc": key,
        "name": "开封市𠮷祥商贸有限公司",
        "entity_type": "11",
        "representative_name": "𠮷小明",
        "status": "1",
        "established_on": -7,
        "closed_on": None,
        "domicile_division": division,
        "address": "测试路 1 号",
        "industry": "F",
        "business_scope": "日用百货",
        "registered_capital": 12_345_678_901,
        "currency": "156",
        "registration_authority": "11410200MBX910039U",
        "representative_id": None,
        "contact_phone": None,
        "paid_in_capital": None,
        "employees": 7,
        "abnormal": False,
    }
