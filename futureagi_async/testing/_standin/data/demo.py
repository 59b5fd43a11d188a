"""The sample data set: a voice, a text and a small run test, consistent over all five endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from futureagi_async.testing._standin.data.builders import Plan, build

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import Family
    from futureagi_async.testing._standin.data.world import World


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
        test_execution_ids=tuple(one.execution.id for one in built),
    )
