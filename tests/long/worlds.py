"""Reads lists of a few rows in every way that changes may fall between the server's statements.

``python -m tests.long worlds`` tries each change, and each two, before each statement of each page of lists
of up to eight rows, and prints how many such worlds there were and how their reading ended; ``--share 0.1``
tries a tenth of the lists. A world *lies* when it is called complete and lacks a row that the guarantee
promises. (That a row is invented can't happen here: what is delivered is what the model answered.)

Worlds share a reader until their answers differ. A change is made right before the first statement that
returns something else for it; made earlier, it would give the same answers but for the age of its key, and
late changes have an older one. So is a new row that no statement sees, but that is promised.
"""

import argparse
import pickle
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import inf
from typing import Any, NamedTuple, TypeAlias

import attrs

from futureagi_async._sansio.covering import Conclusion, Cover, ListTraits
from futureagi_async._sansio.covering.pages import CoverSizes, PageRequest, PageResult
from tests.support.list_model import RUN_TEST, TEST_EXECUTION, VERSION
from tests.support.small_lists import NOW, Answer, ListKind, Numbers, Result, Row, SmallList

SMALL = CoverSizes(
    smallest_limit=2,
    largest_limit=5,
    overlap=2,
    spread=2,
    tail=2,
    overhang=3,
    room=2,
    growth=2,
    factor_for_ties=2,
    least_work=24,
)
"""What there is to spare exceeds two changes, as the usual sizes exceed what happens within a request."""
LARGEST_PAGE = 20
"""Rows on one page that is to hold the whole list."""
MOST_REQUESTS = 150
"""Of a reading that ends."""

_FILTERED = ListTraits(counted_first=True, rows_enter_with_old_keys=False, filters_creation=True)
KINDS = {
    kind.name: kind
    for kind in (
        ListKind("run test", RUN_TEST),
        ListKind("test execution", TEST_EXECUTION),
        ListKind("agent version", VERSION, counts_past_the_end=False),
        ListKind("run test, documented", RUN_TEST, shows_keys=False),
        ListKind("test execution, documented", _FILTERED, shows_keys=False),
    )
}


@attrs.define(frozen=True, kw_only=True)
class Start:
    """A list before it is read, and how it is read."""

    kind: ListKind
    ties: tuple[int, ...]
    """How many rows share each key, newest first."""
    holes: frozenset[int] = frozenset()
    """Places of calls that are deleted already."""
    newest_age: float = 100.0
    """Seconds since the last change."""
    page_size: int = 2
    one_page: bool = False
    """Whether the list may be read as one page."""
    in_flight: int = 1
    in_turn: bool = False
    """Whether the server executes a statement of each request in turn; else it answers the latest first."""
    request_seconds: float = 0.3
    changes: int = 2
    """How many there are, at most."""

    def rows(self) -> SmallList:
        """Return the list."""
        ages = [group for group, size in enumerate(self.ties) for _ in range(size)]
        rows = [
            Row(NOW - self.newest_age - age, number, number in self.holes) for number, age in enumerate(ages)
        ]
        return SmallList(tuple(rows), len(rows))

    def cover(self) -> Cover:
        """Return a reader of it."""
        return Cover(
            self.kind.traits,
            page_size=self.page_size,
            max_body_bytes=1 << 26 if self.one_page else -1,
            sizes=attrs.evolve(SMALL, largest_limit=LARGEST_PAGE) if self.one_page else SMALL,
        )


class Flight(NamedTuple):
    """A page that was asked for, as one world answers it."""

    visible: Numbers = 0
    """The rows a reader could be given when it was sent."""
    results: tuple[Result, ...] = ()
    """Those of the statements so far."""


class World(NamedTuple):
    """What there is besides the reader."""

    list: SmallList
    throughout: Numbers
    """Rows that were in the list all the time."""
    delivered: Numbers = 0
    promised: Numbers = 0
    """Rows that were visible during the whole latest read of page 1."""
    flights: tuple[Flight, ...] = ()


Worlds: TypeAlias = dict[World, int]
"""Worlds that gave the same answers so far, and in how many ways each came about."""
Trail: TypeAlias = tuple[str, ...]


