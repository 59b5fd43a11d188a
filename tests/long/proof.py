"""Reads moving lists over real sockets, many times, and holds every "complete" to its word.

``python -m tests.long proof`` makes 1,608 seeded runs and prints the table that stands in the docs;
``--seeds 2`` makes fewer. Server and client share a virtual clock that requests move on, so the
runs repeat. A run *lies* when it says complete and lacks a row that the guarantee promises.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any, TypeAlias

import attrs

from futureagi_async import (
    AgentVersionCalls,
    CallSource,
    RunTestCalls,
    Session,
    SourceReport,
    TestExecutionCalls,
)
from futureagi_async.testing import Motion, StandInServer, VirtualClock

KINDS = ("run test", "test execution", "agent version")
PAGE_SIZE = 100

Found: TypeAlias = tuple[set[str], SourceReport]
"""The ids delivered, and the last report."""
Reader: TypeAlias = "Callable[[StandInServer, Scene, CallSource, int], Awaitable[Found]]"
"""Reads a list, with a seed."""


@attrs.define(frozen=True)
class Scene:
    """What a list does while it is read."""

    calls: int = 3_000
    tie_size: int = 1
    request_seconds: float = 0.2
    max_in_flight: int = 8
    motion: Mapping[str, Any] = attrs.field(factory=dict)
    kinds: Sequence[str] = KINDS
    executions: int = 1
    """Test executions with as many calls each."""
    deleted: Sequence[int] = ()
    """Those that are deleted, counted from the oldest: in run tests their calls leave places without rows."""
    deleted_after_seconds: float = 0.0
    """Since the read began; 0: before."""
    poisoned: Sequence[float] = ()
    """Where calls stand that break each page they are on: 0 is the front of the list, 1 its end."""
    read: "Reader | None" = None
    """How it is read, if not from beginning to end."""


class SharedClock:
    """The server's virtual clock, as the session's."""

    def __init__(self, clock: VirtualClock, ahead: float = 0.0) -> None:
        self._clock = clock
        self._ahead = ahead

    def monotonic(self) -> float:
        """Return the virtual seconds, of a process that began at some other time than the server."""
        return self._clock.monotonic() + self._ahead

    def jitter(self) -> float:
        """Return no surprise."""
        return 0.5

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass at once."""
        self._clock.advance(seconds)


@attrs.define(frozen=True)
class Run:
    """How one read ended."""

    complete: bool
    reason: str
    missed: int
    """Rows promised and not delivered; of an incomplete list only where nothing changed."""
    invented: int
    """Rows delivered that the list never held meanwhile."""
    requests: int
    naive_requests: int
    naive_missed: int
    """Rows that were there throughout and that reading page after page did not deliver."""


async def read_once(kind: str, scene: Scene, seed: int, *, naive: bool = False) -> Run:
    """Read one list once, with a cover, and if asked once naively."""
    async with StandInServer(demo=False, seed=seed, request_seconds=scene.request_seconds) as server:
        name, source = _add_list(server, kind, scene)
        if scene.motion:
            server.move(name, Motion(seed=seed, **scene.motion))
            server.clock.advance(6.0)
        unreadable = _break_some(server, name, scene)
        got, report = await (scene.read or read_through)(server, scene, source, seed)
        served = server.requests
        front = [request for request in served if request.query.get("page") == "1"][-1]
        begin = served[0].started if isinstance(source, AgentVersionCalls) else front.started
        promised = server.alive_throughout(name, begin, front.ended) - unreadable
        held = server.alive_sometime(name, served[0].started, max(request.ended for request in served))
        naive_missed = await _missed_by_naive_reading(server, scene, name, source) if naive else 0
    still = not scene.motion and not scene.deleted_after_seconds
    return Run(
        complete=report.verdict == "complete",
        reason=report.reason,
        missed=len(promised - got) if report.verdict == "complete" or still else 0,
        invented=len(got - held),
        requests=report.requests,
        naive_requests=ceil((report.expected or 0) / PAGE_SIZE) or 1,
        naive_missed=naive_missed,
    )


