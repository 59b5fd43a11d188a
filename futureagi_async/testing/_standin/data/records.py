"""What the server holds: run tests, executions, agents, calls and snapshots, and how calls change.

Only what decides a row's place and membership is stored; everything it *says* follows from its id and
is made when somebody asks (`facts.py`), so that ten thousand calls cost nothing until they are read.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field, frozen

from futureagi_async.testing._standin.data.listing import Listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.scenarios import (
        Cells,
        DatasetColumn,
        EvalConfig,
        Scenario,
        StoredEvals,
    )
    from futureagi_async.testing._standin.data.values import Chat, Costs, Speech, Turn


@frozen
class CallFacts:
    """One call's content; `None` and empty values are what the server would store for its status."""

    scenario: Scenario
    cells: Cells | None
    direction: str
    phone: str | None
    customer_number: str | None
    customer_call_id: str | None
    session_id: str | None
    started_us: int | None
    duration_seconds: int | None
    turns: tuple[Turn, ...]
    score: float | None
    response_ms: int | None
    audio_url: str | None
    stereo_url: str | None
    ended_reason: str | None
    summary: str | None
    evals: StoredEvals
    tool_outputs: dict[str, Any] | None
    speech: Speech
    chat: Chat
    costs: Costs
    skipped: bool
    simulated: bool


Kind = Literal["voice", "text"]
SourceType = Literal["agent_definition", "prompt"]
"""What a run test calls: an agent, or a prompt, which has no agent definition."""


@frozen(eq=False)
class Agent:
    """An agent definition."""

    id: str
    name: str
    kind: Kind
    provider: str | None
    created_us: int


@frozen(eq=False)
class AgentVersion:
    """A version of an agent, counted from 1, and the list of its completed, evaluated calls."""

    id: str
    agent: Agent
    number: int
    listing: Listing
    created_us: int


@frozen(eq=False, kw_only=True)
class RunTest:
    """A run test: what its calls share, and the list of its calls and rerun snapshots."""

    id: str
    name: str
    kind: Kind
    source_type: SourceType
    agent: Agent
    scenarios: tuple[Scenario, ...]
    evals: tuple[EvalConfig, ...]
    listing: Listing
    created_us: int
    slim: bool
    sparse: bool

    @property
    def agent_name(self) -> str | None:
        """The name of the agent that is called, if it is no prompt."""
        return None if self.source_type == "prompt" else self.agent.name

    @property
    def dataset_columns(self) -> tuple[DatasetColumn, ...]:
        """The columns of all datasets behind its scenarios."""
        datasets = [scenario.dataset for scenario in self.scenarios if scenario.dataset]
        return tuple(column for dataset in datasets for column in dataset.columns)


@define(eq=False)
class TestExecution:
    """One execution of a run test and the list of its calls; no endpoint finds a deleted one.

    `altered` are JSON keys of its KPIs with the values sent instead.
    """

    __test__ = False

    id: str
    run_test: RunTest
    listing: Listing
    created_us: int
    status: str
    is_inbound: bool | None
    deleted: bool = False
    altered: dict[str, Any] = field(factory=dict)


@frozen(eq=False)
class Family:
    """A run test with its test executions, oldest first, and the agent versions its calls ran against."""

    run_test: RunTest
    executions: tuple[TestExecution, ...]
    versions: tuple[AgentVersion, ...]


