"""Of what was set aside each provider gets the last of its own, however much there is of others."""

from __future__ import annotations

import pytest

from bianhe.registry.quarantine.kafka import NOTES_MAX, LastNotes, NoResource, check_resource
from bianhe.schemas.policy import EMPTY
from bianhe.schemas.records.journal import Quarantined

OWN, OTHER = "source.population.v1", "source.licence.v1"


def note(topic: str, offset: int) -> Quarantined:
    return Quarantined(topic, 0, offset, "TRUNCATED", "00" * 32, 3)


def test_the_notes_of_one_topic_are_not_pushed_out_by_those_of_another() -> None:
    notes = LastNotes()
    notes.add(0, note(OWN, 7))
    for offset in range(1, 2 * NOTES_MAX):
        notes.add(offset, note(OTHER, offset))
    assert notes.of(lambda topic: topic == OWN) == [note(OWN, 7)]


def test_of_several_topics_the_last_are_given_in_their_order() -> None:
    notes = LastNotes()
    for offset in range(3 * NOTES_MAX):
        notes.add(offset, note((OWN, OTHER)[offset % 2], offset))
    assert [each.offset for each in notes.of(lambda topic: True)] == list(range(2 * NOTES_MAX, 3 * NOTES_MAX))


def test_a_resource_that_is_not_there_is_refused() -> None:
    with pytest.raises(NoResource, match="nosuch"):
        check_resource(EMPTY, "nosuch")