def _break_some(server: StandInServer, name: Any, scene: Scene) -> set[str]:
    """Delete executions and poison calls, as the scene has it; return the poisoned calls."""
    executions = server.run_test_executions(name) if scene.deleted else []
    for number in scene.deleted:
        server.delete_execution(executions[number], after_seconds=scene.deleted_after_seconds)
    if not scene.poisoned:
        return set()
    rows = server.version_rows(*name) if isinstance(name, tuple) else server.run_test_rows(name)
    poisoned = {rows[round(share * (len(rows) - 1))] for share in scene.poisoned}
    for call in poisoned:
        server.poison(call)
    return poisoned


def open_session(server: StandInServer, scene: Scene, ahead: float = 0.0) -> Session:
    """Return a session on the server's time, for ``async with``."""
    return Session(
        server.api_key,
        server.secret_key,
        server.base_url,
        max_in_flight=scene.max_in_flight,
        clock=SharedClock(server.clock, ahead),
    )


async def read_through(server: StandInServer, scene: Scene, source: CallSource, _seed: int) -> Found:
    """Read from beginning to end."""
    async with open_session(server, scene) as session:
        result = await session.fetch_calls(source, page_size=PAGE_SIZE, on_error="collect")
    return {call.id for call in result.calls}, result.report.sources[0]


async def read_interrupted(server: StandInServer, scene: Scene, source: CallSource, seed: int) -> Found:
    """Stop twice in the middle, and go on after a minute in what could be another process."""
    got: set[str] = set()
    marks: list[bytes] = []
    for part, ahead in enumerate((0.0, -1e6, 1e6)):
        async with (
            open_session(server, scene, ahead) as session,
            session.stream_calls(source, page_size=PAGE_SIZE, resume=marks) as stream,
        ):
            stop_after = len(marks) + 3 + seed if part < 2 else None
            async for step in stream.steps():
                got |= {call.id for call in step.page.calls}
                marks.append(step.checkpoint)
                if len(marks) == stop_after:
                    break
        if part < 2:
            server.clock.advance(60.0)
    return got, stream.report.sources[0]


async def read_changes(server: StandInServer, scene: Scene, source: CallSource, seed: int) -> Found:
    """Read everything, and after half a minute only what changed."""
    got, before = await read_through(server, scene, source, seed)
    if before.complete_as_of is None:
        return got, before
    server.clock.advance(30.0)
    async with (
        open_session(server, scene) as session,
        session.stream_calls(
            source, page_size=PAGE_SIZE, changed_since={source: before.complete_as_of}
        ) as stream,
    ):
        changed = {call.id async for call in stream}
    after = attrs.evolve(stream.report.sources[0], expected=before.expected)
    return got | changed, after


