"""The register of legal entities: registrations, renamings, moves, new representatives, licences lost, closures."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import accumulate
from random import Random

from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.register import Change, Living, State, case_number

_AUTHORITIES = {"52": "开封市民政局"}
_WEIGHTS = tuple(accumulate((54, 7, 9, 9, 8, 4, 2, 2, 4, 1)))


class LegalEntityRegister:
    def __init__(self, seed: int, blank: State) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} legal-entity")
        self._blank = blank
        self._living = Living(self._rng)
        self._organisations = 0
        self._actions = (
            self._establish,
            self._rename,
            self._move,
            self._new_representative,
            self._new_capital,
            self._abnormal,
            self._revoke,
            self._correct,
            self._close,
            self._remove,
        )

    def change(self, today: date) -> Change:
        if not self._living:
            return self._establish(today)
        return self._rng.choices(self._actions, cum_weights=_WEIGHTS)[0](today)

    def _establish(self, today: date) -> Change:
        """Half are new; the others have been there for up to twenty years and are recorded now."""
        organisation = city.organisation(self._seed, self._organisations)
        self._organisations += 1
        established = today - timedelta(days=self._rng.randrange(20 * 365) if self._rng.random() < 0.5 else 0)
        state = {
            **self._blank,
            "uscc": organisation.uscc,
            "name": organisation.name,
            "entity_type": organisation.entity_type,
            **self._representative(organisation.representative),
            "status": "1",
            "established_on": established.isoformat(),
            **self._domicile(organisation.seat),
            "industry": organisation.industry,
            "business_scope": organisation.trade,
            **self._capital(),
            "currency": "156",
            "registration_authority": city.OFFICES[_AUTHORITIES.get(organisation.entity_type, "开封市市场监督管理局")],
            "contact_phone": city.phone(self._rng),
            "employees": str(self._rng.randint(1, 300)),
            "abnormal": "false",
        }
        return Change("CREATED", self._living.add(state))

    def _representative(self, number: int) -> State:
        person = city.person(self._seed, number)
        return {"representative_name": person.name, "representative_id": person.citizen_id}

    def _domicile(self, seat: int) -> State:
        address = city.address(self._seed, seat)
        return {"domicile_division": address.division, "address": address.text}

    def _capital(self) -> State:
        registered = self._rng.choice((30_000, 100_000, 500_000, 1_000_000, 5_000_000, 20_000_000))
        paid_in = registered * self._rng.randint(0, 100) // 100
        return {"registered_capital": f"{registered}.00", "paid_in_capital": f"{paid_in}.00"}

    def _rename(self, today: date) -> Change:
        state = self._living.draw()
        state["name"] = city.new_name(self._rng, state["name"], state["domicile_division"])
        return Change("CHANGED", state)

    def _move(self, today: date) -> Change:
        state = self._living.draw()
        state.update(self._domicile(self._rng.randrange(self._organisations) // 2))
        return Change("CHANGED", state)

    def _new_representative(self, today: date) -> Change:
        state = self._living.draw()
        state.update(self._representative(self._rng.randrange(self._organisations) // 2))
        return Change("CHANGED", state)

    def _new_capital(self, today: date) -> Change:
        state = self._living.draw()
        state.update(self._capital())
        return Change("CHANGED", state)

    def _abnormal(self, today: date) -> Change:
        state = self._living.draw()
        state["abnormal"] = "false" if state["abnormal"] == "true" else "true"
        return Change("CHANGED", state)

    def _revoke(self, today: date) -> Change:
        """Out of business at first, then revoked: closing it is another step."""
        state = self._living.draw()
        if state["status"] == "1":
            state["status"] = "2"
        else:
            state.update(status="3", closed_on=today.isoformat())
        return Change("CHANGED", state)

    def _correct(self, today: date) -> Change:
        state = self._living.draw()
        state["employees"] = str(self._rng.randint(1, 300))
        return Change("CORRECTED", state, case_number(self._rng, today))

    def _close(self, today: date) -> Change:
        state = self._living.take()
        state.update(status="4", closed_on=today.isoformat())
        return Change("CANCELLED", state)

    def _remove(self, today: date) -> Change:
        return Change("REMOVED", {"uscc": self._living.take()["uscc"]})
