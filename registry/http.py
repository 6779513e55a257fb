"""The registry over HTTP: the requests that current Schema Registry clients make, and a health answer.

Read-only: schemas come from the catalog. An account sees the subjects that it may read or write, nothing else.
Every error has Confluent's body, `{"error_code": …, "message": …}`: some clients stop at any other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from threading import Lock
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import SecretStr
from sqlalchemy import Connection, Engine
from starlette.exceptions import HTTPException as StarletteHTTPException

from bianhe.infra import telemetry
from bianhe.registry.accounts.sql import password_fits, password_hash
from bianhe.registry.contracts.registration import InvalidSchema
from bianhe.registry.contracts.sql import Registered, bus_records, same_shape, visible
from bianhe.registry.deliveries.sql import granted_to, subjects_of
from bianhe.registry.policy.sql import highest_number, pending
from bianhe.registry.sql import transaction
from bianhe.schemas import compatibility, names
from bianhe.schemas.errors import BusError
from bianhe.schemas.records.journal import Quarantined

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
BODY_BYTES_MAX: Final = 1_000_000
REMEMBERED_MAX: Final = 1000


class Refused(Exception):
    """An answer of the Schema Registry API that is no success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.status = int(str(code)[:3])
        self.code = code
        self.message = message


class Json(JSONResponse):
    media_type = MEDIA_TYPE


class Asker(NamedTuple):
    """Who asks, with a transaction and the subjects open to that account; None is every subject."""

    account: str
    connection: Connection
    subjects: Collection[str] | None

    def versions(self, **wanted: Any) -> list[Registered]:
        own = bus_records() if self.subjects is None else ()
        fitting = [one for one in own if all(getattr(one, name) == value for name, value in wanted.items())]
        return fitting + visible(self.connection, self.subjects, **wanted)


class Doorkeeper:
    """Checks passwords; a right one is remembered as a keyed digest, since argon2 is slow on purpose."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._turn = Lock()

    def admits(self, code: str, password: SecretStr) -> bool:
        """Whether this is the account's present password."""
        with transaction(self._engine) as connection:
            hashed = password_hash(connection, code)
        if hashed is None:
            return False
        digest = hmac.digest(self._key, password.get_secret_value().encode(), hashlib.sha256)
        # One at a time: each check takes 64 MB.
        with self._turn:
            if (hashed, digest) in self._right:
                return True
            if not password_fits(hashed, password):
                return False
            self._right[hashed, digest] = None
            if len(self._right) > REMEMBERED_MAX:
                self._right.popitem(last=False)
            return True


async def posted(request: Request) -> str:
    """The schema text that a client sends; whatever content type it names."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Refused(42209, f"larger than {BODY_BYTES_MAX} bytes")
    try:
        document = json.loads(body)
        text, kind, references = document["schema"], document.get("schemaType", "AVRO"), document.get("references")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(42201, "the body is no schema") from error
    if not isinstance(text, str) or kind not in ("AVRO", None) or references:
        raise Refused(42201, "this registry knows Avro schemas without references only")
    return text


Posted = Annotated[str, Depends(posted)]


def asker(
    request: Request, credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="bianhe"))]
) -> Iterator[Asker]:
    """Who asks; answers 401 to a wrong account or password."""
    if not request.app.state.doorkeeper.admits(credentials.username, SecretStr(credentials.password)):
        raise HTTPException(401, "wrong account or password", headers={"WWW-Authenticate": 'Basic realm="bianhe"'})
    with transaction(request.app.state.engine) as connection:
        yield Asker(credentials.username, connection, subjects_of(connection, credentials.username))


Asking = Annotated[Asker, Depends(asker)]
Default = Annotated[bool, Query(alias="defaultToGlobal")]
router: Final = APIRouter(default_response_class=Json)


def create_app(
    engine: Engine,
    noted: Callable[[Callable[[str], bool]], Sequence[Quarantined]] = lambda wanted: (),
    written: Callable[[Collection[str]], list[dict[str, Any]]] = lambda topics: [],
) -> FastAPI:
    """The web application over this database; `noted` tells the last events quarantined of the topics that are wanted,
    `written` how far delivery topics are."""
    app = FastAPI(title="Bianhe registry", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.engine = engine
    app.state.noted = noted
    app.state.written = written
    app.state.doorkeeper = Doorkeeper(engine)
    app.include_router(router)
    app.middleware("http")(_counted)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _not_found)
    app.add_exception_handler(BusError, _store_error)
    return app


@router.get("/health")
def health(request: Request) -> dict[str, Any]:
    """Whether the registry has its database, how far the policy log is known and what waits for the relay."""
    with transaction(request.app.state.engine) as connection:
        return {"status": "ok", "policy": highest_number(connection), "waiting": len(pending(connection))}


@router.get("/quarantine")
def quarantine(asking: Asking, request: Request) -> list[dict[str, Any]]:
    """Where the asker's own events stand that were not trusted, and why; never what they said."""
    subjects = asking.subjects
    own = request.app.state.noted(lambda topic: subjects is None or names.value_subject(topic) in subjects)
    return [asdict(note) for note in own]


