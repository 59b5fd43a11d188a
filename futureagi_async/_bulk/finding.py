"""Looks up names of run tests, agents and versions, and returns their sources."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import anyio
import attrs

from futureagi_async.errors import FutureAGIError, NameLookupError, NotFoundError
from futureagi_async.models import AgentDefinition, AgentVersion, RunTest, TestExecution
from futureagi_async.options import brief
from futureagi_async.source_names import (
    LATEST,
    AgentVersionNamed,
    AllSources,
    LatestExecution,
    RunTestNamed,
    SourceName,
    is_id,
)
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls

T = TypeVar("T")
Named = TypeVar("Named", RunTest, AgentDefinition, AgentVersion)

_MOST_CANDIDATES = 10


class Lister(Protocol):
    """The methods of a session that lookups need."""

    async def list_run_tests(self, search: str | None = None) -> tuple[RunTest, ...]:
        """Return run tests."""
        ...

    async def list_test_executions(self, run_test_id: str) -> tuple[TestExecution, ...]:
        """Return the executions of a run test."""
        ...

    async def list_agent_definitions(self, search: str | None = None) -> tuple[AgentDefinition, ...]:
        """Return agents."""
        ...

    async def list_agent_versions(self, agent_id: str) -> tuple[AgentVersion, ...]:
        """Return the versions of an agent."""
        ...


async def find_all(
    lister: Lister, wanted: AllSources, now: datetime, max_in_flight: int
) -> tuple[CallSource, ...]:
    """Return all run tests and agent versions as sources."""
    since = now - wanted.since if isinstance(wanted.since, timedelta) else wanted.since
    found: dict[str, list[CallSource]] = {}
    runs: Sequence[RunTest] = ()
    if "run_tests" in wanted.kinds or since is not None:
        runs = await lister.list_run_tests()
    if since is not None:
        runs = [run for run in runs if run.last_run_at is not None and run.last_run_at > since]
    found["run_tests"] = [run.calls() for run in runs]
    if "agent_versions" in wanted.kinds:
        agents = [agent.id for agent in await lister.list_agent_definitions()]
        if since is not None:
            running = {run.agent_definition_id for run in runs}
            agents = [agent for agent in agents if agent in running]
        versions = await _Finder(lister, max_in_flight).find(agents, partial(_versions_of, lister))
        found["agent_versions"] = [version.calls() for agent in agents for version in versions[agent]]
    return tuple(source for kind in wanted.kinds for source in found[kind])


async def _versions_of(lister: Lister, agent_id: str) -> tuple[AgentVersion, ...]:
    """Return the versions of an agent; none if it was deleted since it was listed."""
    try:
        return await lister.list_agent_versions(agent_id)
    except NotFoundError:
        return ()


async def find_sources(
    lister: Lister, names: Sequence[CallSource | SourceName], now: datetime, max_in_flight: int
) -> tuple[CallSource, ...]:
    """Return the sources for the names, each once, in their order. Each name is looked up once."""
    for name in names:
        if not isinstance(name, CallSource | SourceName):
            raise TypeError(f"Pass a source or the name of one, not {brief(name)}.")
    finder = _Finder(lister, max_in_flight)
    runs = [name.run_test for name in names if isinstance(name, RunTestNamed | LatestExecution)]
    run_ids = await finder.find(runs, finder.run_test)
    latest = [run_ids[name.run_test] for name in names if isinstance(name, LatestExecution)]
    executions = await finder.find(latest, finder.latest_execution)
    agents = [name.agent for name in names if isinstance(name, AgentVersionNamed)]
    agent_ids = await finder.find(agents, finder.agent)
    looked_up = {
        agent_ids[name.agent]
        for name in names
        if isinstance(name, AgentVersionNamed) and not is_id(name.version)
    }
    versions = await finder.find(looked_up, lister.list_agent_versions)
    sources: list[CallSource] = []
    for name in names:
        match name:
            case RunTestNamed():
                run_id = run_ids[name.run_test]
                sources.append(RunTestCalls(run_id, search=name.search, status=name.status))
            case LatestExecution():
                execution = executions[run_ids[name.run_test]]
                sources.append(TestExecutionCalls(execution, search=name.search, filters=name.filters))
            case AgentVersionNamed():
                agent_id = agent_ids[name.agent]
                chosen = name.version
                if not is_id(chosen):
                    chosen = _choose_version(name, versions[agent_id])
                sources.append(AgentVersionCalls(agent_id, chosen))
            case AllSources():
                sources += await find_all(lister, name, now, max_in_flight)
            case _:
                sources.append(name)
    return tuple(dict.fromkeys(sources))


@attrs.define(frozen=True)
class _Finder:
    """Makes several lookups at once."""

    lister: Lister
    max_in_flight: int

    async def find(self, keys: Iterable[str], look_up: Callable[[str], Awaitable[T]]) -> dict[str, T]:
        """Look up each key once. The first error stops all."""
        waiting = iter(dict.fromkeys(keys))
        found: dict[str, T] = {}
        failures: list[FutureAGIError] = []

        async def work() -> None:
            for key in waiting:
                if failures:
                    return
                try:
                    found[key] = await look_up(key)
                except FutureAGIError as error:
                    failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(self.max_in_flight):
                tasks.start_soon(work)
        if failures:
            raise failures[0]
        return found

    async def run_test(self, name: str) -> str:
        """Return the id of a run test."""
        return name if is_id(name) else await _find_named("run test", name, self.lister.list_run_tests)

    async def agent(self, name: str) -> str:
        """Return the id of an agent."""
        return name if is_id(name) else await _find_named("agent", name, self.lister.list_agent_definitions)

    async def latest_execution(self, run_test_id: str) -> str:
        """Return the id of the latest execution of a run test."""
        executions = await self.lister.list_test_executions(run_test_id)
        if not executions:
            raise NameLookupError(f"Run test {run_test_id} has not run yet: it has no executions.")
        return executions[0].id


async def _find_named(kind: str, name: str, search: Callable[..., Awaitable[Sequence[Named]]]) -> str:
    """Return the id of the only item with exactly this name."""
    others: Sequence[Named] = ()
    found = _named(name, await search(name))
    if not found:
        others = await search()  # whatever the server makes of a text to search for
        found = _named(name, others)
    return _only(f"{kind} is named {name!r}", found, others)


def _named(name: str, things: Sequence[Named]) -> list[Named]:
    return [each for each in things if each.name is not None and each.name.strip() == name]


def _choose_version(wanted: AgentVersionNamed, versions: Sequence[AgentVersion]) -> str:
    if wanted.version == LATEST and versions:
        marked = [version for version in versions if version.is_latest]
        return max(marked or versions, key=lambda version: version.version_number or 0).id
    what = f"version of agent {wanted.agent!r} is named {wanted.version!r}"
    return _only(what, _named(wanted.version, versions), versions)


def _only(what: str, found: Sequence[Named], others: Sequence[Named]) -> str:
    """Return the id of the only match. Raise `NameLookupError` for no or several matches, with candidates."""
    if len(found) == 1:
        return found[0].id
    candidates = tuple((each.id, each.name or "") for each in found or others)
    listed = [f"{id_} ({name})" for id_, name in candidates[:_MOST_CANDIDATES]]
    if more := len(candidates) - len(listed):
        listed.append(f"and {more:,} more")
    shown = ", ".join(listed) or "none"
    if found:
        text = f"More than one {what}. Use the id of one instead: {shown}."
    else:
        text = f"No {what}. Existing: {shown}."
    error = NameLookupError(text)
    error.candidates = candidates
    raise error
