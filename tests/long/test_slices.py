"""Slices of the long commands: proof, crash, soak, torture and fuzz; and that they would notice a fault."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log2
from unittest import mock

import attrs
import pytest

from futureagi_async._http.requester import Slots
from tests.long import buckets, shares
from tests.long.crash import WAYS, Way, is_good, run_all, table
from tests.long.faults.inputs import HTTP
from tests.long.fuzz import fuzz
from tests.long.proof import KINDS, PAGE_SIZE, SCENES, Run, read_once
from tests.long.soak import MOST_REQUESTS_AN_ITEM, Soaked, Tally, soak
from tests.long.torture import BLOWS, torture_all
from tests.support.slow import slow

CASES = [
    pytest.param(
        kind, name, marks=() if scene.kinds.index(kind) == place % len(scene.kinds) else pytest.mark.slow
    )
    for place, (name, scene) in enumerate(SCENES.items())
    for kind in (scene.kinds if "overload" not in name else scene.kinds[:1])  # a whole budget of requests
]
"""Each scene with each kind of list; the suite takes one kind a scene, in turn."""


@pytest.mark.quick(7)
@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "scene"), CASES)
async def test_complete_is_true(kind: str, scene: str) -> None:
    """No run that says complete misses a promised row, and none invents one."""
    shorter = attrs.evolve(SCENES[scene], calls=min(SCENES[scene].calls, 1_200))
    run = await read_once(kind, shorter, seed=100)
    assert run.missed == 0
    assert run.invented == 0
    assert run.complete == ("overload" not in scene and not shorter.poisoned), run.reason
    assert run.requests <= (2 * run.naive_requests + 6 if shorter.deleted else 6 * run.naive_requests + 36)


ONE_KIND = [KINDS[0], *slow(*KINDS[1:])]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ONE_KIND)
async def test_a_call_that_breaks_its_pages_is_named(kind: str) -> None:
    """All others arrive, at some twenty requests more, and the report says where it stands."""
    scene = SCENES["one call breaks its pages"]
    whole, broken = [await read_once(kind, each, 7) for each in (SCENES["still"], scene)]
    assert broken.missed == 0
    assert broken.reason.startswith("The server fails to deliver one row: page=")
    tries = 6  # of the windows that hold the call
    assert broken.requests <= whole.requests + 2 * log2(PAGE_SIZE) + tries


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("kind", ONE_KIND)
async def test_naive_paging_loses_rows_in_the_same_harness(kind: str) -> None:
    """Page after page, rows of a still list with ties are lost, and the verdict does not hide it."""
    run: Run = await read_once(kind, SCENES["still, ties of 4"], 1, naive=True)
    assert run.naive_missed > 0


@pytest.mark.slow
@pytest.mark.parametrize("way", [WAYS[1], WAYS[2]], ids=lambda way: way.name)
def test_killed_exports_go_on(way: Way) -> None:
    """Killed by SIGKILL at some of all moments, nothing is lost, doubled, or seen unfinished."""
    tallies = run_all(random_kills=0, every=37, seed=1, ways=(way,))
    assert all(map(is_good, tallies.values())), list(table(tallies))


@pytest.mark.slow
def test_killed_exports_into_a_bucket_go_on() -> None:
    """Killed before and after every request that changes it, there is no manifest without its parts."""
    tallies = buckets.run_all(random_kills=0, every=100, seed=1, ways=(buckets.QUICK,))
    assert all(tally.is_good for tally in tallies.values()), list(buckets.table(tallies))
    assert sum(tally.kills for tally in tallies.values()) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("every", [64, *slow(7)])
def test_killed_commits_of_shares_go_on(every: int) -> None:
    """Killed between steps of a commit, the same run again makes the single export of it."""
    tally = shares.run_all(every=every, last=80)
    assert tally.is_good, list(shares.table(tally))
    assert tally.kills >= 2
    assert tally.read_twice == 0


pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_slice_of_the_soak() -> None:
    """Of a server that fails a tenth of all requests, every record comes once, as it was sent."""
    done: Soaked = await soak(rows=2_000, seed=7)
    assert done.requests <= MOST_REQUESTS_AN_ITEM * done.items
    assert sum(kind > 0 for kind in done.faults.values()) >= 18


async def test_a_soak_notices_what_is_wrong() -> None:
    """A missing record, one too many, a foreign one and a changed byte each end it."""
    with pytest.raises(AssertionError, match="records are missing"):
        Tally(1).check()
    for fault in ("wrong", "foreign", "duplicates"):
        tally = Tally(0)
        setattr(tally, fault, 1)
        with pytest.raises(AssertionError, match=f"{fault}=1"):
            tally.check()


@pytest.mark.slow
async def test_a_slice_of_the_torture() -> None:
    """A bulk job that is cancelled, or whose session is closed, at any step leaves nothing behind."""
    struck = await torture_all(every=300, first=7)
    assert all(struck[blow] >= 3 for blow in BLOWS)


async def test_the_torture_notices_a_leak() -> None:
    """A slot that a cancelled request keeps ends it."""

    @asynccontextmanager
    async def leak(self: Slots, *, urgent: bool) -> AsyncIterator[None]:
        self.taken += 1
        yield
        self.taken -= 1

    with mock.patch.object(Slots, "acquire", leak), pytest.raises(AssertionError) as caught:
        await torture_all(every=200, first=30)
    assert "cancel at step" in caught.value.__notes__[0]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_slice_of_bad_input() -> None:
    """Malformed JSON in every place, cut pages, mutated bytes and shapes, and what is not HTTP."""
    done = await fuzz(share=0.01, seed=3)
    assert set(done.outcomes) >= {"value", "DecodingError", "APIConnectionError"}
    assert sum(done.outcomes.values()) > 1_000
    assert len(HTTP) >= 40