@router.get("/deliveries")
def deliveries(asking: Asking, request: Request) -> list[dict[str, Any]]:
    """How far the asker's own delivery topics are written, its grant's hash, and what the first load gave."""
    grants = granted_to(asking.connection, asking.account)
    return [each | {"grant": grants[each["topic"]]} for each in request.app.state.written(grants.keys())]


@router.api_route("/", methods=["GET", "HEAD"])
def root(asking: Asking) -> dict[str, Any]:
    return {}


@router.get("/schemas/types")
def schema_types(asking: Asking) -> list[str]:
    return ["AVRO"]


@router.get("/config")
def config(asking: Asking) -> dict[str, str]:
    return {"compatibilityLevel": "FULL_TRANSITIVE"}


@router.get("/config/{subject}")
def config_of(asking: Asking, subject: str, default: Default = False) -> dict[str, str]:
    if not default:
        raise Refused(40408, f"Subject '{subject}' does not have subject-level compatibility configured")
    return config(asking)


@router.get("/mode")
def mode(asking: Asking) -> dict[str, str]:
    return {"mode": "READONLY"}


@router.get("/mode/{subject}")
def mode_of(asking: Asking, subject: str, default: Default = False) -> dict[str, str]:
    if not default:
        raise Refused(40409, f"Subject '{subject}' does not have subject-level mode configured")
    return mode(asking)


@router.put("/config")
@router.put("/config/{subject}")
@router.put("/mode")
@router.put("/mode/{subject}")
@router.delete("/subjects/{subject}")
@router.delete("/subjects/{subject}/versions/{version}")
def read_only(asking: Asking) -> None:
    """Some clients set the level of a subject after registering: they are told to leave that out."""
    raise Refused(42205, "the catalog alone decides on schemas and their compatibility: leave that out in the client")


@router.get("/associations/resources/{namespace}/{name}")
def associations(namespace: str, name: str) -> list[Any]:
    """Clients ask this before anything else and stop at every answer but this one and 404."""
    return []


@router.get("/schemas/ids/{id}")
def schema_by_id(asking: Asking, id: int, subject: str = "") -> dict[str, Any]:
    found = _by_id(asking, id)
    return _version(next((version for version in found if version.subject == subject), found[-1]))


@router.get("/schemas/ids/{id}/schema", response_class=PlainTextResponse)
def schema_text_by_id(asking: Asking, id: int) -> str:
    return _by_id(asking, id)[-1].text


@router.get("/schemas/ids/{id}/subjects")
def subjects_by_id(asking: Asking, id: int) -> list[str]:
    return sorted({version.subject for version in _by_id(asking, id)})


@router.get("/schemas/ids/{id}/versions")
def versions_by_id(asking: Asking, id: int) -> list[dict[str, Any]]:
    return [{"subject": version.subject, "version": version.version} for version in _by_id(asking, id)]


@router.get("/schemas/guids/{guid}")
def schema_by_guid(asking: Asking, guid: str) -> dict[str, Any]:
    if not (found := asking.versions(guid=guid)):
        raise Refused(40403, "Schema not found")
    return _version(found[-1])


@router.get("/subjects")
def subjects(
    asking: Asking, subject_prefix: Annotated[str, Query(alias="subjectPrefix")] = "", offset: int = 0, limit: int = -1
) -> list[str]:
    found = sorted({version.subject for version in asking.versions()})
    matching = [subject for subject in found if subject.startswith(subject_prefix)]
    return matching[offset : None if limit < 0 else offset + limit]


