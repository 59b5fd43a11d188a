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


@frozen(kw_only=True)
class Plan:
    """What a run test shall hold. `mixed`: calls of every status, otherwise all completed and evaluated.

    `deleted` of the calls are soft-deleted and stand at the front; `holes` of them all over the list.
    `executions` are the numbers of calls of each test execution, oldest first; by default one has all.
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

    def __attrs_post_init__(self) -> None:
        if min(self.calls, self.snapshots, self.deleted, self.holes) < 0 or self.tie_size < 1:
            raise ValueError("counts must not be negative, and tie_size is at least 1")
        if self.deleted + self.holes > self.calls or (self.snapshots and not self.calls):
            raise ValueError("deleted calls and the calls behind snapshots must be among the calls")
        if self.executions and (min(self.executions) < 0 or sum(self.executions) != self.calls):
            raise ValueError(f"executions must add up to the {self.calls} calls, and none may be negative")


def build(world: World, plan: Plan) -> Family:
    """Carry the plan out; ids follow from the world's seed and how much was built before."""
    base = (world.seed, world.next_number())
    agent = Agent(seeded_uuid(*base, "agent"), _agent_name(plan), plan.kind, plan.provider)
    run_test = _run_test(world, plan, agent, seeded_uuid(*base, "run test"))
    sizes = plan.executions or (plan.calls,)
    executions = tuple(_execution(plan, run_test, base, number) for number in range(len(sizes)))
    ids = [seeded_uuid(*base, "version", i) for i in range(plan.versions)]
    versions = tuple(AgentVersion(id_, agent, Listing(id_, VERSION_RULE)) for id_ in ids)
    family = Family(run_test, executions, versions)
    world.add_family(family)
    owners = [execution for execution, size in zip(executions, sizes, strict=True) for _ in range(size)]
    calls = [_planned_call(family, plan, number, owner) for number, owner in enumerate(owners)]
    world.add_rows(calls)
    world.add_rows([_snapshot(calls, plan, i) for i in range(plan.snapshots)])
    return family


def _execution(plan: Plan, run_test: RunTest, base: tuple[int, int], number: int) -> TestExecution:
    id_ = seeded_uuid(*base, "execution", *([number] if number else []))
    inbound = None if plan.sparse else False
    return TestExecution(id_, run_test, Listing(id_, EXECUTION_RULE), plan.execution_status, inbound)


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


def _agent_name(plan: Plan) -> str:
    return "Hotline — Zürich ☎" if plan.kind == "voice" else "チャット helper"


def _run_test(world: World, plan: Plan, agent: Agent, id_: str) -> RunTest:
    configs = voice_evals(world.seed) if plan.kind == "voice" else text_evals(world.seed)
    if plan.sparse:
        configs += colliding_evals(world.seed)
    scenarios = sample_scenarios(world.seed)
    return RunTest(
        id_, plan.kind, agent, scenarios, configs, Listing(id_, RUN_TEST_RULE), plan.slim, plan.sparse
    )


def _planned_call(family: Family, plan: Plan, number: int, execution: TestExecution) -> Call:
    """Newer calls have greater numbers; keys fall into groups of `tie_size`."""
    groups = -(-plan.calls // plan.tie_size)
    step = min(MINUTE_US, _SPAN_US // groups)
    group = (plan.calls - 1 - number) // plan.tie_size
    created = _OLDEST_US + number * min(50 * SECOND_US, _SPAN_US // plan.calls)
    return new_call(
        family,
        number,
        created_us=created - created % SECOND_US if number % 10 == 0 else created,
        key_us=NEWEST_US - group * step,
        state=_planned_state(plan, number),
        since=ALWAYS,
        execution=execution,
    )


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
    voice = build(world, Plan(calls=230, tie_size=4, snapshots=26, holes=5, versions=2))
    text = build(
        world, Plan(calls=120, kind="text", tie_size=4, provider=None, execution_status="evaluating")
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
        ),
    )
    return _samples((voice, text, small), with_versions=(voice, text))


def _samples(built: tuple[Family, ...], with_versions: tuple[Family, ...]) -> Samples:
    return Samples(
        run_test_ids=tuple(one.run_test.id for one in built),
        agent_versions=tuple((v.agent.id, v.id) for one in with_versions for v in one.versions),
        test_execution_ids=tuple(execution.id for one in built for execution in one.executions),
    )
