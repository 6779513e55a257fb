"""The map: addresses, roads, waters and parks that are surveyed, renamed, finished, corrected and demolished."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.register import Change, Living, State, case_number
from bianhe.producers.synthetic.words import PARKS, STREETS, WATERS

_WEIGHTS = tuple(accumulate((52, 10, 12, 8, 7, 5, 5, 1)))
_CGCS2000 = "4490"
_OTHER_FEATURES = (("4", STREETS), ("2", WATERS), ("8", PARKS))

Point = tuple[float, float]


class GeospatialRegister:
    def __init__(self, seed: int, blank: State) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} geospatial")
        self._blank = blank
        self._living = Living(self._rng)
        self._addresses = 0
        self._others = 0
        self._actions = (
            self._survey_address,
            self._survey_other,
            self._rename,
            self._finish,
            self._new_owner,
            self._correct,
            self._demolish,
            self._remove,
        )

    def change(self, today: date) -> Change:
        if not self._living:
            return self._survey_address(today)
        return self._rng.choices(self._actions, cum_weights=_WEIGHTS)[0](today)

    def _survey_address(self, today: date) -> Change:
        """A door plate is a point; a building is its outline, with what is known of the building."""
        number, self._addresses = self._addresses, self._addresses + 1
        address = city.address(self._seed, number)
        place = (address.longitude, address.latitude)
        state = {
            **self._blank,
            "feature_id": address.feature_id,
            "feature_class": "3",
            "name": address.name,
            "division": address.division,
            "address": address.text,
            "status": "1" if self._rng.random() < 0.8 else "2",
            **self._shape("POLYGON" if address.parent_id else "POINT", place, today),
            "owner_name": city.organisation(self._seed, number // 2).name,
            "parent_id": address.parent_id,
        }
        if address.parent_id:
            state.update(
                floors=str(self._rng.randint(1, 33)), floor_area=f"{self._rng.randint(8_000, 900_000) / 100:.2f}"
            )
        return Change("CREATED", self._living.add(state))

    def _survey_other(self, today: date) -> Change:
        number, self._others = self._others, self._others + 1
        feature_class, names = _OTHER_FEATURES[number % 3]
        division = self._rng.choice(tuple(city.CENTRES))
        longitude, latitude = city.CENTRES[division]
        place = (longitude + self._rng.uniform(-0.05, 0.05), latitude + self._rng.uniform(-0.04, 0.04))
        state = {
            **self._blank,
            "feature_id": f"{division}{feature_class}{number:09}",
            "feature_class": feature_class,
            "name": self._rng.choice(names),
            "division": division,
            "status": "1",
            **self._shape("POLYGON" if feature_class == "8" else "LINESTRING", place, today),
        }
        return Change("CREATED", self._living.add(state))

    def _shape(self, geometry_type: str, place: Point, today: date) -> State:
        longitude, latitude = place
        width, height = self._rng.uniform(0.0001, 0.0004), self._rng.uniform(0.0001, 0.0003)
        corner, opposite = (longitude + width, latitude), (longitude + width, latitude + height)
        points = {
            "POINT": [place],
            "LINESTRING": [place, corner, opposite],
            "POLYGON": [place, corner, opposite, (longitude, latitude + height), place],
        }[geometry_type]
        return {
            "geometry_type": geometry_type,
            "geometry": well_known_binary(geometry_type, points).hex(),
            "srid": _CGCS2000,
            "surveyed_on": (today - timedelta(days=self._rng.randrange(60))).isoformat(),
            "elevation": str(round(self._rng.uniform(58.0, 78.0), 3)),
        }

    def _rename(self, today: date) -> Change:
        """The street of an address gets another name, or a road, a water or a park its own."""
        state = self._living.draw()
        others = dict(_OTHER_FEATURES)
        if state["feature_class"] in others:
            state["name"] = self._rng.choice(others[state["feature_class"]])
            return Change("CHANGED", state)
        street = next(street for street in STREETS if state["name"].startswith(street))
        new = self._rng.choice(STREETS)
        state["address"] = state["address"].replace(state["name"], state["name"].replace(street, new))
        state["name"] = state["name"].replace(street, new)
        return Change("CHANGED", state)

    def _finish(self, today: date) -> Change:
        """What was built is in use, what was in use is closed, what was closed is opened again."""
        state = self._living.draw()
        state["status"] = {"2": "1", "1": "3", "3": "1"}[state["status"]]
        return Change("CHANGED", state)

    def _new_owner(self, today: date) -> Change:
        state = self._living.draw()
        state["owner_name"] = city.organisation(self._seed, self._rng.randrange(self._addresses) // 2).name
        return Change("CHANGED", state)

    def _correct(self, today: date) -> Change:
        state = self._living.draw()
        state["elevation"] = str(round(self._rng.uniform(58.0, 78.0), 3))
        return Change("CORRECTED", state, case_number(self._rng, today))

    def _demolish(self, today: date) -> Change:
        state = self._living.take()
        state["status"] = "4"
        return Change("CANCELLED", state)

    def _remove(self, today: date) -> Change:
        return Change("REMOVED", {"feature_id": self._living.take()["feature_id"]})


def well_known_binary(geometry_type: str, points: list[Point]) -> bytes:
    """A geometry as little-endian WKB (OGC 06-103r4), longitude first; the points of a polygon are its one ring."""
    coordinates = b"".join(struct.pack("<dd", *point) for point in points)
    match geometry_type:
        case "POINT":
            return struct.pack("<BI", 1, 1) + coordinates
        case "LINESTRING":
            return struct.pack("<BII", 1, 2, len(points)) + coordinates
        case _:
            return struct.pack("<BIII", 1, 3, 1, len(points)) + coordinates
