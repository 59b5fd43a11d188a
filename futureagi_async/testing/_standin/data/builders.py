"""Builds run tests with everything that belongs to them, and the sample data."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from attrs import frozen

from futureagi_async.testing._standin.clock import DAY_US, MINUTE_US, SECOND_US
from futureagi_async.testing._standin.data.listing import (
    ALWAYS,
    EXECUTION_RULE,
    RUN_TEST_RULE,
    VERSION_RULE,
    Listing,
    State,
)
from futureagi_async.testing._standin.data.records import (
    Agent,
    AgentVersion,
    Call,
    Family,
    Kind,
    RunTest,
    Snapshot,
    SourceType,
    TestExecution,
)
from futureagi_async.testing._standin.data.scenarios import (
    colliding_evals,
    sample_scenarios,
    text_evals,
    voice_evals,
)
from futureagi_async.testing._standin.data.values import seeded_uuid

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import World

NEWEST_US = 1_769_796_000_123_456
"""The newest key of sample data, 2026-01-30T18:00:00.123456Z: well before virtual time begins."""

_OLDEST_US = 1_768_035_600_123_456
_SPAN_US = 7 * DAY_US
_FIRST_BUILT_US = _OLDEST_US - 365 * DAY_US
"""Before the first agent; each is a minute younger than the one built before."""

_STATUSES = {3: "failed", 6: "pending", 9: "queued", 11: "ongoing", 13: "analyzing", 16: "cancelled"}
_ALL_STATUSES = ("completed", "failed", "analyzing", "ongoing", "queued", "pending", "cancelled")


class PlanOptions(TypedDict, total=False):
    """What users may say of a run test besides how many calls it has."""

    kind: Kind
    tie_size: int
    slim: bool
    snapshots: int
    deleted: int
    executions: tuple[int, ...]
    versions: int
    name: str
    agent_name: str
    source_type: SourceType


@frozen(kw_only=True)
class Plan:
    """What a run test shall hold. `mixed`: calls of every status, otherwise all completed and evaluated.

    `deleted` of the calls are soft-deleted and stand at the front; `holes` of them all over the list.
    `executions` are the numbers of calls of each test execution, oldest first; by default one has all.
    Calls take turns with the `versions` of the agent. Without names there are default ones.
    """

    calls: int
    kind: Kind = "voice"
    tie_size: int = 1
    slim: bool = False
    snapshots: int = 0
    deleted: int = 0
    holes: int = 0
    executions: tuple[int, ...] = ()
    mixed: bool = True
    sparse: bool = False
    versions: int = 1
    execution_status: str = "completed"
    provider: str | None = "vapi"
    name: str = ""
    agent_name: str = ""
    source_type: SourceType = "agent_definition"

    def __attrs_post_init__(self) -> None:
        if min(self.calls, self.snapshots, self.deleted, self.holes) < 0 or self.tie_size < 1:
            raise ValueError("counts must not be negative, and tie_size is at least 1")
        if self.deleted + self.holes > self.calls or (self.snapshots and not self.calls):
            raise ValueError("deleted calls and the calls behind snapshots must be among the calls")
        if self.versions < 1:
            raise ValueError("an agent has at least one version")
        if self.executions and (min(self.executions) < 0 or sum(self.executions) != self.calls):
            raise ValueError(f"executions must add up to the {self.calls} calls, and none may be negative")


def build(world: World, plan: Plan) -> Family:
    """Carry the plan out; ids follow from the world's seed and how much was built before."""
    number = world.next_number()
    base = (world.seed, number)
    created_us = _FIRST_BUILT_US + number * MINUTE_US
    agent = _agent(plan, seeded_uuid(*base, "agent"), created_us)
    run_test = _run_test(world, plan, agent, seeded_uuid(*base, "run test"), f"Run test {number}")
    sizes = plan.executions or (plan.calls,)
    firsts = [sum(sizes[:place]) for place in range(len(sizes))]
    executions = tuple(_execution(plan, run_test, base, place, first) for place, first in enumerate(firsts))
    versions = tuple(_version(agent, seeded_uuid(*base, "version", i), i + 1) for i in range(plan.versions))
    family = Family(run_test, executions, versions)
    world.add_family(family)
    owners = [execution for execution, size in zip(executions, sizes, strict=True) for _ in range(size)]
    calls = [_planned_call(family, plan, number, owner) for number, owner in enumerate(owners)]
    world.add_rows(calls)
    world.add_rows([_snapshot(calls, plan, i) for i in range(plan.snapshots)])
    return family


def _agent(plan: Plan, id_: str, created_us: int) -> Agent:
    name = plan.agent_name or ("Hotline — Zürich ☎" if plan.kind == "voice" else "チャット helper")
    provider = "prompt" if plan.source_type == "prompt" else plan.provider
    return Agent(id_, name, plan.kind, provider, created_us)


def _version(agent: Agent, id_: str, number: int) -> AgentVersion:
    return AgentVersion(id_, agent, number, Listing(id_, VERSION_RULE), agent.created_us + number * SECOND_US)


