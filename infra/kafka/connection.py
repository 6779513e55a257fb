"""Where Kafka is and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Connection:
    """An account at a cluster. Its repr is safe to log: the password does not show.

    `bootstrap` is `host:port`, several with commas. Without `ca_file` (PEM) nothing is encrypted, which is right for
    the embedded broker on 127.0.0.1 alone. `policy_keys` (TOML) says whose signatures on the policy log to believe; a
    department's connection has none, and cannot follow the log.
    """

    bootstrap: str
    account: str
    password: SecretStr
    ca_file: Path | None = None
    mechanism: str = "SCRAM-SHA-512"
    policy_keys: str = field(default="", repr=False)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address.strip() for address in self.bootstrap.split(","))
