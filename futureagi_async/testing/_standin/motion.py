"""Lists that change while they are read: seeded updates, inserts and deletes on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from futureagi_async.testing._standin.clock import MINUTE_US
from futureagi_async.testing._standin.data.builders import Plan, build, new_call
from futureagi_async.testing._standin.data.listing import VERSION_RULE, Listing, State
from futureagi_async.testing._standin.data.records import AgentVersion, Call, Family
from futureagi_async.testing._standin.data.values import seeded_random

if TYPE_CHECKING:
    import random

    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.data.records import TestExecution, World


def _not_negative(_instance: object, attribute: object, value: float) -> None:
    if value < 0:
        raise ValueError(f"{getattr(attribute, 'name', 'a rate')} must not be negative")


@frozen(kw_only=True)
class Motion:
    """How a list changes. Rates are changes per virtual second. All changes follow from the seed.

    Attributes:
        updates: saves of a call. Each sets the sort key of the call to the time of the save.
        inserts: new calls. Their sort key is the time of the insert.
        deletes: calls that are removed, including their snapshots.
        soft_deletes: calls that are marked as deleted, with a save. Run-test lists still count them.
        tie_updates: jobs that save `tie_size` calls at the same time with the same sort key.
        tie_size: the number of calls in such a job.
        old_key_entries: in the list of an agent version, calls that enter with an old sort key because they
            were evaluated. In other lists, calls that change their status but not their sort key, so they
            enter and leave the list with that `status` filter.
        commit_delay_seconds: the shortest and the longest time between the sort key of a change and the
            moment when it becomes visible.
        clock_skew_seconds: the largest error in the clocks of some writers, and so in their sort keys.
        gap_share: the share of `request_seconds` that passes between the statements of one request.
        seed: the same seed, data and requests give the same changes at the same times.

    """

    updates: float = field(default=0.0, validator=_not_negative)
    inserts: float = field(default=0.0, validator=_not_negative)
    deletes: float = field(default=0.0, validator=_not_negative)
    soft_deletes: float = field(default=0.0, validator=_not_negative)
    tie_updates: float = field(default=0.0, validator=_not_negative)
    tie_size: int = 50
    old_key_entries: float = field(default=0.0, validator=_not_negative)
    commit_delay_seconds: tuple[float, float] = (0.0, 0.0)
    clock_skew_seconds: float = field(default=0.0, validator=_not_negative)
    gap_share: float = 0.2
    seed: int = 0

    def __attrs_post_init__(self) -> None:
        least, most = self.commit_delay_seconds
        if not 0 <= least <= most:
            raise ValueError("commit_delay_seconds must be (least, most), and neither may be negative")
        if not 0 <= self.gap_share <= 1:
            raise ValueError("gap_share must be between 0 and 1")
        if self.tie_size < 1:
            raise ValueError("tie_size must be at least 1")


Callback = Callable[[float], None]
"""A callback. It gets the time for which it was planned."""


class Schedule:
    """The planned callbacks. It uses no clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callback]] = []
        self._order = count()

    def plan(self, moment: float, callback: Callback) -> None:
        heappush(self._heap, (moment, next(self._order), callback))

    def run_until(self, moment: float) -> None:
        """Run all callbacks that were planned up to and including a time."""
        while self._heap and self._heap[0][0] <= moment:
            planned, _, callback = heappop(self._heap)
            callback(planned)


_TRIES = 16
"""How often to draw another call if one has a change in progress. After that, the change is left out."""


class CallPool:
    """The calls that a list delivers. Other calls are removed when they are drawn."""

    def __init__(self, listing: Listing, draw: random.Random) -> None:
        self._listing = listing
        self._draw = draw
        self._calls = [row for row in listing.members if isinstance(row, Call) and self._may_change(row)]

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def take(self) -> Call | None:
        """Draw a call without a change in progress, and lock it."""
        for _ in range(_TRIES):
            call = self._draw_alive()
            if call is None or not call.locked:
                break
        else:
            return None
        if call is not None:
            call.locked = True
        return call

    def _draw_alive(self) -> Call | None:
        while self._calls:
            place = self._draw.randrange(len(self._calls))
            if self._may_change(self._calls[place]):
                return self._calls[place]
            self._calls[place] = self._calls[-1]
            self._calls.pop()
        return None

    def _may_change(self, call: Call) -> bool:
        return self._listing.holds(call) and self._listing.rule.delivers(call.state)


_WRITERS = 4
_NEW = State(exists=True, deleted=False, status="completed", evaluated=True)
_NUMBERS_FROM = 1_000_000
"""The first number of new calls: higher than all numbers of sample calls."""