def _run_test(world: World, plan: Plan, agent: Agent, id_: str, default_name: str) -> RunTest:
    configs = voice_evals(world.seed) if plan.kind == "voice" else text_evals(world.seed)
    return RunTest(
        id=id_,
        name=plan.name or default_name,
        kind=plan.kind,
        source_type=plan.source_type,
        agent=agent,
        scenarios=sample_scenarios(world.seed),
        evals=configs + colliding_evals(world.seed) if plan.sparse else configs,
        listing=Listing(id_, RUN_TEST_RULE),
        created_us=agent.created_us + DAY_US,
        slim=plan.slim,
        sparse=plan.sparse,
    )


def _execution(
    plan: Plan, run_test: RunTest, base: tuple[int, int], place: int, first_call: int
) -> TestExecution:
    """Return an execution that began just before its first call was made."""
    id_ = seeded_uuid(*base, "execution", *([place] if place else []))
    return TestExecution(
        id_,
        run_test,
        Listing(id_, EXECUTION_RULE),
        created_us=_created_us(plan, first_call) - SECOND_US + place,
        status=plan.execution_status,
        is_inbound=None if plan.sparse else False,
    )


def new_call(
    family: Family,
    number: int,
    *,
    created_us: int,
    key_us: int,
    state: State,
    since: float,
    execution: TestExecution,
    version: AgentVersion | None = None,
) -> Call:
    """Return a call of a family, there from the virtual moment `since` on."""
    return Call(
        id=seeded_uuid(family.run_test.id, "call", number),
        number=number,
        run_test=family.run_test,
        execution=execution,
        version=version or family.versions[number % len(family.versions)],
        created_us=created_us,
        key_us=key_us,
        state=state,
        timeline=[(since, state)],
    )


def _planned_call(family: Family, plan: Plan, number: int, execution: TestExecution) -> Call:
    """Newer calls have greater numbers; keys fall into groups of `tie_size`."""
    groups = -(-plan.calls // plan.tie_size)
    step = min(MINUTE_US, _SPAN_US // groups)
    group = (plan.calls - 1 - number) // plan.tie_size
    created = _created_us(plan, number)
    return new_call(
        family,
        number,
        created_us=created - created % SECOND_US if number % 10 == 0 else created,
        key_us=NEWEST_US - group * step,
        state=_planned_state(plan, number),
        since=ALWAYS,
        execution=execution,
    )


def _created_us(plan: Plan, number: int) -> int:
    return _OLDEST_US + number * min(50 * SECOND_US, _SPAN_US // max(plan.calls, 1))


def _planned_state(plan: Plan, number: int) -> State:
    status = "completed"
    if plan.sparse:
        status = _ALL_STATUSES[number % len(_ALL_STATUSES)]
    elif plan.mixed:
        status = _STATUSES.get(number % 20, "completed")
    evaluated = status == "completed" and not (plan.mixed and number % 9 == 5)
    spread = plan.holes and number % (plan.calls // plan.holes) == 2
    deleted = bool(spread) or number >= plan.calls - plan.deleted
    return State(exists=True, deleted=deleted, status=status, evaluated=evaluated)


def _snapshot(calls: list[Call], plan: Plan, index: int) -> Snapshot:
    """Return a call as it was before its rerun, often at the moment a neighbour was changed: they tie."""
    call = calls[(index * len(calls) // plan.snapshots + index // len(calls)) % len(calls)]
    key = call.key_us - (1 + index % 3) * MINUTE_US // (1 + index % 2)
    status = None if index % 10 == 7 else ("failed" if index % 5 == 2 else "completed")
    state = State(exists=True, deleted=False, status=status, evaluated=index % 6 != 4)
    return Snapshot(
        id=seeded_uuid(call.id, "snapshot", index),
        call=call,
        key_us=key,
        state=state,
        timeline=[(ALWAYS, state)],
    )


@frozen
class Samples:
    """The ids of the sample data set."""

    run_test_ids: tuple[str, ...] = ()
    agent_versions: tuple[tuple[str, str], ...] = ()
    test_execution_ids: tuple[str, ...] = ()


def build_samples(world: World) -> Samples:
    """Make 230 voice calls, 120 chats, and a small run test with everything that is rare.

    The voice calls have reruns, soft-deleted holes and ties of four. The small run test has every status,
    missing values, and evaluations whose names collide with fixed KPIs.
    """
    voice = build(
        world,
        Plan(
            calls=230,
            tie_size=4,
            snapshots=26,
            holes=5,
            versions=2,
            name="Checkout flow",
            agent_name="Checkout assistant",
        ),
    )
    text = build(
        world,
        Plan(
            calls=120,
            kind="text",
            tie_size=4,
            provider=None,
            execution_status="evaluating",
            name="Refund chats",
            agent_name="Support bot",
        ),
    )
    small = build(
        world,
        Plan(
            calls=16,
            sparse=True,
            tie_size=3,
            snapshots=1,
            holes=1,
            provider="retell",
            execution_status="failed",
            name="Corner cases: 100 % “Sonderfälle” 🧪",
        ),
    )
    return _samples((voice, text, small), with_versions=(voice, text))


def _samples(built: tuple[Family, ...], with_versions: tuple[Family, ...]) -> Samples:
    return Samples(
        run_test_ids=tuple(one.run_test.id for one in built),
        agent_versions=tuple((v.agent.id, v.id) for one in with_versions for v in one.versions),
        test_execution_ids=tuple(execution.id for one in built for execution in one.executions),
    )
