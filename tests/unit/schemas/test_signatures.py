"""A record of the policy log is believed for its signature, and for nothing that the log itself says."""

from __future__ import annotations

import pytest

from bianhe.schemas.records.policy import BrokenPolicyLog, PolicyRecord, Stopped, Target
from bianhe.schemas.signatures import (
    InvalidKey,
    NoPinnedKeys,
    PinnedKeys,
    Role,
    SigningKey,
    UnpinnedKey,
    UntrustedPolicyLog,
)
from support.policies import department, records

RELAY, STRANGER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
PINNED = PinnedKeys.parse(PinnedKeys({}).pinning(Role.RELAY, RELAY).text)
STOP = Stopped(target=Target.DEPARTMENT, code="renshe", reason="演练", decided_by="值班员")
FIRST, SECOND = records([department("renshe"), department("tongji")])


def values(*written: PolicyRecord) -> list[bytes]:
    return [record.encode() for record in written]


def test_the_newest_signature_carries_all_before_it() -> None:
    assert PINNED.read(values(FIRST, RELAY.sign(SECOND))) == [FIRST, RELAY.sign(SECOND)]
    assert PINNED.read([]) == []


def test_break_glass_may_stop_and_nothing_else_and_vouches_for_nothing_before_it() -> None:
    both = PINNED.pinning(Role.BREAK_GLASS, STRANGER)
    first, second = records([department("renshe"), STOP])
    assert both.read(values(RELAY.sign(first), STRANGER.sign(second)))
    assert both.read(values(STRANGER.sign(second)))
    for log in (values(first, STRANGER.sign(second)), values(RELAY.sign(first), STRANGER.sign(SECOND))):
        with pytest.raises(UntrustedPolicyLog):
            both.read(log)


@pytest.mark.parametrize("record", [SECOND, STRANGER.sign(SECOND), SECOND.model_copy(update={"signature": "no hex"})])
def test_what_no_pinned_key_signed_is_refused(record: PolicyRecord) -> None:
    with pytest.raises(UntrustedPolicyLog) as refusal:
        PINNED.read(values(RELAY.sign(FIRST), record))
    assert refusal.value.cause
    assert refusal.value.cure


@pytest.mark.parametrize("change", [{"number": 3}, {"previous": "1" * 64}, {"id": "id-3"}, {"body": FIRST.body}])
def test_a_signature_is_for_one_record_whole(change: dict[str, object]) -> None:
    with pytest.raises(UntrustedPolicyLog):
        PINNED.read(values(RELAY.sign(SECOND).model_copy(update=change)))


def test_signing_twice_gives_the_same_bytes() -> None:
    assert RELAY.sign(FIRST).encode() == RELAY.sign(RELAY.sign(FIRST)).encode()
    assert PolicyRecord.decode(RELAY.sign(FIRST).encode()) == RELAY.sign(FIRST)


def test_a_key_that_was_rotated_is_believed_as_long_as_it_is_pinned() -> None:
    both = PinnedKeys.parse(f'relay = ["{STRANGER.public}", "{RELAY.public}"]')
    assert both.read(values(STRANGER.sign(FIRST), RELAY.sign(SECOND)))
    assert both.read(values(STRANGER.sign(FIRST)))


def test_nobody_signs_what_nobody_would_believe() -> None:
    PINNED.check_pinned(RELAY, Role.RELAY)
    with pytest.raises(UnpinnedKey):
        PINNED.check_pinned(STRANGER, Role.RELAY)


@pytest.mark.parametrize("text", ["relay = 1", 'relay = ["zz"]', 'someone = ["00"]', "no toml", 'relay = ["00"]'])
def test_a_file_of_keys_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidKey):
        PinnedKeys.parse(text)


def test_without_pinned_keys_nothing_is_believed() -> None:
    with pytest.raises(NoPinnedKeys):
        PinnedKeys.parse("")


@pytest.mark.parametrize("text", ["", "zz", "00" * 31])
def test_a_seed_that_is_none_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(InvalidKey) as refusal:
        SigningKey.parse(text)
    assert not text or text not in str(refusal.value)


def test_a_broken_record_is_told_before_its_signature_is_asked_for() -> None:
    with pytest.raises(BrokenPolicyLog):
        PINNED.read([b"{}"])
