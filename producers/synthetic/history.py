"""The history of the city: for each base resource exactly as many changes as are asked for, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

from bianhe.producers.publisher import uuid7
from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.geospatial import GeospatialRegister
from bianhe.producers.synthetic.legal_entities import LegalEntityRegister
from bianhe.producers.synthetic.licences import LicenceRegister
from bianhe.producers.synthetic.population import PopulationRegister
from bianhe.producers.synthetic.register import Register, State
from bianhe.schemas.contract import EVENT_NAMES, Contract, shipped
from bianhe.schemas.grant import CITY_TIME

BEGIN: Final = datetime(2024, 1, 1, 8, tzinfo=CITY_TIME)
END: Final = datetime(2026, 11, 20, 18, tzinfo=CITY_TIME)

_MILLISECOND = timedelta(milliseconds=1)


def events(resource: str, count: int, seed: int) -> Iterator[dict[str, str]]:
    """`count` change events of a base resource in the order of their times, as rows for the importers.

    Columns: the event's (`event_id`, `event_kind`, `event_time`, `event_case`), then the items of the contract in its
    order. Values are texts: dates and times ISO 8601, bytes hexadecimal, booleans true and false, null empty; a removal
    (kind REMOVED) has its natural key alone. Memory grows with the entities that live, not with `count`.
    """
    items = [item.name for item in Contract.parse(shipped(resource, 1)).items]
    blank = dict.fromkeys(items, "")
    register = _register(resource, count, seed, blank)
    rng = Random(f"{seed} {resource} events")
    for moment in _moments(count, rng):
        change = register.change(moment.date())
        yield {
            "event_id": uuid7((moment - _EPOCH) // _MILLISECOND, rng.randbytes(10)),
            "event_kind": change.kind,
            "event_time": moment.isoformat(timespec="milliseconds"),
            "event_case": change.case,
            **blank,
            **change.items,
        }


def columns(resource: str) -> tuple[str, ...]:
    """The columns of the rows, in order."""
    return (*EVENT_NAMES, *(item.name for item in Contract.parse(shipped(resource, 1)).items))


def story_citizen(seed: int) -> str:
    """The identity number of the invented person of the story.

    Registered by the first event of `population`, in division 410212; dead by one of the last hundredth, whatever the
    count if it is two or more; nothing else happens to that person.
    """
    return city.person(seed, 0).citizen_id


def _register(resource: str, count: int, seed: int, blank: State) -> Register:
    match resource:
        case "population":
            return PopulationRegister(seed, count, blank)
        case "legal-entity":
            return LegalEntityRegister(seed, blank)
        case "geospatial":
            return GeospatialRegister(seed, blank)
        case "licence":
            return LicenceRegister(seed, blank)
        case _:
            raise ValueError(f"the city keeps no register {resource!r}")


def _moments(count: int, rng: Random) -> Iterator[datetime]:
    """Times from BEGIN to END that never go back, one in each of `count` equal spans."""
    span = (END - BEGIN) / max(count, 1)
    for number in range(count):
        moment = BEGIN + span * (number + rng.random())
        yield moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_EPOCH = datetime(1970, 1, 1, tzinfo=CITY_TIME) + timedelta(hours=8)
