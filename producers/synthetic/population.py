"""The population register: registrations, births, moves, marriages, corrections, deaths."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.register import Change, Living, State, case_number
from bianhe.producers.synthetic.words import GIVEN

_WEIGHTS = tuple(accumulate((40, 12, 16, 4, 7, 8, 4, 3, 5, 1)))
_MARRIAGEABLE_YEARS = 22
_NEXT_MARITAL_STATUS = {"10": "20", "20": "40", "40": "22", "22": "40"}


class PopulationRegister:
    """Whoever is registered first dies near the end of `count` changes: the person of the demo's story."""

    def __init__(self, seed: int, count: int, blank: State) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} population")
        self._blank = blank
        self._living = Living(self._rng)
        self._residents = 0
        self._newborns: Counter[date] = Counter()
        self._changes = 0
        self._story_end = count - 1 - count // 100
        self._story: State = {}
        self._actions = (
            self._settle,
            self._be_born,
            self._move,
            self._move_out,
            self._die,
            self._marry,
            self._correct,
            self._rename,
            self._new_phone,
            self._remove,
        )

    def change(self, today: date) -> Change:
        number, self._changes = self._changes, self._changes + 1
        if number == 0:
            return self._open_story(today)
        if number == self._story_end:
            return self._died(self._story, today)
        if not self._living:
            return self._settle(today)
        return self._rng.choices(self._actions, cum_weights=_WEIGHTS)[0](today)

    def _open_story(self, today: date) -> Change:
        self._story = self._register(today)
        return Change("CREATED", self._story)

    def _settle(self, today: date) -> Change:
        return Change("CREATED", self._living.add(self._register(today)))

    def _register(self, today: date) -> State:
        person = city.person(self._seed, self._residents)
        self._residents += 1
        moved_in = today - timedelta(days=self._rng.randrange(30))
        return {
            **self._blank,
            "citizen_id": person.citizen_id,
            "name": person.name,
            "sex": person.sex,
            "birth_date": person.birth.isoformat(),
            "status": "1",
            **self._residence(person.home),
            "source_unit": city.OFFICES["开封市公安局"],
            "ethnic_group": person.ethnic_group,
            "marital_status": "10" if _age(person.birth, today) < 27 else "20",
            "migrated_from": person.origin,
            "migrated_on": moved_in.isoformat() if person.origin else "",
            "contact_phone": city.phone(self._rng),
        }

    def _be_born(self, today: date) -> Change:
        parent = self._living.draw()
        birth = today - timedelta(days=self._rng.randrange(8))
        male = self._rng.random() < 0.51
        ordinal = self._newborns[birth]
        self._newborns[birth] += 1
        child = {
            **self._blank,
            "citizen_id": city.identity(parent["residence_division"], birth, ordinal, male=male),
            "name": parent["name"][0] + "".join(self._rng.choices(GIVEN, k=2)),
            "sex": "1" if male else "2",
            "birth_date": birth.isoformat(),
            "status": "1",
            "residence_division": parent["residence_division"],
            "address": parent["address"],
            "address_id": parent["address_id"],
            "source_unit": parent["source_unit"],
            "ethnic_group": parent["ethnic_group"],
            "marital_status": "10",
        }
        return Change("CREATED", self._living.add(child))

    def _move(self, today: date) -> Change:
        state = self._living.draw()
        state.update(self._residence(self._rng.randrange(self._residents) // 3))
        return Change("CHANGED", state)

    def _residence(self, home: int) -> State:
        address = city.address(self._seed, home)
        flat = f"{self._rng.randint(1, 4)}单元{self._rng.randint(1, 18)}0{self._rng.randint(1, 4)}室"
        return {
            "residence_division": address.division,
            "address": address.text + (flat if address.parent_id else ""),
            "address_id": address.feature_id,
        }

    def _move_out(self, today: date) -> Change:
        state = self._living.take()
        state["status"] = "2"
        return Change("CANCELLED", state)

    def _die(self, today: date) -> Change:
        return self._died(self._living.take(least="birth_date"), today)

    def _died(self, state: State, today: date) -> Change:
        death = max(today - timedelta(days=self._rng.randrange(5)), date.fromisoformat(state["birth_date"]))
        state.update(status="3", death_date=death.isoformat())
        return Change("CANCELLED", state)

    def _marry(self, today: date) -> Change:
        """Marry, part or marry again; who is too young gets a telephone instead."""
        state = self._living.draw()
        if _age(date.fromisoformat(state["birth_date"]), today) < _MARRIAGEABLE_YEARS:
            return self._new_phone(today)
        state["marital_status"] = _NEXT_MARITAL_STATUS[state["marital_status"]]
        return Change("CHANGED", state)

    def _correct(self, today: date) -> Change:
        """The last character of a name was written wrongly."""
        state = self._living.draw()
        state["name"] = state["name"][:-1] + self._rng.choice(GIVEN)
        return Change("CORRECTED", state, case_number(self._rng, today))

    def _rename(self, today: date) -> Change:
        state = self._living.draw()
        state["former_name"] = state["name"]
        state["name"] = state["name"][0] + "".join(self._rng.choices(GIVEN, k=2))
        return Change("CHANGED", state)

    def _new_phone(self, today: date) -> Change:
        state = self._living.draw()
        state["contact_phone"] = city.phone(self._rng)
        return Change("CHANGED", state)

    def _remove(self, today: date) -> Change:
        return Change("REMOVED", {"citizen_id": self._living.take()["citizen_id"]})


def _age(birth: date, today: date) -> int:
    return today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))
