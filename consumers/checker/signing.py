"""Who signed the policy log, by the checker's own code."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bianhe.consumers.checker.findings import Kind, Report
from bianhe.consumers.checker.log import Entry
from bianhe.schemas import names


def judge(entries: Sequence[Entry], policy_keys: str, report: Report) -> None:
    """The newest record must be signed by the relay's key: the chain carries that to all before it.

    After it may stand stops that break-glass signed; they carry nothing but themselves.
    """
    try:
        keys = {role: [bytes.fromhex(key) for key in keys] for role, keys in tomllib.loads(policy_keys).items()}
    except (ValueError, TypeError) as error:
        report.doubt(f"the public keys of {names.POLICY} cannot be read: {type(error).__name__}")
        return
    if not keys:
        report.doubt(f"the signatures of {names.POLICY} cannot be checked without its public keys")
        return
    for entry in reversed(entries):
        signers = {role for role, known in keys.items() if any(_signed(entry, key) for key in known)}
        if "relay" in signers:
            return
        if "break-glass" not in signers or _kind(entry) != "stopped":
            message = "the newest record is signed by no key that is pinned and may say this"
            report.add(Kind.TIMELINE, names.POLICY, 0, entry.offset, message)
            return


def _kind(entry: Entry) -> str:
    return str(json.loads(entry.value or b"")["body"]["kind"])


def _signed(entry: Entry, key: bytes) -> bool:
    try:
        record = json.loads(entry.value or b"")
        signature = bytes.fromhex(record.pop("signature"))
        Ed25519PublicKey.from_public_bytes(key).verify(signature, rfc8785.dumps(record))
    except (InvalidSignature, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True
