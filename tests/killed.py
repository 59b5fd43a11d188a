"""An export in a process of its own, that can be killed at any moment, or kills itself."""

import asyncio
import functools
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import attrs

from futureagi_async import RunTestCalls, Session, TestExecutionCalls
from futureagi_async.export import export_calls

PAGE_SIZE = 60
MAX_IN_FLIGHT = 4
KILLED = -signal.SIGKILL

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["futureagi_async.export.job", "pyarrow.parquet"])
_BOUNDARIES = ("write", "writev", "fsync", "replace", "unlink", "rmdir", "mkdir", "ftruncate")
_COMMITS = ("INSERT", "DELETE", "CREATE", "COMMIT", "PRAGMA main.wal_checkpoint", "PRAGMA journal_mode")
"""How the statements begin that SQLite writes by: each is a transaction, or ends one."""


@attrs.define(frozen=True)
class Order:
    """What a process is to export."""

    keys: tuple[str, str, str]
    lists: Mapping[str, str]
    target: str
    options: Mapping[str, Any]
    die_at: int = 0


class Export:
    """An export in a process of its own, forked from one that has imported everything."""

    def __init__(self, order: Order) -> None:
        self._receive, send = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=run_child, args=(order, send), daemon=True)
        self._process.start()
        send.close()

    @property
    def exit_code(self) -> int | None:
        """How the process ended."""
        return self._process.exitcode

    @property
    def boundaries(self) -> int:
        """How often the export touched the disk."""
        return int(self._receive.recv())

    def wait(self, seconds: float = 60.0) -> int | None:
        """Wait for the process to end; return its exit code."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()


class Boundaries:
    """Counts what a process does to the disk, and kills it at one of these moments."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self._die_at = die_at

    def watch(self) -> None:
        """Stand before every function that changes the disk."""
        for name in _BOUNDARIES:
            setattr(os, name, self._guarded(name, getattr(os, name)))
        connect = functools.partial(sqlite3.connect, factory=self._guarded_connection())
        setattr(sqlite3, "connect", connect)  # noqa: B010 - types are those of the function itself

    def _is_last(self) -> bool:
        self.count += 1
        return self.count == self._die_at

    def _guarded(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(do)
        def guarded(*arguments: Any, **named: Any) -> Any:
            if self._is_last():
                if name in ("write", "writev"):  # torn in the middle
                    data = arguments[1] if name == "write" else b"".join(arguments[1])
                    real_write(arguments[0], bytes(data)[: len(data) // 2])
                die()
            return do(*arguments, **named)

        real_write = os.write
        return guarded

    def _guarded_connection(self) -> type[sqlite3.Connection]:
        """Make a class of databases that stands before each commit, and before what closing writes."""
        is_last = self._is_last

        class Guarded(sqlite3.Connection):
            def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
                if statement.startswith(_COMMITS) and is_last():
                    die()
                return super().execute(statement, values)

            def close(self) -> None:
                if is_last():
                    die()
                super().close()

        return Guarded


def die() -> None:
    """Leave everything as it is."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_child(order: Order, send: Connection) -> None:
    """Export as ordered, and tell the number of boundaries."""
    boundaries = Boundaries(order.die_at)
    boundaries.watch()
    export(order)
    send.send(boundaries.count)


def export(order: Order) -> None:
    """Export as ordered, in this process."""
    sources = [RunTestCalls(order.lists["run_test"]), TestExecutionCalls(order.lists["test_execution"])]

    async def run() -> None:
        async with Session(*order.keys, max_in_flight=MAX_IN_FLIGHT) as session:
            await export_calls(session, sources, order.target, page_size=PAGE_SIZE, **order.options)

    asyncio.run(run())