class Mover:
    """Changes a list while it is in the schedule.

    The row, the sort key and the delay of a change are decided at its time. The change becomes visible when
    it commits. Until then, no other change can affect the row, as with a row lock of a database.
    """

    def __init__(
        self, world: World, schedule: Schedule, clock: VirtualClock, listing: Listing, motion: Motion
    ) -> None:
        self._world = world
        self._schedule = schedule
        self._clock = clock
        self._listing = listing
        self._motion = motion
        self._family = world.families[listing.name]
        self._elsewhere: Family | None = None
        self._draw = seeded_random(world.seed, listing.name, motion.seed)
        self._pool = CallPool(listing, self._draw)
        skew = motion.clock_skew_seconds
        self._skews = [0.0, *(self._draw.uniform(-skew, skew) for _ in range(_WRITERS - 1))]
        self._kinds: dict[Callable[[float], None], float] = {
            self._update: motion.updates,
            self._insert: motion.inserts,
            self._delete: motion.deletes,
            self._soft_delete: motion.soft_deletes,
            self._update_many: motion.tie_updates,
            self._enter_with_old_key: motion.old_key_entries,
        }
        self._is_stopped = False

    def start(self, moment: float) -> None:
        """Plan the first change."""
        rate = sum(self._kinds.values())
        if rate > 0:
            self._schedule.plan(moment + self._draw.expovariate(rate), self._change_something)

    def stop(self) -> None:
        """Start no more changes. Changes in progress still commit."""
        self._is_stopped = True

    def _change_something(self, moment: float) -> None:
        if self._is_stopped:
            return
        (kind,) = self._draw.choices(list(self._kinds), list(self._kinds.values()))
        kind(moment)
        self.start(moment)

    def _key_us(self, moment: float) -> int:
        return self._clock.microseconds_at(moment + self._draw.choice(self._skews))

    def _commit(self, moment: float, act: Callable[[float], None]) -> None:
        least, most = self._motion.commit_delay_seconds
        if most > 0:
            self._schedule.plan(moment + self._draw.uniform(least, most), act)
        else:
            act(moment)

    def _save(self, moment: float, calls: list[Call], key_us: int | None, **changes: Any) -> None:
        """Change locked calls together when the change commits. Other changes to them stay."""

        def commit(visible: float) -> None:
            for call in calls:
                call.locked = False
                self._world.change(call, visible, key_us=key_us, **changes)

        self._commit(moment, commit)

    def _update(self, moment: float) -> None:
        if call := self._pool.take():
            self._save(moment, [call], self._key_us(moment))

    def _delete(self, moment: float) -> None:
        if call := self._pool.take():
            self._save(moment, [call], None, exists=False)

    def _soft_delete(self, moment: float) -> None:
        if call := self._pool.take():
            self._save(moment, [call], self._key_us(moment), deleted=True)

    def _update_many(self, moment: float) -> None:
        taken = [self._pool.take() for _ in range(self._motion.tie_size)]
        calls = [call for call in taken if call]
        if calls:
            self._save(moment, calls, self._key_us(moment))

    def _insert(self, moment: float) -> None:
        key_us = self._key_us(moment)
        self._add(moment, self._family, key_us, key_us)

    def _enter_with_old_key(self, moment: float) -> None:
        """Let a call enter a list without a new sort key: by its evaluation or by its status."""
        if self._listing.rule is VERSION_RULE:
            old_us = self._old_key_us()
            self._add(moment, self._family_elsewhere(), old_us - 10 * MINUTE_US, old_us)
        elif call := self._pool.take():
            status = "analyzing" if call.state.status == "completed" else "completed"
            self._save(moment, [call], None, status=status)

    def _add(self, moment: float, family: Family, created_us: int, key_us: int) -> None:
        number = _NUMBERS_FROM + self._world.next_number()

        def commit(visible: float) -> None:
            execution = self._execution_of(family)
            if execution is None:
                return
            call = new_call(
                family,
                number,
                created_us=created_us,
                key_us=key_us,
                state=_NEW,
                since=visible,
                execution=execution,
                version=self._version(),
            )
            self._world.add_rows([call])
            self._pool.add(call)

        self._commit(moment, commit)

    def _execution_of(self, family: Family) -> TestExecution | None:
        """Return the execution for new calls: the one in motion, or the newest that is not deleted."""
        own = [execution for execution in family.executions if execution.listing is self._listing]
        alive = [execution for execution in own or family.executions if not execution.deleted]
        return alive[-1] if alive else None

    def _version(self) -> AgentVersion | None:
        """Return the version whose list is in motion, so that new calls enter it."""
        return next((v for v in self._family.versions if v.listing is self._listing), None)

    def _old_key_us(self) -> int:
        entries = self._listing.entries(self._world.rows)
        if not entries:
            return self._clock.microseconds_at(self._clock.monotonic())
        return self._draw.randint(-entries[-1][0], -entries[0][0])

    def _family_elsewhere(self) -> Family:
        """Return a separate run test for calls that existed long before they were evaluated.

        They must not appear in the other lists of this family, which no call enters with an old sort key.
        """
        if self._elsewhere is None:
            own = self._family.run_test
            self._elsewhere = build(self._world, Plan(calls=0, kind=own.kind, slim=own.slim))
        return self._elsewhere
