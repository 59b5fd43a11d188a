"""A minute's allowance, over several holders of leases, what they give back, pauses and restarts."""

from bisect import bisect_left

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import Lease
from futureagi_async._sansio.pacing import (
    IDLE_SECONDS,
    LATE_SECONDS,
    LEASE_SECONDS,
    HeldLease,
    MinuteAllowance,
)

HOLD_SECONDS = LEASE_SECONDS + 1
TRAVEL_SECONDS = 0.49
"""At most, from the sending to the server."""


def allowance(per_minute: int, *, now: float = 0.0, begins_empty: bool = False) -> MinuteAllowance:
    """Make one as several processes share it."""
    return MinuteAllowance(
        per_minute,
        burst=max(1, per_minute // 10),
        hold_seconds=HOLD_SECONDS,
        now=now,
        begins_empty=begins_empty,
    )


def most_in_a_minute(times: list[float]) -> int:
    """Return how many of the times lie in the fullest 60 seconds."""
    times = sorted(times)
    return max((bisect_left(times, first + 60) - index for index, first in enumerate(times)), default=0)


@attrs.define
class World:
    """Holders of one budget, and what a server notes of their requests."""

    budget: MinuteAllowance
    holders: list[HeldLease] = attrs.field(factory=lambda: [HeldLease() for _ in range(3)])
    now: float = 0.0
    arrivals: list[float] = attrs.field(factory=list)

    def send(self, holder: HeldLease, most: int, travel: float) -> bool:
        """Send a request, if there is one to send; lease where none is held."""
        if not holder.use(self.now):
            self.give_back(holder)
            lease = self.budget.lease(most, self.now)
            if not lease.granted:
                assert lease.wait_seconds > 0
                return False
            holder.begin(lease.granted, self.now, self.now)
            assert holder.use(self.now)
        self.arrivals.append(self.now + travel)
        return True

    def give_back(self, holder: HeldLease) -> None:
        """Give back what is left of a lease, if it is not too late."""
        if unused := holder.drop(self.now):
            self.budget.give_back(unused, self.now)

    def restart(self) -> None:
        """Lose the budget, and put an empty one into its place."""
        self.budget = allowance(self.budget.requests_per_minute, now=self.now, begins_empty=True)


SECONDS = st.one_of(
    st.just(0.0), st.floats(0, 0.2), st.floats(0, HOLD_SECONDS), st.floats(0, 7), st.floats(0, 90)
)
TRAVEL = st.floats(0, TRAVEL_SECONDS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), SECONDS),
        st.tuples(st.just("send"), st.integers(0, 2), st.integers(1, 40), TRAVEL),
        st.tuples(st.just("send as many as possible"), st.integers(0, 2), st.integers(1, 40), TRAVEL),
        st.tuples(st.just("give back"), st.integers(0, 2)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("pause"), st.floats(0, 5)),
    ),
    max_size=150,
)


@given(st.integers(1, 60), st.booleans(), STEPS)
def test_a_minutes_allowance_is_never_exceeded(
    per_minute: int, begins_empty: bool, steps: list[tuple[object, ...]]
) -> None:
    """Whatever several holders lease, use late, give back and lose: no 60 s see more arrive."""
    world = World(allowance(per_minute, begins_empty=begins_empty))
    for step in steps:
        match step:
            case ("advance", float(seconds)):
                world.now += seconds
            case ("send", int(holder), int(most), float(travel)):
                world.send(world.holders[holder], most, travel)
            case ("send as many as possible", int(holder), int(most), float(travel)):
                while world.send(world.holders[holder], most, travel):
                    pass
            case ("give back", int(holder)):
                world.give_back(world.holders[holder])
            case ("restart",):
                world.restart()
            case ("pause", float(seconds)):
                world.budget.pause(seconds, world.now)
    assert most_in_a_minute(world.arrivals) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 600])
def test_a_bucket_that_filled_up_does_not_take_leftovers_too(per_minute: int) -> None:
    """Leased at once, given back as late as possible, again and again: still no more than allowed."""
    world = World(allowance(per_minute))
    hoarder, sender = world.holders[:2]
    while world.now < 200:
        lease = world.budget.lease(per_minute, world.now)
        if lease.granted:
            hoarder.begin(lease.granted, world.now, world.now)
        world.now += LEASE_SECONDS - 0.01
        while world.send(sender, per_minute, 0.0):
            pass
        world.give_back(hoarder)
        while world.send(sender, per_minute, 0.0):
            pass
        world.now += 0.01
    assert per_minute / 2 <= most_in_a_minute(world.arrivals) <= per_minute


@pytest.mark.parametrize("every", [0.5, 5, 20, 59])
@pytest.mark.parametrize("per_minute", [1, 10, 60, 600])
def test_a_budget_that_is_lost_again_and_again_grants_nothing_extra(per_minute: int, every: float) -> None:
    """Each successor begins empty, while the leases of the one before it are still used."""
    world = World(allowance(per_minute))
    while world.now < 200:
        while world.send(world.holders[0], per_minute, TRAVEL_SECONDS):
            pass
        lease = world.budget.lease(per_minute, world.now)
        world.now += every if lease.granted else min(every, lease.wait_seconds)
        if world.now % every < 0.1:
            world.restart()
    assert 0 < most_in_a_minute(world.arrivals) <= per_minute


