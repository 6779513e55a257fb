"""The register of electronic licences: issued, renewed, withheld and given back, revoked, expired."""

from __future__ import annotations

from collections import deque
from datetime import date, timedelta
from itertools import accumulate
from random import Random
from typing import NamedTuple

from bianhe.producers.synthetic import city
from bianhe.producers.synthetic.register import Change, Living, State, case_number
from bianhe.schemas.code_tables import table
from bianhe.schemas.identifiers import licence_id

_WEIGHTS = tuple(accumulate((60, 16, 8, 5, 4, 3, 3, 1)))
_RENEWAL_DAYS = 60


class _Kind(NamedTuple):
    """A kind of licence: who issues it, whether an organisation holds it, for how many years (0: without end)."""

    office: str
    organisation: bool
    years: int


_KINDS = {
    "营业执照": _Kind("开封市市场监督管理局", True, 0),
    "食品经营许可证": _Kind("开封市市场监督管理局", True, 5),
    "道路运输经营许可证": _Kind("开封市交通运输局", True, 4),
    "建筑工程施工许可证": _Kind("开封市住房和城乡建设局", True, 2),
    "公共场所卫生许可证": _Kind("开封市卫生健康委员会", True, 4),
    "烟草专卖零售许可证": _Kind("开封市烟草专卖局", True, 5),
    "医师执业证书": _Kind("开封市卫生健康委员会", False, 0),
    "教师资格证书": _Kind("开封市教育体育局", False, 0),
    "居住证": _Kind("开封市公安局", False, 1),
    "残疾人证": _Kind("开封市残疾人联合会", False, 10),
    "不动产权证书": _Kind("开封市自然资源和规划局", False, 0),
}


class LicenceRegister:
    def __init__(self, seed: int, blank: State) -> None:
        self._seed = seed
        self._rng = Random(f"{seed} licence")
        self._blank = blank
        self._living = Living(self._rng)
        self._codes = {title: code for code, title in table("licence-type").items()}
        self._issued = 0
        self._due: deque[Change] = deque()
        self._actions = (
            self._issue,
            self._end_term,
            self._amend,
            self._withhold,
            self._hand_back,
            self._revoke,
            self._correct,
            self._remove,
        )

    def change(self, today: date) -> Change:
        if self._due:
            return self._due.popleft()
        if not self._living:
            return self._issue(today)
        return self._rng.choices(self._actions, cum_weights=_WEIGHTS)[0](today)

    def _issue(self, today: date) -> Change:
        """Every second one is new; the others were issued earlier within their term and are recorded now."""
        number, self._issued = self._issued, self._issued + 1
        name = self._rng.choice(tuple(_KINDS))
        kind = _KINDS[name]
        age = self._rng.randrange((kind.years or 10) * 365) if self._rng.random() < 0.5 else 0
        issued = today - timedelta(days=age)
        issuer = city.OFFICES[kind.office]
        state = {
            **self._blank,
            "licence_id": licence_id.make(self._codes[name], issuer, f"{issued.year}{number:08}"),
            "name": name,
            "licence_type": self._codes[name],
            "licence_number": f"豫汴证字〔{issued.year}〕第{number:08}号",
            "issuer": issuer,
            "issuer_name": kind.office,
            **_term(issued, kind.years),
            "status": "01",
            **self._holder(number // 2, organisation=kind.organisation),
            "file_digest": f"{self._rng.getrandbits(256):064x}",
            "access_reference": f"/licences/{number:08}/1",
        }
        return Change("CREATED", self._living.add(state))

    def _holder(self, number: int, *, organisation: bool) -> State:
        if organisation:
            holder = city.organisation(self._seed, number)
            return {
                "division": holder.division,
                "holder_name": holder.name,
                "holder_code_type": "001",
                "holder_code": holder.uscc,
            }
        person = city.person(self._seed, number)
        return {
            "division": person.division,
            "holder_name": person.name,
            "holder_code_type": "111",
            "holder_code": person.citizen_id,
        }

    def _end_term(self, today: date) -> Change:
        """A licence near its end is renewed under the next version, or expires; else one is amended."""
        state = self._living.take(least="valid_until")
        until = state["valid_until"]
        if not until or date.fromisoformat(until) > today + timedelta(days=_RENEWAL_DAYS):
            self._living.add(state)
            return self._amend(today)
        state["status"] = "05"
        if self._rng.random() < 0.3 and date.fromisoformat(until) < today:
            return Change("CANCELLED", state)
        self._due.append(Change("CANCELLED", state))
        return Change("CREATED", self._living.add(self._renewed(state, today)))

    def _renewed(self, state: State, today: date) -> State:
        *_, serial, version, _ = state["licence_id"].split(".")
        renewed_version = int(version) + 1
        return {
            **state,
            "licence_id": licence_id.make(state["licence_type"], state["issuer"], serial, renewed_version),
            **_term(today, _KINDS[state["name"]].years),
            "status": "01",
            "previous_licence_id": state["licence_id"],
            "file_digest": f"{self._rng.getrandbits(256):064x}",
            "access_reference": f"{state['access_reference'].rpartition('/')[0]}/{renewed_version}",
        }

    def _amend(self, today: date) -> Change:
        """What is printed on the licence changes, hence its file."""
        state = self._living.draw()
        state["file_digest"] = f"{self._rng.getrandbits(256):064x}"
        return Change("CHANGED", state)

    def _withhold(self, today: date) -> Change:
        state = self._living.draw()
        state["status"] = "01" if state["status"] == "02" else "02"
        return Change("CHANGED", state)

    def _hand_back(self, today: date) -> Change:
        return self._ended("04")

    def _revoke(self, today: date) -> Change:
        return self._ended(self._rng.choice(("03", "07")))

    def _ended(self, status: str) -> Change:
        state = self._living.take()
        state["status"] = status
        return Change("CANCELLED", state)

    def _correct(self, today: date) -> Change:
        """The file was made anew, for instance with the seal that it lacked."""
        state = self._living.draw()
        state["file_digest"] = f"{self._rng.getrandbits(256):064x}"
        return Change("CORRECTED", state, case_number(self._rng, today))

    def _remove(self, today: date) -> Change:
        return Change("REMOVED", {"licence_id": self._living.take()["licence_id"]})


def _term(issued: date, years: int) -> State:
    until = (issued + timedelta(days=365 * years)).isoformat() if years else ""
    return {"issued_on": issued.isoformat(), "valid_from": issued.isoformat(), "valid_until": until}