class Asked(NamedTuple):
    """A page that was asked for, as the reader knows it."""

    request: PageRequest
    number: int
    sent_at: float = inf
    executed: int = 0
    """Statements."""


@attrs.define
class Tally:
    """How worlds ended."""

    worlds: int = 0
    complete: int = 0
    reasons: Counter[str] = attrs.field(factory=Counter)
    """Why others are incomplete."""
    faults: Counter[str] = attrs.field(factory=Counter)
    """What must not be: lies, readings without an end, and false reasons."""
    examples: dict[str, str] = attrs.field(factory=dict)
    """How the first of each came about."""
    requests: int = 0
    """The most that one took."""

    def __iadd__(self, other: "Tally") -> "Tally":
        self.worlds += other.worlds
        self.complete += other.complete
        self.reasons += other.reasons
        self.faults += other.faults
        self.examples = other.examples | self.examples
        self.requests = max(self.requests, other.requests)
        return self


TRUE_REASONS: Mapping[str, Callable[[Start, World], bool]] = {
    "Rows enter the list faster": lambda _start, world: "insert" in " ".join(world.list.changes),
    "More calls have the same time": lambda start, world: max(start.ties) > 1 or "tie" in world.list.changes,
    "Deleted calls leave positions": lambda _start, world: any(row.hole for row in world.list.rows),
    "Neighbouring pages": lambda _start, world: bool(world.list.changes),
    "The rows have no time of last change": lambda start, _world: not start.kind.shows_keys,
}
"""When an incomplete list may be called so. Two changes are never faster than it can be read."""


