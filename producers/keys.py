"""The entity key: the string that identifies an entity on the bus, derived as its contract says (design 3.1).

The algorithm is written out for other languages in `infra/docs/keys.md`, with vectors in `tests/vectors/keys`.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from bianhe.producers.validation import InvalidEvent
from bianhe.schemas.contract import Derivation, InvalidContract, KeyRule
from bianhe.schemas.errors import Rejected
from bianhe.schemas.identifiers import looks_like_citizen_id

try:
    from bianhe.producers._encoder import Keys
except ImportError:  # installed where no compiler was
    Keys = None  # type: ignore[assignment, misc]

SECRET_BYTES: Final = 32
SEPARATOR: Final = "\x1f"
"""Between the parts of a natural key of several items; being unprintable, it is in none of them."""

_CAPITALS: Final = {small: small - 32 for small in range(ord("a"), ord("z") + 1)}
_BLOCK: Final = 64
_URL: Final = bytes.maketrans(b"+/", b"-_")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class InvalidSecret(Rejected):
    """A key secret that is not 64 hexadecimal digits, or one that is needed and not there."""


class EntityKeys:
    """Derives the entity keys of one contract. `secret` is needed for HMAC alone and is not in the repr."""

    def __init__(self, rule: KeyRule, secret: bytes | None) -> None:
        if rule.derivation is Derivation.NATURAL and len(rule.items) != 1:
            raise InvalidContract(f"a natural key is one item, not {', '.join(rule.items)}")
        if rule.derivation is Derivation.HMAC and secret is None:
            raise InvalidSecret("the contract derives its keys with a secret, and none was given")
        self.rule: Final = rule
        self._first, *self._others = rule.items
        derives = rule.derivation is Derivation.HMAC
        self._derived: Final = deriving(secret or b"") if derives else None
        self._at_once: Final = Keys(rule.items, *_hashes(secret or b"")) if derives and Keys is not None else None

    def __repr__(self) -> str:
        return f"EntityKeys({self.rule})"

    def key(self, items: Mapping[str, object], today: date) -> str:
        """The entity key; raises InvalidEvent where a key item is no text or its key may not be on the bus."""
        if self._at_once is not None and (key := self._at_once(items)) is not None:
            return key
        if self._derived is None:
            return _natural(self._first, _text(self._first, items), today)
        text = _part(self._first, items)
        for name in self._others:
            text += SEPARATOR + _part(name, items)
        return self._derived(text)


def _text(name: str, items: Mapping[str, object]) -> str:
    value = items.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidEvent(name, "identifies the entity and must be text that is not empty")
    return value


def _part(name: str, items: Mapping[str, object]) -> str:
    part = normalised(_text(name, items))
    if not part or not part.isprintable():
        raise InvalidEvent(name, "identifies the entity and is blank or holds a control character")
    return part


def normalised(part: str) -> str:
    """One part of a natural key as it is hashed: in NFKC, without spaces around it, a to z as capitals."""
    if part.isascii():
        return part.strip(" ").upper()
    return unicodedata.normalize("NFKC", part).strip(" ").translate(_CAPITALS)


def deriving(secret: bytes) -> Callable[[str], str]:
    """HMAC-SHA-256 of a text's UTF-8 bytes (RFC 2104), as base64url without padding (RFC 4648 §5): 43 characters."""
    inner, outer = _hashes(secret)

    def derived(text: str) -> str:
        within, around = inner.copy(), outer.copy()
        within.update(text.encode())
        around.update(within.digest())
        return binascii.b2a_base64(around.digest(), newline=False).translate(_URL, b"=").decode()

    return derived


def _hashes(secret: bytes) -> Sequence[Any]:
    """The inner and the outer hash as far as the secret alone takes them: computed once, not for each key."""
    padded = (secret if len(secret) <= _BLOCK else hashlib.sha256(secret).digest()).ljust(_BLOCK, b"\0")
    return [hashlib.sha256(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C)]


def secret_of(text: str) -> bytes:
    """The secret in a key file: 64 hexadecimal digits, 32 bytes. Raises InvalidSecret."""
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * SECRET_BYTES}}}", text):
        raise InvalidSecret(f"a key secret must be {2 * SECRET_BYTES} hexadecimal digits")
    return bytes.fromhex(text)


def _natural(name: str, key: str, today: date) -> str:
    if not _KEY.fullmatch(key):
        raise InvalidEvent(name, "is no entity key: must be 1 to 64 of A-Z, a-z, 0-9, '_' and '-'")
    if looks_like_citizen_id(key, today):
        raise InvalidEvent(name, "is an identity number, and no personal number may be a key on the bus")
    return key
