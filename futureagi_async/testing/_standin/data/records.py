"""The things that have identity: calls, snapshots, and what they belong to.

Only what decides a row's place and membership is stored; everything it *says* follows from its id and
is made when somebody asks (`facts.py`), so that ten thousand calls cost nothing until they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

from futureagi_async.testing._standin.data.rows import Listed

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.content import CallFacts
    from futureagi_async.testing._standin.data.evals import EvalConfig
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.scenarios import DatasetColumn, Scenario

Kind = Literal["voice", "text"]


@frozen(eq=False)
class Agent:
    """An agent definition."""

    id: str
    name: str
    kind: Kind
    provider: str | None


@frozen(eq=False)
class AgentVersion:
    """A version of an agent and the list of its completed, evaluated calls."""

    id: str
    agent: Agent
    listing: Listing


@frozen(eq=False)
class RunTest:
    """A run test: what its calls share, and the list of its calls and rerun snapshots."""

    id: str
    kind: Kind
    agent: Agent
    scenarios: tuple[Scenario, ...]
    evals: tuple[EvalConfig, ...]
    listing: Listing
    slim: bool = False
    sparse: bool = False

    @property
    def dataset_columns(self) -> tuple[DatasetColumn, ...]:
        """The columns of all datasets behind its scenarios."""
        datasets = [scenario.dataset for scenario in self.scenarios if scenario.dataset]
        return tuple(column for dataset in datasets for column in dataset.columns)


@frozen(eq=False)
class TestExecution:
    """One execution of a run test and the list of its calls."""

    __test__ = False

    id: str
    run_test: RunTest
    listing: Listing
    status: str = "completed"
    is_inbound: bool | None = False


@frozen(eq=False)
class Family:
    """A run test with its test execution and the agent versions its calls ran against."""

    run_test: RunTest
    execution: TestExecution
    versions: tuple[AgentVersion, ...]


@define(eq=False, kw_only=True)
class Call(Listed):
    """A call execution. `number` counts within its run test: the variety of the samples follows it."""

    number: int
    run_test: RunTest
    execution: TestExecution
    version: AgentVersion
    created_us: int
    revision: int = 0
    locked: bool = False
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
