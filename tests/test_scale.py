"""The model of how exports scale keeps to what nobody can beat, and adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import (
    CPU_SECONDS_A_CALL,
    FASTER,
    IN_FLIGHT,
    MEASURED,
    RESTART_SECONDS,
    Cluster,
    Server,
    Work,
    lists_of,
    shares_of,
    simulate,
)

AMOUNTS = st.floats(1, 1_000)
SHARES = st.lists(st.builds(Work, AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=12)


@given(shares=SHARES, fetchers=st.integers(1, 6), budget=st.floats(1, 10_000), workers=st.integers(1, 40))
def test_nothing_is_faster_than_its_limits(
    shares: list[Work], fetchers: int, budget: float, workers: int
) -> None:
    """Budget, workers, slots and CPU each need their time, and the longest share its own."""
    made = simulate(shares, Server("", 1.0, workers), Cluster(fetchers, budget))
    requests, server_seconds = (
        sum(share.requests for share in shares),
        sum(share.server_seconds for share in shares),
    )
    least = max(
        requests * 60 / budget,
        server_seconds / workers,
        server_seconds / IN_FLIGHT / fetchers,
        sum(share.calls for share in shares) * CPU_SECONDS_A_CALL / fetchers,
        max(share.server_seconds for share in shares) / IN_FLIGHT,
    )
    assert made.seconds >= least * (1 - 1e-9)
    assert (made.requests, made.read_again) == (requests, 0.0)


@pytest.mark.slow
@given(shares=SHARES, budget=st.floats(1, 10_000))
def test_alone_the_slowest_limit_decides(shares: list[Work], budget: float) -> None:
    """One fetcher takes, for each share, just what its slowest limit needs."""
    slowest = [
        max(
            share.requests * 60 / budget,
            share.server_seconds / min(IN_FLIGHT, MEASURED.workers),
            share.calls * CPU_SECONDS_A_CALL,
        )
        for share in shares
    ]
    assert simulate(shares, MEASURED, Cluster(1, budget)).seconds == pytest.approx(sum(slowest))


def test_a_lost_fetcher_costs_what_it_had_done() -> None:
    """Half a share that is lost is read again, and the same share is taken by another."""
    share = Work(requests=100.0, server_seconds=1.0, calls=1.0)
    made = simulate([share] * 2, FASTER, Cluster(1, 600, lost_at=(5.0,)))
    assert made.read_again == pytest.approx(50.0)
    assert made.seconds == pytest.approx(5.0 + RESTART_SECONDS + 20.0)
    assert made.requests == pytest.approx(250.0)


def test_lists_are_planned_as_they_are_exported() -> None:
    """All calls are in shares of about the size asked for, but for lists that are longer."""
    shares = shares_of(lists_of(1_000_000, 2_000), FASTER, 500)
    assert sum(share.calls for share in shares) == pytest.approx(1_000_000, rel=0.001)
    assert max(share.requests for share in shares) <= 500
    assert len(shares) < 2 * sum(share.requests for share in shares) / 500
