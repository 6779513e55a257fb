"""What makes two schemas the same, and the names a registry gives to a schema."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from fastavro.schema import SchemaParseException, to_parsing_canonical_form

from bianhe.schemas.errors import Rejected

FIRST_ID: Final = 100
"""Ids below are fixed for the records of the bus (`bianhe.schemas.records`)."""


class InvalidSchema(Rejected):
    """A text that is no Avro schema."""


def schema_text(schema: Mapping[str, Any]) -> str:
    """The one text of a schema: compact JSON, members in their order."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def guid(text: str) -> str:
    """The content-derived name of a schema without references: the MD5 of its text, printed as a UUID."""
    return str(uuid.UUID(bytes=hashlib.md5(text.encode(), usedforsecurity=False).digest()))


def shape(text: str) -> str:
    """What counts for the bytes on the wire: the parsing canonical form of Avro. Raises InvalidSchema.

    Clients rewrite a schema before they ask for it: Java's drops or reorders properties.
    """
    try:
        return to_parsing_canonical_form(json.loads(text))
    except (SchemaParseException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidSchema(f"not an Avro schema: {type(error).__name__}") from error
