"""Access rules as values: what Kafka calls ACL bindings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ResourceType = Literal["TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID"]
Pattern = Literal["LITERAL", "PREFIXED"]
Permission = Literal["ALLOW", "DENY"]

CLUSTER_NAME = "kafka-cluster"
"""The one resource name of type CLUSTER."""


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """Who (`User:renshe`) may do what (`READ`) on which resource, from which host.

    The fields are plain strings, so that a rule of a kind that Bianhe never makes can be listed and removed too.
    """

    principal: str
    resource_type: ResourceType | str
    name: str
    operation: str
    pattern: Pattern | str = "LITERAL"
    permission: Permission | str = "ALLOW"
    host: str = "*"
