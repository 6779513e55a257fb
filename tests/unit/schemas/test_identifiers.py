"""Identifiers: the published and synthetic vectors, and what their check digits promise."""

from __future__ import annotations

import csv
import string
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas.identifiers import CHECKS, citizen_id, licence_id, looks_like_citizen_id, uscc

VECTORS = Path(__file__).parents[2] / "vectors" / "identifiers"
TODAY = date(2026, 11, 22)
CAPITALS_AND_DIGITS = string.digits + string.ascii_uppercase

citizen_ids = st.builds(
    citizen_id.make,
    st.from_regex(r"[0-9]{6}", fullmatch=True),
    st.dates(citizen_id.EARLIEST_BIRTH, TODAY),
    st.integers(0, 999),
)
usccs = st.builds(
    uscc.make,
    st.text(uscc.ALPHABET, min_size=2, max_size=2),
    st.from_regex(r"[0-9]{6}", fullmatch=True),
    st.text(uscc.ALPHABET, min_size=8, max_size=8),
)
licence_ids = st.builds(
    licence_id.make,
    st.text(CAPITALS_AND_DIGITS, min_size=21, max_size=21),
    st.text(CAPITALS_AND_DIGITS, min_size=1, max_size=18),
    st.text(CAPITALS_AND_DIGITS, min_size=1, max_size=32),
    st.integers(1, 999),
)


def vectors(name: str) -> list[dict[str, str]]:
    with (VECTORS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CASES = [(name, row) for name in CHECKS for row in vectors(name)]


def with_one_change(data: st.DataObject, text: str, alphabet: str) -> str:
    place = data.draw(st.sampled_from([n for n, character in enumerate(text) if character in alphabet]))
    other = data.draw(st.sampled_from([character for character in alphabet if character != text[place]]))
    return text[:place] + other + text[place + 1 :]


@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{name}: {row['why']}" for name, row in CASES])
def test_every_vector_gets_its_verdict(name: str, row: dict[str, str]) -> None:
    assert CHECKS[name](row["text"]) == (row["fault"] or None)


@pytest.mark.parametrize("row", vectors("licence-id"), ids=lambda row: row["why"])
def test_a_licence_identifier_says_which_variant_it_follows(row: dict[str, str]) -> None:
    assert licence_id.variant(row["text"]) == (row["variant"] or None)


@given(citizen_ids, usccs, licence_ids)
def test_what_is_made_has_no_fault(citizen: str, organisation: str, licence: str) -> None:
    assert citizen_id.fault(citizen, TODAY) is None
    assert uscc.fault(organisation) is None
    assert licence_id.fault(licence) is None
    assert licence_id.variant(licence) is licence_id.Variant.STANDARD


@given(st.data(), citizen_ids)
def test_one_changed_digit_of_a_citizen_id_is_found(data: st.DataObject, text: str) -> None:
    assert citizen_id.fault(with_one_change(data, text, string.digits + "X")) is not None


@given(st.data(), usccs)
def test_one_changed_character_of_a_uscc_is_found(data: st.DataObject, text: str) -> None:
    assert uscc.fault(with_one_change(data, text, uscc.ALPHABET)) is not None


@given(st.data(), licence_ids)
def test_one_changed_character_of_a_licence_id_never_passes_the_standard_check(data: st.DataObject, text: str) -> None:
    root = len(licence_id.ROOT)
    changed = text[:root] + with_one_change(data, text[root:], CAPITALS_AND_DIGITS)
    assert licence_id.variant(changed) is not licence_id.Variant.STANDARD


@given(st.text(max_size=80))
def test_no_verdict_echoes_the_value(text: str) -> None:
    for check in CHECKS.values():
        verdict = check(text)
        assert verdict is not None
        assert len(text) < 6 or text not in verdict


def test_a_birth_date_in_the_future_is_a_fault_on_the_day_that_is_given() -> None:
    tomorrow = citizen_id.make("410212", date(2026, 11, 23), 1)
    assert citizen_id.fault(tomorrow, TODAY) == "birth date is in the future"
    assert citizen_id.fault(tomorrow, date(2026, 11, 23)) is None


def test_a_key_that_is_an_identity_number_is_known_in_small_letters_too() -> None:
    assert looks_like_citizen_id("41021219880715019X", TODAY)
    assert looks_like_citizen_id("41021219880715019x", TODAY)
    assert not looks_like_citizen_id("410212198807150191", TODAY)
    assert not looks_like_citizen_id(citizen_id.make("410212", date(2026, 11, 23), 1), TODAY)
    assert not looks_like_citizen_id("91410212MA0000X15H", TODAY)