class Reading:
    """Reads a list in all its worlds."""

    def __init__(self, start: Start) -> None:
        self.tally = Tally()
        self._start = start
        self._kind = start.kind

    def run(self) -> Tally:
        """Return how they ended."""
        rows = self._start.rows()
        self._explore(self._start.cover(), [], {World(rows, rows.visible()): 1}, NOW, 0, ())
        return self.tally

    def _explore(
        self, cover: Cover, asked: list[Asked], worlds: Worlds, now: float, number: int, trail: Trail
    ) -> None:
        """Go on until the reader is done, with another reader where answers differ."""
        while True:
            while len(asked) < self._start.in_flight and (request := cover.next_page()) is not None:
                now, number = max(now, request.not_before), number + 1
                asked.append(Asked(request, number))
                worlds = {
                    world._replace(flights=(*world.flights, Flight())): ways for world, ways in worlds.items()
                }
            if cover.conclusion is not None or not asked or number > MOST_REQUESTS:
                self._end(cover, worlds, trail)
                return
            now, index, worlds = self._execute_statements(asked, worlds, now)
            answered = asked.pop(index)
            groups = self._answers(answered, index, worlds)
            saved = (
                pickle.dumps((cover, asked, answered), pickle.HIGHEST_PROTOCOL) if len(groups) > 1 else b""
            )
            last, worlds = groups.popitem()
            for answer, group in groups.items():
                other, still_asked, request = pickle.loads(saved)
                self._add_result(other, request, answer, now)
                self._explore(other, still_asked, group, now, number, (*trail, _told(answered, answer)))
            self._add_result(cover, answered, last, now)
            trail = (*trail, _told(answered, last))

    def _execute_statements(
        self, asked: list[Asked], worlds: Worlds, now: float
    ) -> tuple[float, int, Worlds]:
        """Execute statements until one request is answered, and return which."""
        statements = self._kind.statements
        step = self._start.request_seconds / (len(statements) + 1)
        turn = 0
        while True:
            index = turn % len(asked) if self._start.in_turn else len(asked) - 1
            turn, now, each = turn + 1, now + step, asked[index]
            each = each._replace(executed=each.executed + 1, sent_at=min(each.sent_at, now + step / 4))
            asked[index] = each
            after: Worlds = {}
            for world, ways in worlds.items():
                for possible in self._execute(world, index, each, now):
                    after[possible] = after.get(possible, 0) + ways
            worlds = after
            if each.executed == len(statements):
                return now + step, index, worlds

    def _execute(self, world: World, index: int, asked: Asked, now: float) -> Iterator[World]:
        """Yield what becomes of a world with a statement, for all changes right before it."""
        flight = world.flights[index]
        statement = self._kind.statements[asked.executed - 1]
        sends = asked.executed == 1

        def see(rows: SmallList) -> Result:
            return self._kind.execute(
                statement, rows.rows, asked.request, flight.results, flipped=asked.number % 2 == 1
            )

        for rows, result in self._changes(world.list, see, now, promises=sends and asked.request.page == 1):
            visible = rows.visible() if sends or rows is not world.list else 0
            after = Flight(visible if sends else flight.visible, (*flight.results, result))
            yield World(
                rows,
                world.throughout & visible if rows is not world.list else world.throughout,
                world.delivered,
                world.promised,
                (*world.flights[:index], after, *world.flights[index + 1 :]),
            )

    def _changes(
        self, rows: SmallList, see: Callable[[SmallList], Result], now: float, *, promises: bool
    ) -> Iterator[tuple[SmallList, Result]]:
        """Yield the list as it is, and after each one or two changes that a statement sees.

        Where page 1 is sent, all new rows count that can be seen then, whether they are or not.
        """
        still = see(rows)
        yield rows, still
        if len(rows.changes) == self._start.changes:
            return
        for one in self._kind.changes(rows, now):
            by_one, enters = see(one), promises and one.made > rows.made
            if enters or by_one != still:
                yield one, by_one
            if len(one.changes) == self._start.changes:
                continue
            for two in self._kind.changes(one, now):
                by_two = see(two)
                if (promises and two.made > one.made) or (by_two != by_one and (enters or by_two != still)):
                    yield two, by_two

    def _answers(self, asked: Asked, index: int, worlds: Worlds) -> dict[Answer, Worlds]:
        """Tell worlds apart by what they answer."""
        groups: dict[Answer, Worlds] = {}
        for world, ways in worlds.items():
            flight = world.flights[index]
            answer = self._kind.answer(flight.results)
            after = World(
                world.list,
                world.throughout,
                world.delivered | sum(1 << number for number, _ in answer.rows),
                flight.visible & world.list.visible() if asked.request.page == 1 else world.promised,
                (*world.flights[:index], *world.flights[index + 1 :]),
            )
            group = groups.setdefault(answer, {})
            group[after] = group.get(after, 0) + ways
        return groups

    def _add_result(self, cover: Cover, asked: Asked, answer: Answer, now: float) -> None:
        request, count = asked.request, answer.counted
        past_the_end = request.page > 1 and request.offset >= count
        cover.add_result(
            PageResult(
                request=request,
                count=None if past_the_end and not self._kind.counts_past_the_end else count,
                ids=[str(number) for number, _ in answer.rows],
                keys=[key if self._kind.shows_keys else None for _, key in answer.rows],
                has_next=request.end < count,
                sent_at=asked.sent_at,
                received_at=now,
                server_time=float(int(now)),
            )
        )

    def _end(self, cover: Cover, worlds: Worlds, trail: Trail) -> None:
        """Count worlds, and hold what was concluded against each."""
        self.tally.requests = max(self.tally.requests, cover.requests)
        for world, ways in worlds.items():
            self.tally.worlds += ways
            fault = "It does not end." if cover.conclusion is None else self._judge(cover.conclusion, world)
            if cover.conclusion is not None:
                self.tally.complete += ways if cover.conclusion.verdict == "complete" else 0
                self.tally.reasons[cover.conclusion.reason] += ways
            if fault is not None:
                self.tally.faults[fault] += ways
                story = (str(self._start), *trail, f"changes: {', '.join(world.list.changes)}")
                self.tally.examples.setdefault(fault, "\n    ".join(story))

    def _judge(self, conclusion: Conclusion, world: World) -> str | None:
        """Say what is wrong with a conclusion."""
        if conclusion.verdict != "complete":
            true = (when for reason, when in TRUE_REASONS.items() if conclusion.reason.startswith(reason))
            return None if any(when(self._start, world) for when in true) else f"Not so: {conclusion.reason}"
        promised = world.promised
        if self._kind.traits.rows_enter_with_old_keys or "creation time" in conclusion.reason:
            promised &= world.throughout
        return f"A lie: {conclusion.reason}" if promised & ~world.delivered else None