@pytest.mark.quick(6)
@pytest.mark.parametrize("hold_seconds", [1, 3])
@pytest.mark.parametrize("per_minute", [1, 2, 3, 10, 59, 60, 199, 600, 10_000])
def test_nearly_all_that_is_allowed_is_granted(per_minute: int, hold_seconds: int) -> None:
    """Who waits as long as told gets a burst, and then at least 85 of 100 in the long run."""
    budget = MinuteAllowance(per_minute, max(1, per_minute // 10), hold_seconds, now=0.0)
    now, sent = 0.0, list[float]()
    while now < 600:
        lease = budget.lease(per_minute, now)
        sent += [now] * lease.granted
        now += lease.wait_seconds
    assert sent.count(0.0) == max(1, per_minute // 10)
    assert 0.85 * 10 * per_minute <= len(sent)
    assert most_in_a_minute(sent) <= per_minute


def test_leftovers_are_granted_to_others() -> None:
    """What one holder gives back at once, the next one gets."""
    budget = allowance(100)
    assert budget.lease(10, 0.0) == Lease(10)
    assert not budget.lease(10, 0.0).granted
    budget.give_back(7, 0.0)
    assert budget.lease(10, 0.0) == Lease(7)


def test_what_comes_back_too_late_is_lost() -> None:
    """When nobody can tell any more whose it was, it counts as sent."""
    budget = allowance(1)
    assert budget.lease(1, 0.0) == Lease(1)
    budget.give_back(1, HOLD_SECONDS)
    assert budget.lease(1, HOLD_SECONDS).wait_seconds == pytest.approx(60)


def test_more_can_not_come_back_than_went_out() -> None:
    """A holder that miscounts grants nobody more than a burst."""
    budget = allowance(100)
    assert budget.lease(3, 0.0) == Lease(3)
    budget.give_back(50, 0.0)
    assert budget.lease(50, 0.0) == Lease(10)


def test_a_pause_is_for_all_and_the_longest_counts() -> None:
    """Nothing is granted until it is over."""
    budget = allowance(600)
    budget.pause(30, 0.0)
    budget.pause(5, 1.0)
    assert budget.lease(1, 10.0) == Lease(0, 20.0)
    assert budget.lease(1, 30.0) == Lease(1)


def test_one_that_begins_empty_grants_what_it_has_seen_grow() -> None:
    """Its first request comes after a share of a minute."""
    budget = allowance(60, begins_empty=True)
    wait = budget.lease(5, 0.0).wait_seconds
    assert 0 < wait < 2
    assert budget.lease(5, wait) == Lease(1)


def test_a_lease_is_used_up_one_by_one_until_it_lapses() -> None:
    """Counted from when it was asked for, since nobody knows when it was granted."""
    held = HeldLease()
    assert not held.use(0.0)
    held.begin(3, 10.0, 11.0)
    assert held.use(11.5)
    assert not held.use(10.0 + LEASE_SECONDS)
    assert held.drop(10.0 + LEASE_SECONDS) == 2
    assert held.drop(10.0 + LEASE_SECONDS) == 0


def test_a_suspended_process_gives_back_nothing_when_it_wakes() -> None:
    """Its requests were counted long ago; the budget would take them for another's."""
    held = HeldLease()
    held.begin(3, 0.0, 0.0)
    assert held.drop(LEASE_SECONDS + LATE_SECONDS) == 0


def test_what_is_left_is_kept_for_a_second_of_idleness() -> None:
    """Each use begins it again, up to where the lease lapses."""
    held = HeldLease()
    held.begin(5, 0.0, 0.25)
    assert held.kept_seconds(0.25) == IDLE_SECONDS
    held.use(0.75)
    assert held.kept_seconds(1.0) == IDLE_SECONDS - 0.25
    held.use(1.5)
    assert held.kept_seconds(1.5) == LEASE_SECONDS - 1.5


@pytest.mark.parametrize(
    ("granted", "wait", "kind", "name"),
    [
        (-1, 0.0, ValueError, "granted"),
        (True, 0.0, TypeError, "granted"),
        (1.0, 0.0, TypeError, "granted"),
        (0, -1.0, ValueError, "wait_seconds"),
        (0, float("inf"), ValueError, "wait_seconds"),
        (0, float("nan"), ValueError, "wait_seconds"),
        (0, "1", TypeError, "wait_seconds"),
        (0, 0.0, ValueError, "when to ask again"),
    ],
)
def test_wrong_leases(granted: int, wait: float, kind: type[Exception], name: str) -> None:
    """A budget of one's own that is wrong is told so where it makes the lease."""
    with pytest.raises(kind, match=name):
        Lease(granted, wait)
