import pytest
from hypothesis import given
from hypothesis import strategies as st

from bianhe.schemas import names
from bianhe.schemas.names import InvalidName, Mailbox, OpenTopic, SourceTopic

codes = st.from_regex(r"(?!bus(?:-|\Z))[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,2}", fullmatch=True)
numbers = st.integers(min_value=1, max_value=9999)


@given(codes, codes, numbers, numbers)
def test_a_topic_name_says_what_it_was_made_of(department: str, resource: str, version: int, number: int) -> None:
    grant = f"G-2026-{number:04}"
    assert names.parse_topic(names.source_topic(resource, version)) == SourceTopic(resource, version)
    assert names.parse_topic(names.open_topic(resource, version, number)) == OpenTopic(resource, version, number)
    assert names.parse_topic(names.mailbox(department, resource, version, grant)) == Mailbox(
        department, resource, version, grant
    )


@given(codes)
def test_a_code_is_taken_as_it_is(code: str) -> None:
    assert names.code(code) == code


@pytest.mark.parametrize(
    "text", ["", "Gongan", "gong_an", "gong.an", "-gongan", "gongan-", "a--b", "bus", "bus-router", "x" * 41]
)
def test_what_could_be_mistaken_for_something_else_is_no_code(text: str) -> None:
    with pytest.raises(InvalidName):
        names.code(text)


@pytest.mark.parametrize(
    "topic",
    [
        "bus.policy",
        "source.population",
        "source.population.v0",
        "open.population.v1",
        "grant.a.b.v1",
        "x",
        "source.a.v1.x",
    ],
)
def test_other_names_are_not_read_as_ours(topic: str) -> None:
    assert names.parse_topic(topic) is None
