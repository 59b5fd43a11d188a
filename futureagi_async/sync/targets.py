"""The database of a sync, and the working directory for data that was read and not applied yet."""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import attrs

from futureagi_async.export.target_names import check_local
from futureagi_async.options import brief

WORK: Final = ".sync"
DUCKDB_ENDINGS: Final = (".duckdb", ".ddb", ".db")
_LISTED: Final = f"{', '.join(DUCKDB_ENDINGS[:-1])} or {DUCKDB_ENDINGS[-1]}"
_DELTA: Final = re.compile(r"delta(?:\+(?P<scheme>[a-z][a-z0-9]*))?://(?P<rest>.*)", re.DOTALL)
_CLOUDS: Final = ("s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss")
_HOW: Final = "calls.duckdb, delta://PATH or delta+s3://BUCKET/PATH"


@attrs.define(frozen=True)
class SyncTarget:
    """The database of a sync."""

    kind: str
    """``duckdb`` or ``delta``."""
    location: str
    """The path of a file, or the path or URL of a directory of Delta tables."""

    @property
    def is_remote(self) -> bool:
        """Whether the location is a URL."""
        return "://" in self.location

    @property
    def path(self) -> Path:
        """The path on this machine."""
        return Path(self.location)

    @property
    def work(self) -> Path:
        """The directory for data that was read and not applied yet, and for the lock."""
        if self.is_remote:
            name = hashlib.sha256(self.location.encode()).hexdigest()[:16]
            return _cache() / "futureagi-async" / f"{name}{WORK}"
        if self.kind == "delta":
            return self.path / WORK
        return self.path.with_name(f".{self.path.name}{WORK}")

    def __str__(self) -> str:
        if self.kind == "duckdb":
            return self.location
        return f"delta+{self.location}" if self.is_remote else f"delta://{self.location}"


def read_sync_target(database: str | os.PathLike[str]) -> SyncTarget:
    """Return the database of a sync. Raises `ValueError` or `TypeError` for a wrong argument."""
    if not isinstance(database, str | os.PathLike) or not isinstance(os.fspath(database), str):
        raise TypeError(f"database must be a path or a URL, not {brief(database)}.")
    text = os.fspath(database)
    if not text:
        raise ValueError(f"database must not be empty: pass for example {_HOW}.")
    if "\0" in text:
        raise ValueError("database must not contain a NUL character.")
    if found := _DELTA.match(text):
        return _delta(found["scheme"], found["rest"])
    if (scheme := text.partition("://")[0]) in _CLOUDS and "://" in text:
        raise ValueError(f"database must begin with delta+{scheme}:// for Delta tables in an object store.")
    check_local("database", text)
    if Path(text).suffix.lower() not in DUCKDB_ENDINGS:
        raise ValueError(
            f"database must end in {_LISTED} to be a DuckDB file, or begin with delta:// "
            f"for Delta tables: not {brief(text)}."
        )
    return SyncTarget("duckdb", text)


def _delta(scheme: str | None, rest: str) -> SyncTarget:
    if not rest.strip("/"):
        raise ValueError("database needs a directory after delta://.")
    if scheme is None:
        return SyncTarget("delta", rest)
    if scheme not in _CLOUDS:
        known = ", ".join(f"delta+{each}://" for each in ("s3", "gs", "az", "abfss"))
        raise ValueError(f"database begins with delta+{scheme}://, but must begin with one of {known}.")
    if "@" in rest.partition("/")[0] and scheme not in ("abfs", "abfss"):
        raise ValueError(
            "database must not contain keys: the object store's client finds them in the environment."
        )
    return SyncTarget("delta", f"{scheme}://{rest.rstrip('/')}")


def _cache() -> Path:
    """Return the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
