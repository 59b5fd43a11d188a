"""A slice of the proof: moving lists over real sockets, and every "complete" held to its word."""

import attrs
import pytest

from tests.proof import KINDS, SCENES, Run, read_once

CASES = [(kind, scene, 100) for scene in SCENES for kind in KINDS if "overload" not in scene]
OVERLOAD = [(KINDS[0], scene, 100) for scene in SCENES if "overload" in scene]  # a whole budget of requests


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "scene", "seed"), CASES + OVERLOAD)
async def test_complete_is_true(kind: str, scene: str, seed: int) -> None:
    """No run that says complete misses a promised row, and none invents one."""
    shorter = attrs.evolve(SCENES[scene], calls=min(SCENES[scene].calls, 1_200))
    run = await read_once(kind, shorter, seed)
    assert run.missed == 0
    assert run.invented == 0
    assert run.complete == ("overload" not in scene), run.reason
    assert run.requests <= 6 * run.naive_requests + 36


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_naive_paging_loses_rows_in_the_same_harness(kind: str) -> None:
    """Page after page, rows of a still list with ties are lost, and the verdict does not hide it."""
    run: Run = await read_once(kind, SCENES["still, ties of 4"], 1, naive=True)
    assert run.naive_missed > 0