def _told(asked: Asked, answer: Answer) -> str:
    rows = ", ".join(f"row {number} of {key - NOW:+.3f} s" for number, key in answer.rows)
    return (
        f"page={asked.request.page}&limit={asked.request.limit}: {answer.counted} counted; {rows or 'no row'}"
    )


WAYS: Sequence[Mapping[str, Any]] = (
    {},
    {"one_page": True},
    {"in_flight": 2},
    {"in_flight": 2, "in_turn": True},
    {"request_seconds": 6.0},
    {"newest_age": 1.5},
)
"""How lists differ besides their rows: a request may take longer than delta, and rows may be younger."""
SERVED = ("run test", "test execution", "agent version")


def all_starts() -> Iterator[Start]:
    """Yield all lists that are tried, the short ones first."""
    for rows, kind, page_size, way in product(range(4), KINDS.values(), (2, 3), WAYS):
        for ties in _compositions(rows):
            yield Start(kind=kind, ties=ties, page_size=page_size, **way)
    for ties, name, page_size in product(_compositions(4), SERVED, (2, 3)):
        yield Start(kind=KINDS[name], ties=ties, page_size=page_size)
    yield from _starts_with_holes()
    for ties, kind, page_size, way in product(((1,) * 8, (2, 3, 1, 2), (8,)), KINDS.values(), (2, 3), WAYS):
        yield Start(kind=kind, ties=ties, page_size=page_size, changes=1, **way)
    for ties, name, page_size in product(((1,) * 6, (2, 2, 2), (1,) * 8), SERVED, (2, 3)):
        yield Start(kind=KINDS[name], ties=ties, page_size=page_size)


def some_starts(share: float) -> list[Start]:
    """Return a share of all lists, the same each time."""
    starts = list(all_starts())
    return random.Random(1).sample(starts, round(len(starts) * share))


def _starts_with_holes() -> Iterator[Start]:
    places = range(8)
    some = (places[:5], places[3:], places[1:7], places[::2], places[1::2], places)
    for holes, page_size, way in product(some, (2, 3), WAYS):
        yield Start(kind=KINDS["run test"], ties=(1,) * 8, holes=frozenset(holes), page_size=page_size, **way)


def _compositions(total: int) -> list[tuple[int, ...]]:
    """Return all ways to write a number as a sum, in order."""
    if not total:
        return [()]
    return [(first, *rest) for first in range(1, total + 1) for rest in _compositions(total - first)]


def run_all(starts: Sequence[Start]) -> dict[str, Tally]:
    """Read each list in all its worlds; return how they ended, by kind of list."""
    tallies: dict[str, Tally] = {}
    for number, start in enumerate(starts, 1):
        tallies.setdefault(start.kind.name, Tally()).__iadd__(Reading(start).run())
        if sys.stderr.isatty():
            print(f"\r{number} of {len(starts)} lists", end="", file=sys.stderr, flush=True)  # noqa: T201
    return tallies


def table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| list | worlds | complete | incomplete | lies, and other faults | most requests |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, tally in tallies.items():
        incomplete = tally.worlds - tally.complete
        yield (
            f"| {name} | {tally.worlds:,} | {tally.complete:,} | {incomplete:,} | {tally.faults.total():,} "
            f"| {tally.requests} |"
        )


def main() -> int:
    """Print the table, why worlds are incomplete, and of each fault an example; exit 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="the share of all lists to try (all)")
    starts = some_starts(parser.parse_args().share)
    tallies = run_all(starts)
    print("\n".join(table(tallies)))  # noqa: T201
    total = Tally()
    for tally in tallies.values():
        total += tally
    for reason, worlds in total.reasons.most_common():
        print(f"{worlds:10,} {reason}")  # noqa: T201
    for fault, example in total.examples.items():
        print(f"\n{total.faults[fault]:,} worlds. {fault}\n    {example}")  # noqa: T201
    print(f"\n{len(starts)} lists, {total.worlds:,} worlds, {total.faults.total():,} faults")  # noqa: T201
    return 1 if total.faults else 0


if __name__ == "__main__":
    sys.exit(main())
