"""How long an export takes with so many calls, requests a minute and fetchers: a model, and not a promise.

Run ``python -m benchmarks.scale``; it asks no server, and prints the same tables each time. Lists are planned
and cut into shares by the package's own code. What happens then is a simulation: fetchers take share after
share, and go on with them as fast as their slots and their CPU allow; where all together would need more than
the budget, or more than the server's workers can do, all are slowed down alike. Left out: bursts, throttling,
details of transcripts, lists that move, uploads, and the time an engine takes to start a task.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import chain

import attrs

from futureagi_async import RunTestCalls
from futureagi_async.export.plan import PageCost, reading_of
from futureagi_async.export.shares import cut

PAGE_SIZE = 100
CPU_SECONDS_A_CALL = 125e-6
"""Of one core: read, proven, written as Parquet with evaluations; `benchmarks.export_lists`, 4 kB a call."""
IN_FLIGHT = 16
"""Requests of one fetcher at once, as `Session` has it by default."""
REQUESTS_A_SHARE = 500
RESTART_SECONDS = 60.0
"""Until a loss is noticed, the share can be taken again, and another fetcher is there."""
SKEW = 0.5
"""Of the lengths of lists: the n-th is as long as the first one divided by n to this power."""
_PATIENCE_SECONDS = 15.0  # for one page of a list, while other lists fill the slots
_SOURCE = RunTestCalls("00000000-0000-4000-8000-000000000000")


@attrs.define(frozen=True)
class Server:
    """What answers."""

    name: str
    seconds_a_row: float
    workers: int
    """How many answers it makes at once."""


MEASURED = Server("20 ms a row, 8 workers", 0.02, 8)
"""A row costs what it did on the vendor's server when it was measured; the number of workers is made up."""
FASTER = Server("2 ms a row, 32 workers", 0.002, 32)


@attrs.define(frozen=True)
class Work:
    """What a list or a share costs."""

    requests: float = 0.0
    server_seconds: float = 0.0
    calls: float = 0.0

    def __add__(self, more: "Work") -> "Work":
        return Work(
            self.requests + more.requests,
            self.server_seconds + more.server_seconds,
            self.calls + more.calls,
        )


@attrs.define(frozen=True)
class Cluster:
    """What asks."""

    fetchers: int
    requests_a_minute: float
    is_split: bool = False
    """Whether each fetcher has an equal part of the budget for itself, instead of one for all."""
    lost_at: tuple[float, ...] = ()
    """When a fetcher is lost, in seconds: the one that has done most of its share."""

    def speed(self, share: Work) -> float:
        """Return which part of a share one fetcher does in a second, if nobody else is in its way."""
        speeds = [IN_FLIGHT / share.server_seconds, 1 / (CPU_SECONDS_A_CALL * share.calls)]
        if self.is_split:
            speeds.append(self.requests_a_minute / 60 / self.fetchers / share.requests)
        return min(speeds)


@attrs.define(frozen=True)
class Outcome:
    """What the simulation came to."""

    seconds: float
    requests: float
    """With those of shares that were begun again."""
    read_again: float
    decided_by: str
    """What was slowest for most of the time: ``budget``, ``server`` or ``fetchers``."""


@attrs.define
class _Fetcher:
    share: Work = attrs.field(factory=Work)
    left: float = 0.0
    """Which part of the share is not done yet."""
    back_at: float = 0.0
    """When it is there again after it was lost."""


class Simulation:
    """Fetchers that export shares, in order, from time 0."""

    def __init__(self, shares: Sequence[Work], server: Server, cluster: Cluster) -> None:
        self._waiting = list(reversed(shares))
        self._server, self._cluster = server, cluster
        self._fetchers = [_Fetcher() for _ in range(cluster.fetchers)]
        self._losses = sorted(cluster.lost_at)
        self._now = self._read_again = 0.0
        self._requests = sum(share.requests for share in shares)
        self._seconds = {"budget": 0.0, "server": 0.0, "fetchers": 0.0}

    def run(self) -> Outcome:
        """Go from event to event until nothing is left."""
        while True:
            for fetcher in self._fetchers:
                if not fetcher.left and fetcher.back_at <= self._now and self._waiting:
                    fetcher.share, fetcher.left = self._waiting.pop(), 1.0
            if not self._waiting and not self._working():
                break
            self._go_on()
            if self._losses and self._losses[0] <= self._now:
                self._lose(self._losses.pop(0))
        decided_by = max(self._seconds, key=self._seconds.__getitem__)
        return Outcome(self._now, self._requests + self._read_again, self._read_again, decided_by)

    def _working(self) -> list[_Fetcher]:
        return [fetcher for fetcher in self._fetchers if fetcher.left]

    def _go_on(self) -> None:
        """Let the time pass until a share is done, or a fetcher is lost or there again."""
        working = self._working()
        speeds = [self._cluster.speed(fetcher.share) for fetcher in working]
        pairs = list(zip(working, speeds, strict=True))
        slowed = {
            "fetchers": 1.0,
            "budget": _ratio(
                self._cluster.requests_a_minute / 60, (one.share.requests * speed for one, speed in pairs)
            ),
            "server": _ratio(
                self._server.workers, (one.share.server_seconds * speed for one, speed in pairs)
            ),
        }
        decided_by = min(slowed, key=slowed.__getitem__)
        ends = [one.left / (speed * slowed[decided_by]) for one, speed in pairs]
        events = [*self._losses[:1], *(each.back_at for each in self._fetchers if each.back_at > self._now)]
        seconds = min([*ends, *(event - self._now for event in events)])
        for (one, speed), end in zip(pairs, ends, strict=True):
            one.left = one.left - speed * slowed[decided_by] * seconds if end > seconds else 0.0
        self._seconds[decided_by] += seconds
        self._now += seconds

    def _lose(self, at: float) -> None:
        if working := self._working():
            lost = min(working, key=lambda one: one.left)
            self._read_again += (1 - lost.left) * lost.share.requests
            self._waiting.append(lost.share)
            lost.left, lost.back_at = 0.0, at + RESTART_SECONDS


