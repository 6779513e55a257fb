"""Entity keys follow the published vectors, and no personal number becomes one (B25)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.producers.keys import SEPARATOR, EntityKeys, InvalidSecret, deriving, normalised, secret_of
from bianhe.producers.validation import InvalidEvent
from bianhe.schemas.contract import Derivation, InvalidContract, KeyRule
from support.rows import SECRET, number

VECTORS = Path(__file__).parents[2] / "vectors" / "keys"
TODAY = date(2026, 11, 22)
NATURAL = EntityKeys(KeyRule(("code",), Derivation.NATURAL), None)
HMAC = EntityKeys(KeyRule(("code",), Derivation.HMAC), SECRET)


def vectors(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["case"]) for vector in json.loads((VECTORS / name).read_text("utf-8"))]


@pytest.mark.parametrize("vector", vectors("hmac.json"))
def test_a_derived_key_is_the_published_one(vector: dict[str, Any]) -> None:
    items = {f"part_{place}": part for place, part in enumerate(vector["parts"])}
    keys = EntityKeys(KeyRule(tuple(items), Derivation.HMAC), secret_of(vector["secret"]))
    assert keys.key(items, TODAY) == vector["key"]
    assert deriving(secret_of(vector["secret"]))(vector["normalised"]) == vector["key"]


@pytest.mark.parametrize("vector", vectors("natural.json"))
def test_a_natural_key_is_the_code_itself_or_refused(vector: dict[str, Any]) -> None:
    if vector["key"] is None:
        with pytest.raises(InvalidEvent) as raised:
            NATURAL.key({"code": vector["value"]}, TODAY)
        assert vector["value"] not in str(raised.value)
    else:
        assert NATURAL.key({"code": vector["value"]}, TODAY) == vector["key"]


def test_b25_an_identity_number_is_never_a_key() -> None:
    with pytest.raises(InvalidEvent, match="personal number"):
        NATURAL.key({"code": number()}, TODAY)


@given(st.text(min_size=1))
def test_every_derived_key_fits_the_bus_and_tells_nothing(text: str) -> None:
    try:
        key = HMAC.key({"code": text}, TODAY)
    except InvalidEvent:
        assert not normalised(text) or not normalised(text).isprintable()
    else:
        assert NATURAL.key({"code": key}, TODAY) == key
        assert len(key) == 43


@given(st.lists(st.text(max_size=9) | st.text(" azAZ09@[`{~\x1f\x7f", max_size=4), min_size=1, max_size=3))
def test_a_derived_key_is_made_of_the_normalised_parts(parts: list[str]) -> None:
    items = {f"part_{place}": part for place, part in enumerate(parts)}
    keys, normal = EntityKeys(KeyRule(tuple(items), Derivation.HMAC), SECRET), [normalised(part) for part in parts]
    if all(part and part.isprintable() for part in normal):
        assert keys.key(items, TODAY) == deriving(SECRET)(SEPARATOR.join(normal))
    else:
        with pytest.raises(InvalidEvent):
            keys.key(items, TODAY)


@pytest.mark.parametrize("value", [None, "", 5])
def test_a_key_item_that_is_no_text_is_refused(value: object) -> None:
    for keys in (NATURAL, HMAC):
        with pytest.raises(InvalidEvent):
            keys.key({"code": value}, TODAY)


def test_a_contract_whose_keys_cannot_be_derived_is_refused() -> None:
    with pytest.raises(InvalidSecret):
        EntityKeys(KeyRule(("code",), Derivation.HMAC), None)
    with pytest.raises(InvalidContract):
        EntityKeys(KeyRule(("a", "b"), Derivation.NATURAL), None)


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 63, "a" * 66])
def test_a_secret_that_is_not_32_bytes_in_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidSecret):
        secret_of(text)


def test_the_secret_does_not_show() -> None:
    assert SECRET.hex() not in repr(HMAC)
    assert repr(SECRET) not in repr(HMAC)