@define(eq=False, kw_only=True)
class Call(Listed):
    """A call execution. `number` counts within its run test: the variety of the samples follows it.

    A `locked` call has a change under way; a `poisoned` one breaks every answer that it should be in.
    `altered` are JSON keys of its rows with the values sent instead. `evals_done` says for a call of a run
    (`runs.py`) whether its evaluations have results; otherwise some of the samples have, and some have not.
    """

    number: int
    run_test: RunTest
    execution: TestExecution
    version: AgentVersion
    created_us: int
    revision: int = 0
    locked: bool = False
    poisoned: bool = False
    evals_done: bool | None = None
    altered: dict[str, Any] = field(factory=dict)
    snapshots: list[Snapshot] = field(factory=list)
    facts: CallFacts | None = field(default=None, repr=False)

    @property
    def kind(self) -> Kind:
        return self.run_test.kind

    @property
    def status(self) -> str:
        return self.state.status or "pending"

    @property
    def scenario(self) -> Scenario:
        scenarios = self.run_test.scenarios
        return scenarios[self.number % len(scenarios)]

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Every list this call may stand in."""
        return (self.run_test.listing, self.execution.listing, self.version.listing)


@define(eq=False, kw_only=True)
class Snapshot(Listed):
    """What a call was before a rerun; it has its own id and its key never changes."""

    call: Call


Row = Call | Snapshot


class World:
    """The data of one server. `lock` must be held by whoever reads or changes it across threads."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lock = threading.RLock()
        self.rows: list[Row] = []
        self.calls: dict[str, Call] = {}
        self.run_tests: dict[str, RunTest] = {}
        self.versions: dict[tuple[str, str], AgentVersion] = {}
        self.executions: dict[str, TestExecution] = {}
        self.agents: dict[str, Family] = {}
        self.families: dict[str, Family] = {}
        self._made = 0

    def next_number(self) -> int:
        """Return a number no other thing of this world was made from."""
        self._made += 1
        return self._made

    def add_family(self, family: Family) -> None:
        """Take a run test in, with its executions and versions, but no calls."""
        self.run_tests[family.run_test.id] = family.run_test
        self.executions |= {execution.id: execution for execution in family.executions}
        if family.run_test.source_type == "agent_definition":
            self.agents[family.run_test.agent.id] = family
            self.versions |= {(version.agent.id, version.id): version for version in family.versions}
        listings = [family.run_test.listing]
        listings += [execution.listing for execution in family.executions]
        listings += [version.listing for version in family.versions]
        self.families |= {listing.name: family for listing in listings}

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Take new rows in, and put them on their lists."""
        by_listing: dict[Listing, list[Row]] = {}
        for row in rows:
            row.serial = len(self.rows)
            self.rows.append(row)
            if isinstance(row, Call):
                self.calls[row.id] = row
                for listing in row.listings:
                    by_listing.setdefault(listing, []).append(row)
            else:
                row.call.snapshots.append(row)
                by_listing.setdefault(row.call.run_test.listing, []).append(row)
        for listing, members in by_listing.items():
            listing.add_all(members)

    def change(self, call: Call, at: float, *, key_us: int | None = None, **changes: Any) -> None:
        """Give a call another key, or change its state, visible from the virtual moment `at` on.

        A call that ceases to exist takes its snapshots with it.
        """
        state = call.state._replace(**changes)
        for listing in call.listings:
            listing.remove(call)
        if key_us is not None:
            call.key_us = key_us
        if state != call.state:
            call.state = state
            call.timeline.append((at, state))
        call.revision += 1
        call.facts = None
        call.fragments.clear()
        for listing in call.listings:
            listing.insert(call)
        if not call.state.exists:
            self._drop_snapshots(call, at)

    def delete_execution(self, execution: TestExecution, at: float) -> None:
        """Soft-delete an execution with its calls, as one statement that leaves their keys alone.

        Rerun snapshots have a mark of their own, and stay.
        """
        execution.deleted = True
        for call in execution.listing.members:
            if isinstance(call, Call) and call.state.exists and not call.state.deleted:
                self.change(call, at, deleted=True)

    def execution(self, id_: str) -> TestExecution | None:
        """Return what endpoints find under the id of a test execution: nothing where it is deleted."""
        execution = self.executions.get(id_)
        return None if execution is None or execution.deleted else execution

    def _drop_snapshots(self, call: Call, at: float) -> None:
        listing = call.run_test.listing
        for snapshot in call.snapshots:
            listing.remove(snapshot)
            snapshot.state = snapshot.state._replace(exists=False)
            snapshot.timeline.append((at, snapshot.state))
            listing.insert(snapshot)

    def listing(self, name: str | tuple[str, str]) -> Listing:
        """Return the list of a run test or test execution id, or of an (agent id, version id) pair."""
        if isinstance(name, tuple):
            return self.versions[name].listing
        owner = self.run_tests.get(name) or self.executions[name]
        return owner.listing
