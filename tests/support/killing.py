"""Syncs in processes that kill themselves: before any statement, commit or rename, in turn."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial, wraps
from multiprocessing.connection import Connection
from typing import Any

import attrs
import deltalake
import deltalake.table
import duckdb

from futureagi_async import CallSource, Session, sync_calls

KILLED = -signal.SIGKILL
EACH_TIME = timedelta(0)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.killing", "futureagi_async.sync.job", "pyarrow.parquet"])
_SYSTEM_CALLS = ("replace", "rename", "unlink", "rmdir")


@attrs.define(frozen=True)
class Order:
    """What a process is to sync."""

    keys: tuple[str, str, str]
    sources: Sequence[CallSource]
    database: str
    die_at: int = 0
    """Which boundary is its last, counted from 1; 0 for none."""
    options: Mapping[str, Any] = attrs.field(factory=dict)


class SyncProcess:
    """A sync in a process of its own."""

    def __init__(self, order: Order) -> None:
        self._receive, send = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_run_child, args=(order, send), daemon=True)
        self._process.start()
        send.close()

    def wait(self, seconds: float = 30.0) -> int | None:
        """Return the exit code."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()

    @property
    def boundaries(self) -> list[str]:
        """What a process that came to its end stood before, in turn."""
        names: list[str] = self._receive.recv()
        return names


class Boundaries:
    """Names what a process is about to do to disk and database, and kills it at one of these moments."""

    def __init__(self, die_at: int) -> None:
        self.names: list[str] = []
        self._die_at = die_at

    def watch(self) -> None:
        """Stand before everything that changes something."""
        for name in _SYSTEM_CALLS:
            setattr(os, name, self._guarded(name, getattr(os, name)))
        connect = duckdb.connect
        duckdb.connect = lambda *given, **named: _Guarded(connect(*given, **named), self.stand_before)  # type: ignore[assignment]
        deltalake.write_deltalake = self._guarded("write", deltalake.write_deltalake)
        deltalake.DeltaTable.create = self._guarded("create", deltalake.DeltaTable.create)  # type: ignore[method-assign]
        deltalake.DeltaTable.restore = self._guarded("restore", deltalake.DeltaTable.restore)  # type: ignore[method-assign]
        merger = deltalake.table.TableMerger
        merger.execute = self._guarded("merge", merger.execute)  # type: ignore[method-assign]

    def stand_before(self, name: str) -> None:
        """Note what comes, or die."""
        self.names.append(name)
        if len(self.names) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _guarded(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(do)
        def guarded(*given: Any, **named: Any) -> Any:
            self.stand_before(name)
            return do(*given, **named)

        return guarded


class _Guarded:
    """A DuckDB connection that stands before each statement, and before what closing writes."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stand_before: Callable[[str], None]) -> None:
        self._connection = connection
        self._stand_before = stand_before

    def execute(self, statement: str, *given: Any) -> Any:
        self._stand_before(" ".join(statement.split()[:2]))
        return self._connection.execute(statement, *given)

    def close(self) -> None:
        self._stand_before("close")
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _run_child(order: Order, send: Connection) -> None:
    boundaries = Boundaries(order.die_at)
    boundaries.watch()
    asyncio.run(_sync(order))
    send.send(boundaries.names)


async def _sync(order: Order) -> None:
    async with Session(*order.keys) as session:
        await partial(sync_calls, session, order.sources, order.database)(**order.options)
