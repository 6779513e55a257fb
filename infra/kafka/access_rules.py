"""Access rules as values: what Kafka calls ACL bindings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """Who (`User:renshe`) may do what (`READ`) on which resource, from which host.

    The fields are plain strings, so that a rule of a kind that Bianhe never makes can be listed and removed too.
    """

    principal: str
    resource_type: str
    name: str
    operation: str
    pattern: str = "LITERAL"
    permission: str = "ALLOW"
    host: str = "*"