def _ratio(available: float, wanted: Iterator[float]) -> float:
    return min(1.0, available / max(sum(wanted), available * 1e-9))


def simulate(shares: Sequence[Work], server: Server, cluster: Cluster) -> Outcome:
    """Let fetchers export shares, in order."""
    return Simulation(shares, server, cluster).run()


def lists_of(calls: int, lists: int) -> list[int]:
    """Return the lengths of lists that make so many calls, long ones among short ones."""
    weights = [1 / (place + 1) ** SKEW for place in range(lists)]
    lengths = [max(1, round(calls * weight / sum(weights))) for weight in weights]
    return list(chain(lengths[::2], reversed(lengths[1::2])))


def shares_of(lengths: Sequence[int], server: Server, requests: int = REQUESTS_A_SHARE) -> list[Work]:
    """Return what each share costs, as `plan_shares` would cut them."""
    cost = PageCost(0.0, server.seconds_a_row)
    readings = [
        reading_of(_SOURCE, length, cost, page_size=PAGE_SIZE, patience=_PATIENCE_SECONDS)
        for length in lengths
    ]
    works = [
        Work(reading.requests, reading.work(cost), length)
        for reading, length in zip(readings, lengths, strict=True)
    ]
    spans = cut([work.requests for work in works], requests)
    return [reduce(Work.__add__, works[span.start : span.stop]) for span in spans]


def in_words(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


SIZES = ((100_000, 200), (1_000_000, 2_000), (10_000_000, 20_000))
BUDGETS = (600, 6_000)
FETCHERS = (1, 2, 4, 8)


def sizing() -> Iterator[str]:
    """Yield a table: how long which size takes."""
    columns = " | ".join(f"{fetchers} fetcher{'s' * (fetchers > 1)}" for fetchers in FETCHERS)
    yield f"| calls | lists | shares | server | requests a minute | {columns} | decided by |"
    yield "| ---: | ---: | ---: | --- | ---: |" + " ---: |" * len(FETCHERS) + " --- |"
    for calls, lists in SIZES:
        for server in (MEASURED, FASTER):
            shares = shares_of(lists_of(calls, lists), server)
            for budget in BUDGETS:
                made = [simulate(shares, server, Cluster(fetchers, budget)) for fetchers in FETCHERS]
                times = " | ".join(in_words(outcome.seconds) for outcome in made)
                decided = ", then ".join(dict.fromkeys(outcome.decided_by for outcome in made))
                size = f"{calls:,} | {lists:,} | {len(shares):,}"
                yield f"| {size} | {server.name} | {budget:,} | {times} | {decided} |"


def budgets() -> Iterator[str]:
    """Yield a table: one budget for all against equal parts of it."""
    yield "| fetchers | one budget for all | an equal part each | longer by |"
    yield "| ---: | ---: | ---: | ---: |"
    shares = shares_of(lists_of(1_000_000, 200), FASTER)
    for fetchers in FETCHERS:
        one, parts = (
            simulate(shares, FASTER, Cluster(fetchers, 600, is_split=is_split)).seconds
            for is_split in (False, True)
        )
        yield f"| {fetchers} | {in_words(one)} | {in_words(parts)} | {parts / one - 1:.0%} |"


def losses() -> Iterator[str]:
    """Yield a table: what lost fetchers cost, by the size of shares."""
    yield "| requests a share | shares | lost fetchers | requests again | of all | longer by |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    lengths = lists_of(1_000_000, 2_000)
    for requests in (100, 500, 2_000):
        shares = shares_of(lengths, FASTER, requests)
        whole = simulate(shares, FASTER, Cluster(4, 600))
        for lost in (1, 5):
            times = tuple(whole.seconds * (place + 1) / (lost + 1) for place in range(lost))
            made = simulate(shares, FASTER, Cluster(4, 600, lost_at=times))
            again = f"{made.read_again:,.0f} | {made.read_again / whole.requests:.1%}"
            longer = in_words(made.seconds - whole.seconds)
            yield f"| {requests:,} | {len(shares)} | {lost} | {again} | {longer} |"


def main() -> None:
    """Print the tables."""
    print("A model, not a promise: the docstring says what is left out.\n")
    print("### How long an export takes\n", *sizing(), sep="\n")
    print("\n### One budget of 600 requests a minute, 1,000,000 calls in 200 lists\n", *budgets(), sep="\n")
    print(
        "\n### Lost fetchers of 4, 600 requests a minute, 1,000,000 calls in 2,000 lists\n",
        *losses(),
        sep="\n",
    )


if __name__ == "__main__":
    main()
