"""What a client asks the registry: schemas by subject or id, and how far its delivery topics are written."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx2
from pydantic import SecretStr

from bianhe.infra.closing import Closing
from bianhe.schemas.errors import Rejected, Transient

CACHED_MAX: Final = 1000
HEALTH_SECONDS: Final = 2.0


class RegistryUnreachable(Transient):
    """The registry does not answer, or answers that it cannot now."""


class RegistryRefused(Rejected):
    """The registry does not accept this account with this password."""


class UnknownSchema(Rejected):
    """The registry has no such subject or schema id for this account."""


class RegisteredSchema(NamedTuple):
    id: int
    text: str


def answers(url: str) -> bool:
    """Whether a registry answers here, and says that it is well."""
    try:
        return httpx2.get(f"{url.rstrip('/')}/health", timeout=HEALTH_SECONDS, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


class SchemaRegistry(Closing):
    """A client of one registry, with Basic authentication; use it in a `with` block or close it.

    Raises RegistryUnreachable, RegistryRefused and UnknownSchema. A schema never changes under its id, so ids are
    asked for once.
    """

    def __init__(
        self, url: str, account: str, password: SecretStr, *, ca_file: Path | None = None, timeout: float = 10.0
    ) -> None:
        self._url = url.rstrip("/")
        self._account = account
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._client = httpx2.Client(
            auth=(account, password.get_secret_value()),
            timeout=timeout,
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            # A proxy of the environment has no business between a department and its registry.
            trust_env=False,
            headers={"Accept": "application/vnd.schemaregistry.v1+json, application/json"},
        )

    def close(self) -> None:
        self._client.close()

    def latest(self, subject: str) -> RegisteredSchema:
        """The newest schema of a subject."""
        answer = self._schema(f"/subjects/{quote(subject, safe='')}/versions/latest", f"subject {subject}")
        return RegisteredSchema(int(answer["id"]), str(answer["schema"]))

    def by_id(self, schema_id: int) -> str:
        """The text of a schema."""
        if schema_id not in self._texts:
            answer = self._schema(f"/schemas/ids/{schema_id}", f"schema id {schema_id}")
            self._texts[schema_id] = str(answer["schema"])
            while len(self._texts) > CACHED_MAX:
                self._texts.popitem(last=False)
        return self._texts[schema_id]

    def deliveries(self) -> list[dict[str, Any]]:
        """How far each partition of this account's delivery topics is written; ours alone knows that."""
        answer = self._get("/deliveries", "deliveries")
        if not isinstance(answer, list):
            raise RegistryUnreachable(f"what answers at {self._url} is no registry of this bus")
        return answer

    def _schema(self, path: str, wanted: str) -> dict[str, Any]:
        answer = self._get(path, wanted)
        if not isinstance(answer, dict) or "schema" not in answer:
            raise RegistryUnreachable(f"what answers at {self._url} is no schema registry")
        return answer

    def _get(self, path: str, wanted: str) -> Any:
        try:
            response = self._client.get(self._url + path)
        except httpx2.HTTPError as error:
            raise RegistryUnreachable(
                f"the registry at {self._url} does not answer",
                cause=f"{type(error).__name__}: {error}",
                cure="start it (bianhe up) or correct its address in the profile",
            ) from error
        if response.status_code == 401:
            raise RegistryRefused(
                f"the registry at {self._url} refused account {self._account}",
                cause="the password is wrong or no longer valid",
                cure=f"check the password; an administrator can issue a new one: bianhe account rotate {self._account}",
            )
        if response.status_code == 404:
            raise UnknownSchema(
                f"the registry at {self._url} shows {self._account} no {wanted}",
                cause="there is none, or no grant of this account covers it",
            )
        try:
            return response.raise_for_status().json()
        except (httpx2.HTTPStatusError, ValueError) as error:
            raise RegistryUnreachable(
                f"the registry at {self._url} answered {response.status_code} for {wanted}",
                cause="it cannot serve this now, or something else answers at this address",
            ) from error