def _add_list(server: StandInServer, kind: str, scene: Scene) -> tuple[Any, CallSource]:
    if kind == "run test":
        run_test = server.add_run_test(
            scene.calls,
            tie_size=scene.tie_size,
            slim=True,
            deleted=0 if scene.deleted or scene.calls < PAGE_SIZE else scene.calls // 50,
            executions=(scene.calls // scene.executions,) * scene.executions,
        )
        return run_test, RunTestCalls(run_test)
    if kind == "test execution":
        execution = server.add_test_execution(scene.calls, tie_size=scene.tie_size, slim=True)
        return execution, TestExecutionCalls(execution)
    agent, version = server.add_agent_version(scene.calls, tie_size=scene.tie_size, slim=True)
    return (agent, version), AgentVersionCalls(agent, version)


async def _missed_by_naive_reading(server: StandInServer, scene: Scene, name: Any, source: CallSource) -> int:
    begin = server.clock.monotonic()
    async with open_session(server, scene) as session:
        naive = await session.fetch_calls(
            source, page_size=PAGE_SIZE // 3, consistency="fast", on_error="collect"
        )
    there = server.alive_throughout(name, begin, server.clock.monotonic())
    return len(there - {call.id for call in naive.calls})


def _holes(*deleted: int, **options: Any) -> Scene:
    """Return a run test of ten executions, of which some are deleted."""
    return Scene(kinds=KINDS[:1], executions=10, deleted=deleted, **options)


BUSY = {"updates": 18.0, "inserts": 0.5, "deletes": 1.0, "soft_deletes": 0.5}

SCENES: Mapping[str, Scene] = {
    "short and still": Scene(calls=80, tie_size=4),
    "still": Scene(),
    "still, ties of 4": Scene(tie_size=4),
    "still, ties of 50": Scene(tie_size=50),
    "1 change/s": Scene(motion={"updates": 1.0}),
    "5 changes/s, short": Scene(calls=300, motion={"updates": 4.0, "inserts": 0.5, "soft_deletes": 0.5}),
    "20 changes/s": Scene(motion={"updates": 18.0, "inserts": 0.5, "deletes": 1.0, "soft_deletes": 0.5}),
    "100 changes/s": Scene(motion={"updates": 100.0}, request_seconds=0.1),
    "deletes": Scene(motion={"updates": 2.0, "deletes": 5.0, "soft_deletes": 5.0}),
    "soft deletes at the front": Scene(motion={"soft_deletes": 40.0, "updates": 5.0}, request_seconds=0.1),
    "groups of 50 get one key": Scene(motion={"updates": 2.0, "tie_updates": 0.5}),
    "clocks off by 2 s": Scene(motion={"updates": 8.0, "clock_skew_seconds": 2.0}),
    "late commits, up to 3 s": Scene(motion={"updates": 10.0, "commit_delay_seconds": (0.0, 3.0)}),
    "overload: 500 changes/s": Scene(motion={"updates": 500.0}, request_seconds=0.5),
    "rows enter with old keys": Scene(motion={"updates": 3.0, "old_key_entries": 3.0}),
    "interrupted and resumed": Scene(motion={"updates": 4.0, "inserts": 0.2}, read=read_interrupted),
    "short run tests": Scene(calls=80, tie_size=4, kinds=KINDS[:1]),
    "oldest fifth deleted": _holes(0, 1),
    "middle half deleted": _holes(*range(2, 7)),
    "newest half deleted": _holes(*range(5, 10)),
    "every other tenth deleted": _holes(*range(0, 10, 2)),
    "all deleted": _holes(*range(10)),
    "oldest fifth deleted, moving": _holes(0, 1, motion=BUSY),
    "middle half deleted, moving": _holes(*range(2, 7), motion=BUSY),
    "newest half deleted, moving": _holes(*range(5, 10), motion=BUSY),
    "half deleted while reading": _holes(*range(2, 7), motion=BUSY, deleted_after_seconds=2.0),
    "one call breaks its pages": Scene(poisoned=(0.4,)),
    "three calls break their pages": Scene(poisoned=(0.11, 0.5, 0.9)),
    "changes since a complete read": Scene(motion={"updates": 4.0, "inserts": 0.2}, read=read_changes),
}


def table(runs: Mapping[str, list[Run]]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| scene | runs | complete | incomplete | lies | requests / naive | rows naive paging loses |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for scene, done in runs.items():
        complete = sum(run.complete for run in done)
        ratio = statistics.median(run.requests / run.naive_requests for run in done)
        lies = sum(run.missed > 0 or run.invented > 0 for run in done)
        lost = statistics.mean(run.naive_missed for run in done)
        verdicts = f"{len(done)} | {complete} | {len(done) - complete} | {lies}"
        yield f"| {scene} | {verdicts} | {ratio:.2f} | {lost:.1f} |"


async def run_all(seeds: int) -> dict[str, list[Run]]:
    """Read every kind of list in every scene, with so many seeds."""
    runs: dict[str, list[Run]] = {}
    for label, scene in SCENES.items():
        runs[label] = [
            await read_once(kind, scene, seed, naive=True) for kind in scene.kinds for seed in range(seeds)
        ]
        print(list(table({label: runs[label]}))[-1], file=sys.stderr, flush=True)  # noqa: T201
    return runs


def main() -> int:
    """Print the table; exit 1 if any run lied."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24, help="seeds for each scene and kind of list")
    runs = asyncio.run(run_all(parser.parse_args().seeds))
    print("\n".join(table(runs)))  # noqa: T201
    total = [run for done in runs.values() for run in done]
    lies = sum(run.missed > 0 or run.invented > 0 for run in total)
    print(f"\n{len(total)} runs, {sum(run.complete for run in total)} complete, {lies} lies")  # noqa: T201
    return 1 if lies else 0


if __name__ == "__main__":
    sys.exit(main())
