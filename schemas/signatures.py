"""Who speaks on the policy log: Ed25519 signatures by keys that are pinned, never taken from the log itself."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bianhe.schemas.errors import Fatal, Rejected
from bianhe.schemas.records.policy import BrokenPolicyLog, PolicyRecord, Stopped

SEED_BYTES: Final = 32


class InvalidKey(Rejected):
    """A signing key or a file of pinned keys that cannot be read."""


class NoPinnedKeys(Fatal):
    """This process was not told whose signatures to believe, so it believes none."""


class UnpinnedKey(Fatal):
    """Nobody would believe what this process signs."""


class UntrustedPolicyLog(BrokenPolicyLog):
    """A record of the policy log is not signed by a key that may say what it says."""


class Role(StrEnum):
    """What a key is for."""

    RELAY = "relay"
    BREAK_GLASS = "break-glass"
    """May stop, and nothing else."""


class SigningKey:
    """The private half: a seed of 32 random bytes, which its holder keeps in a file of mode 0600."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read a seed from 64 hexadecimal digits; raises InvalidKey, never with the text."""
        try:
            return cls(bytes.fromhex(text))
        except ValueError as error:
            raise InvalidKey("a signing key is 64 hexadecimal digits", cure="restore the file from a backup") from error

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._private.public_key()

    @property
    def public(self) -> str:
        """The public half, as it is pinned."""
        return _hex(self.public_key)

    def sign(self, record: PolicyRecord) -> PolicyRecord:
        return record.model_copy(update={"signature": self._private.sign(record.signed_bytes).hex()})


@dataclass(frozen=True)
class PinnedKeys:
    """The public keys that a process was given by hand, by role."""

    keys: Mapping[Role, tuple[Ed25519PublicKey, ...]]

    @classmethod
    def parse(cls, text: str) -> PinnedKeys:
        """Read what `text` gave; raises NoPinnedKeys for an empty text, InvalidKey for another one."""
        if not text:
            raise NoPinnedKeys(
                "the public keys of the policy log are not pinned here",
                cause="there is no policy-keys.toml in the folder of the secrets",
                cure="copy it from the machine of the registry, by hand; bianhe signing make makes it there",
            )
        try:
            found = tomllib.loads(text)
            keys = {
                Role(role): tuple(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in keys)
                for role, keys in found.items()
            }
        except (ValueError, TypeError) as error:
            raise InvalidKey(
                "policy-keys.toml cannot be read",
                cause=f"{type(error).__name__}: each role has a list of keys, 64 hexadecimal digits each",
                cure="copy it again from the machine of the registry",
            ) from error
        return cls(keys)

    @property
    def text(self) -> str:
        """The file that pins them."""
        head = (
            "# Whose signatures on the policy log are believed. Public, but copied by hand: never take it from the bus."
        )
        return "\n".join((head, *(f"{role} = {json.dumps(keys)}" for role, keys in self.public.items()), ""))

    @property
    def public(self) -> Mapping[Role, tuple[str, ...]]:
        """Their text, by role."""
        return {role: tuple(_hex(key) for key in keys) for role, keys in self.keys.items()}

    def pins(self, role: Role, key: SigningKey) -> bool:
        """Whether what this key signs is believed."""
        return key.public in self.public.get(role, ())

    def pinning(self, role: Role, key: SigningKey) -> PinnedKeys:
        """The same keys, with this one beside them."""
        return PinnedKeys({**self.keys, role: (*self.keys.get(role, ()), key.public_key)})

    def with_only(self, role: Role, key: SigningKey) -> PinnedKeys:
        """The same keys, with this one alone in its role."""
        return PinnedKeys({**self.keys, role: (key.public_key,)})

    def signer(self, record: PolicyRecord) -> Role | None:
        """Whose key signed a record, None where it was none of these."""
        for role, keys in self.keys.items():
            if any(_verifies(key, record) for key in keys):
                return role
        return None

    def read(self, values: Iterable[bytes | None]) -> list[PolicyRecord]:
        """The next records of the log, to be folded: decoded, and the newest one's signature verified.

        The chain carries it to all before: the relay has verified what it signs on top of. So the cost is one signature
        for each reading. A stop by break-glass carries nothing but itself. Raises BrokenPolicyLog, and
        UntrustedPolicyLog where it is not signed.
        """
        records = [PolicyRecord.decode(value or b"") for value in values]
        self.check(records)
        return records

    def check(self, records: Sequence[PolicyRecord]) -> None:
        """Raise UntrustedPolicyLog where the end of these records is not signed by who may say it."""
        for record in reversed(records):
            signer = self.signer(record)
            if signer is Role.RELAY:
                break
            if signer is None or not isinstance(record.body, Stopped):
                raise _untrusted(record, signer)

    def check_pinned(self, key: SigningKey, role: Role) -> None:
        """Raise UnpinnedKey where nobody would believe what this key signs."""
        if not self.pins(role, key):
            raise UnpinnedKey(
                f"the {role} key of this machine is not pinned in policy-keys.toml",
                cause="key or file was replaced by itself; whoever reads the policy log would refuse what it signs",
                cure=f"restore the one that is wrong, or add {key.public} to policy-keys.toml on every machine",
            )


def _untrusted(record: PolicyRecord, signer: Role | None) -> UntrustedPolicyLog:
    how = "is not signed" if not record.signature else "is signed by no pinned key"
    if signer is not None:
        how = f"is signed by the {signer} key, which may only stop"
    return UntrustedPolicyLog(
        f"record {record.number} of the policy log {how}",
        cause="someone else wrote it, or the registry signs with a key that is not in policy-keys.toml here",
        cure="compare policy-keys.toml with the registry's; if they agree, restore the log; until then nothing is done",
    )


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


def _verifies(key: Ed25519PublicKey, record: PolicyRecord) -> bool:
    try:
        key.verify(bytes.fromhex(record.signature), record.signed_bytes)
    except (InvalidSignature, ValueError):
        return False
    return True
