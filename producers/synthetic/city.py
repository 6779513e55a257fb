"""An invented Kaifeng: who lives there, which organisations there are, which addresses they have.

Every inhabitant of the city is a function of the seed and a number, so that one register can name what another one
keeps. Divisions are the real ones; streets, names and numbers are invented, and every identity number has a
sequence from 900 on, every organisation code begins with `MAX` or `MBX`: that is how a record shows that it is made up.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from bianhe.producers.synthetic.words import BRANDS, GIVEN, STREETS, SURNAMES
from bianhe.schemas.code_tables import table
from bianhe.schemas.identifiers import citizen_id, uscc

CENTRES: Final = {
    "410202": (114.353, 34.806),
    "410203": (114.369, 34.797),
    "410204": (114.343, 34.789),
    "410205": (114.348, 34.771),
    "410212": (114.441, 34.757),
    "410221": (114.783, 34.549),
    "410222": (114.467, 34.480),
    "410223": (114.193, 34.411),
    "410225": (114.821, 34.822),
}
"""Longitude and latitude (CGCS2000) about the middle of every division."""

OFFICES: Final = {
    name: uscc.make("11", "410200", f"MBX91{number:03}")
    for name, number in {
        "开封市公安局": 2,
        "开封市市场监督管理局": 3,
        "开封市自然资源和规划局": 4,
        "开封市民政局": 8,
        "开封市住房和城乡建设局": 10,
        "开封市教育体育局": 11,
        "开封市卫生健康委员会": 12,
        "开封市交通运输局": 901,
        "开封市残疾人联合会": 902,
        "开封市烟草专卖局": 903,
    }.items()
}
"""Invented credit codes of the offices that keep registers or issue licences, as the sample catalog has them."""

_DISTRICTS = (
    *("410212", "410202", "410221", "410203", "410223", "410222"),
    *("410204", "410225", "410212", "410205", "410221", "410223"),
)
"""The divisions in the order in which door plates are given out: the populous ones twice."""
_FORMER_DIVISION = {"410212": "410224"}
_FORMER_DIVISIONS_END = date(2014, 10, 1)
_ORIGINS = (
    "410100",
    "410300",
    "410700",
    "411000",
    "411400",
    "411600",
    "320000",
    "330000",
    "340000",
    "370000",
    "440000",
)
_ETHNIC_GROUPS, _ETHNIC_WEIGHTS = ("01", "03", "11", "02", "15", "97"), (920, 62, 8, 5, 4, 1)

_FIRST_BIRTH = date(1930, 1, 1)
_BIRTH_DAYS = 34_033  # a prime number of days, to the beginning of March 2023
_FIRST_PERSON_BORN = (date(1990, 1, 1) - _FIRST_BIRTH).days
_SYNTHETIC_SEQUENCE = 900


class Address(NamedTuple):
    """A door plate (building 0) or a building behind it."""

    feature_id: str
    parent_id: str
    division: str
    name: str
    text: str
    longitude: float
    latitude: float


class Person(NamedTuple):
    """A resident as first registered; `home` is the number of the address, `origin` the division moved from, if any."""

    citizen_id: str
    name: str
    sex: str
    birth: date
    home: int
    division: str
    origin: str
    ethnic_group: str


class Organisation(NamedTuple):
    """An organisation as first registered; `seat` is the number of an address, `representative` of a person."""

    uscc: str
    name: str
    entity_type: str
    industry: str
    trade: str
    seat: int
    division: str
    representative: int


@lru_cache(maxsize=4096)
def address(seed: int, number: int) -> Address:
    """Four addresses in a row are one door plate and three buildings behind it."""
    building = number % 4
    plate = number - building
    rng = _random(seed, "address", plate)
    division = _DISTRICTS[plate // 4 % len(_DISTRICTS)]
    name = f"{rng.choice(STREETS)}{rng.randint(1, 399)}号" + (f"{building}号楼" if building else "")
    longitude, latitude = CENTRES[division]
    return Address(
        feature_id=f"{division}3{number:09}",
        parent_id=f"{division}3{plate:09}" if building else "",
        division=division,
        name=name,
        text=f"河南省开封市{table('division')[division]}{name}",
        longitude=round(longitude + rng.uniform(-0.05, 0.05) + building * 0.0006, 6),
        latitude=round(latitude + rng.uniform(-0.04, 0.04), 6),
    )


@lru_cache(maxsize=4096)
def person(seed: int, number: int) -> Person:
    """No two numbers give the same identity number; number 0 was born on 1990-01-01 and lives in 410212."""
    rng = _random(seed, "person", number)
    birth = _FIRST_BIRTH + timedelta(days=(_FIRST_PERSON_BORN + number * 7919) % _BIRTH_DAYS)
    male = rng.random() < 0.51
    home = number // 3
    division = address(seed, home).division
    origin = rng.choice(_ORIGINS) if number % 7 == 5 else ""
    return Person(
        citizen_id=identity(_county(origin) if origin else division, birth, number // _BIRTH_DAYS, male=male),
        name=full_name(rng),
        sex="1" if male else "2",
        birth=birth,
        home=home,
        division=division,
        origin=origin,
        ethnic_group=rng.choices(_ETHNIC_GROUPS, _ETHNIC_WEIGHTS)[0],
    )


def _county(origin: str) -> str:
    """A county of a province or of a city."""
    return origin[:2] + "0102" if origin.endswith("0000") else origin[:4] + "02"


def identity(division: str, birth: date, ordinal: int, *, male: bool) -> str:
    """The identity number of the ordinal-th (up to 499) invented person of a birth date."""
    if birth < _FORMER_DIVISIONS_END:
        division = _FORMER_DIVISION.get(division, division)
    return citizen_id.make(division, birth, (_SYNTHETIC_SEQUENCE + 2 * ordinal + male) % 1000)


def full_name(rng: Random) -> str:
    return rng.choice(SURNAMES) + "".join(rng.choices(GIVEN, k=1 if rng.random() < 0.2 else 2))


_TRADES = (
    ("91", "F", "商贸有限公司", "日用百货销售;食品销售"),
    ("91", "C", "机械制造有限公司", "通用设备制造;金属制品加工"),
    ("91", "I", "信息技术有限公司", "软件开发;信息系统集成服务"),
    ("91", "E", "建筑工程有限公司", "房屋建筑工程施工"),
    ("91", "G", "物流有限公司", "道路货物运输;仓储服务"),
    ("92", "H", "餐馆", "餐饮服务"),
    ("92", "F", "便利店", "食品销售;日用品零售"),
    ("92", "O", "家电维修部", "家用电器修理"),
    ("93", "A", "种植农民专业合作社", "粮食、蔬菜种植与销售"),
    ("52", "P", "培训学校", "非学历职业技能培训"),
)
_BODY_CODES = 31**5


@lru_cache(maxsize=4096)
def organisation(seed: int, number: int) -> Organisation:
    """No two numbers give the same credit code."""
    rng = _random(seed, "organisation", number)
    kind, industry, suffix, trade = rng.choice(_TRADES)
    seat = number // 2
    division = address(seed, seat).division
    return Organisation(
        uscc=uscc.make(kind, division, f"MAX{_base31(number * 7919 % _BODY_CODES)}"),
        name=_organisation_name(rng, division, suffix),
        entity_type=kind,
        industry=industry,
        trade=trade,
        seat=seat,
        division=division,
        representative=number // 2,
    )


def new_name(rng: Random, name: str, division: str) -> str:
    """What an organisation of that name may call itself next."""
    return _organisation_name(rng, division, next(suffix for _, _, suffix, _ in _TRADES if name.endswith(suffix)))


def _organisation_name(rng: Random, division: str, suffix: str) -> str:
    brand = rng.choice(BRANDS) + (rng.choice(GIVEN) if rng.random() < 0.7 else "")
    return f"开封市{table('division')[division]}{brand}{suffix}"


def phone(rng: Random) -> str:
    """A number that nobody has: no subscriber's number begins with 0."""
    return f"0371-0{rng.randrange(10_000_000):07}"


def _base31(number: int) -> str:
    digits = ""
    for _ in range(5):
        number, digit = divmod(number, 31)
        digits = uscc.ALPHABET[digit] + digits
    return digits


def _random(seed: int, kind: str, number: int) -> Random:
    return Random(f"{seed} {kind} {number}")
