"""What the export's tests share: interrupting exports, and looking into what they wrote."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from futureagi_async import (
    AgentVersionCalls,
    CallSource,
    RunTestCalls,
    Session,
    TestExecutionCalls,
)
from futureagi_async.export import ExportProgress, ExportReport, export_calls
from futureagi_async.testing import StandInServer
from tests.servers import open_session

LONG = 1_100
"""Calls of a list that is read in pages; shorter ones are read whole."""


class ServerClock:
    """A stand-in's virtual clock as a session's: sleeping moves both on."""

    def __init__(self, server: StandInServer) -> None:
        self._clock = server.clock

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)


class StopHereError(Exception):
    """Ends an export from outside."""


def stop_after(number: int, phase: str = "reading") -> Callable[[ExportProgress], None]:
    """Return what ends an export when it tells of its progress in a phase for the so-many-th time."""
    told = 0

    def count(progress: ExportProgress) -> None:
        nonlocal told
        told += progress.phase == phase and progress.records > 0
        if told == number:
            raise StopHereError

    return count


async def interrupt(
    session: Session,
    sources: Iterable[CallSource] | CallSource,
    target: Path,
    *,
    after: int = 1,
    phase: str = "reading",
    **options: Any,
) -> None:
    """Begin an export, and end it from outside."""
    try:
        await export_calls(session, sources, target, on_progress=stop_after(after, phase), **options)
    except StopHereError:
        return
    raise AssertionError("the export ended before it was interrupted")


def lines_in(report: ExportReport) -> list[bytes]:
    """Return the lines of all parts."""
    return [line for path in report.files for line in path.read_bytes().splitlines()]


def ids_in(report: ExportReport) -> list[str]:
    """Return the ids in all parts of JSON Lines."""
    return [json.loads(line)["id"] for line in lines_in(report)]


def names_in(directory: Path) -> set[str]:
    """Return the names of what is in a directory."""
    return {path.name for path in directory.iterdir()}


def pages_asked(server: StandInServer) -> int:
    """Count the pages of lists that were asked for, and forget all requests."""
    asked = sum("limit" in request.query for request in server.requests)
    server.clear_requests()
    return asked


def details_asked(server: StandInServer) -> list[str]:
    """Return the ids whose details were asked for, and forget all requests."""
    paths = [request.path for request in server.requests if "/call-executions/" in request.path]
    server.clear_requests()
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in paths if not path.endswith("call-executions/")]


def all_lists(server: StandInServer) -> list[CallSource]:
    """Return one list of each kind."""
    return [
        RunTestCalls(server.run_test_ids[1]),
        AgentVersionCalls(*server.agent_versions[0]),
        TestExecutionCalls(server.test_execution_ids[2]),
    ]


async def export(server: StandInServer, target: Path, **options: Any) -> ExportReport:
    """Export one list of each kind into parts of 50 records."""
    async with open_session(server) as session:
        return await export_calls(session, all_lists(server), target, **{"part_rows": 50, **options})


def read_manifest(folder: Path) -> Any:
    """Read a manifest as any program would."""
    return json.loads((folder / "manifest.json").read_bytes())


def redo_digest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give a manifest the digest that fits it, as the documents describe it."""
    text = json.dumps({**manifest, "digest": ""}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**manifest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Replace a manifest."""
    (folder / "manifest.json").write_text(json.dumps(manifest))


def ids_of_lines(path: Path) -> list[str]:
    """Return the ids in a file of JSON Lines, in order."""
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