@router.get("/subjects/{subject}/versions")
def versions(asking: Asking, subject: str) -> list[int]:
    return [version.version for version in _of_subject(asking, subject)]


@router.get("/subjects/{subject}/versions/{version}")
def version(asking: Asking, subject: str, version: str) -> dict[str, Any]:
    return _version(_one_version(asking, subject, version))


@router.get("/subjects/{subject}/versions/{version}/schema", response_class=PlainTextResponse)
def version_text(asking: Asking, subject: str, version: str) -> str:
    return _one_version(asking, subject, version).text


@router.post("/subjects/{subject}")
def look_up(asking: Asking, subject: str, text: Posted) -> dict[str, Any]:
    if (found := _same_shape(_of_subject(asking, subject), text)) is None:
        raise Refused(40403, "Schema not found")
    return _version(found)


@router.post("/subjects/{subject}/versions")
def register(asking: Asking, subject: str, text: Posted) -> dict[str, Any]:
    """Give the id of a schema that the subject has; registering another is an act of the catalog."""
    known = asking.versions(subject=subject)
    if (found := _same_shape(known, text)) is not None:
        return _version(found)
    if subject.endswith("-key"):
        raise Refused(40901, "keys are plain strings on this bus and have no schema: use a string serializer")
    last = f"; its last version is {known[-1].version}, id {known[-1].id}" if known else ""
    raise Refused(
        40901, f"the catalog alone registers schemas, and this is none of {subject}{last}: use.latest.version=true"
    )


@router.post("/compatibility/subjects/{subject}/versions/{version}")
def compatible(asking: Asking, subject: str, version: str, text: Posted, verbose: bool = False) -> dict[str, Any]:
    known = asking.versions(subject=subject)
    if not known and version == "latest":
        return {"is_compatible": True}
    old = _one_version(asking, subject, version)
    try:
        new = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(42201, "the schema is no JSON") from error
    faults = compatibility.faults(json.loads(old.text), new)
    messages = {"messages": [str(fault) for fault in faults]} if verbose else {}
    return {"is_compatible": not faults, **messages}


def _by_id(asking: Asker, id: int) -> list[Registered]:
    # The wire format has four bytes for an id; a larger number is none, and no database takes it.
    if not 0 <= id < 2**31 or not (found := asking.versions(id=id)):
        raise Refused(40403, f"Schema {id} not found")
    return found


def _of_subject(asking: Asker, subject: str) -> list[Registered]:
    if not (found := asking.versions(subject=subject)):
        raise Refused(40401, f"Subject '{subject}' not found.")
    return found


def _one_version(asking: Asker, subject: str, version: str) -> Registered:
    found = _of_subject(asking, subject)
    if version in ("latest", "-1"):
        return found[-1]
    if not version.isascii() or not version.isdigit():
        raise Refused(42202, f"The specified version '{version}' is not a valid version id.")
    for one in found:
        if one.version == int(version):
            return one
    raise Refused(40402, f"Version {version} not found.")


def _same_shape(candidates: list[Registered], text: str) -> Registered | None:
    try:
        return same_shape(candidates, text)
    except InvalidSchema as error:
        raise Refused(42201, str(error)) from error


def _version(found: Registered) -> dict[str, Any]:
    # Python's client fails without the id in the answer to a question by id.
    return {
        "subject": found.subject,
        "version": found.version,
        "id": found.id,
        "guid": found.guid,
        "schemaType": "AVRO",
        "schema": found.text,
    }


async def _counted(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    telemetry.REGISTRY_REQUESTS.labels(response.status_code).inc()
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Json({"error_code": error.code, "message": error.message}, error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    message = f"HTTP 404 {error.detail}" if error.status_code == 404 else error.detail
    return Json({"error_code": error.status_code, "message": message}, error.status_code, headers=error.headers)


async def _not_found(request: Request, error: Exception) -> Response:
    return Json({"error_code": 404, "message": "HTTP 404 Not Found"}, 404)


async def _store_error(request: Request, error: Exception) -> Response:
    return Json({"error_code": 50001, "message": str(error)}, 500)
