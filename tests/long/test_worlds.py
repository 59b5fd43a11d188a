"""A slice of the small worlds, and that they find what is wrong with a cover that lacks a rule."""

from collections.abc import Callable
from itertools import product
from typing import Any

import attrs
import pytest

from futureagi_async._sansio.covering.keycover import KeyCover
from futureagi_async._sansio.covering.pages import PageResult
from tests.long import worlds
from tests.long.worlds import KINDS, SERVED, SMALL, Reading, Start, all_starts, run_all, table
from tests.sansio.test_covering import (
    Patch,
    believe_the_end_at_once,
    trust_every_key,
    wait_for_no_transaction,
)
from tests.support.slow import slow

SLICE = [
    *(Start(kind=kind, ties=ties) for kind, ties in product(KINDS.values(), ((), (2,)))),
    *(Start(kind=KINDS[name], ties=(1, 1), one_page=name == "run test") for name in SERVED),
    *(
        Start(kind=kind, ties=(1, 3, 1), page_size=3, in_flight=2, in_turn=True, changes=1)
        for kind in KINDS.values()
    ),
    *(Start(kind=kind, ties=(8,), one_page=True, changes=1) for kind in KINDS.values()),
    Start(kind=KINDS["run test"], ties=(1,) * 8, holes=frozenset(range(1, 8)), changes=2),
]


@pytest.mark.parametrize("starts", [SLICE[::3], *slow(SLICE)], ids=["some", "all"])
def test_a_slice_of_the_small_worlds(starts: list[Start]) -> None:
    """Whatever two changes do between statements, no list ends in a lie, for a false reason, or never."""
    tallies = run_all(starts)
    assert [tally.examples for tally in tallies.values()] == [{}] * len(KINDS)
    assert all(tally.worlds > 100 for tally in tallies.values()), list(table(tallies))
    assert all(
        tally.complete == tally.worlds for name, tally in tallies.items() if name != "run test, documented"
    )


def test_all_lists_have_up_to_eight_rows_with_ties_and_holes() -> None:
    """The command tries what it says: every kind of list, both page sizes, ties, holes, and two changes."""
    starts = list(all_starts())
    assert {start.kind.name for start in starts if start.changes == 2} == set(KINDS)
    assert {(sum(start.ties), start.page_size) for start in starts if start.changes == 2} >= {(8, 2), (8, 3)}
    assert len({start.ties for start in starts if sum(start.ties) == 4}) == 8
    assert any(len(start.holes) == 8 for start in starts)


def believe_any_front(patch: pytest.MonkeyPatch) -> None:
    """Take page 1 for read far enough, wherever it ends."""

    def take_front(self: KeyCover, result: PageResult, _keys: object) -> None:
        self.covered_at = result.sent_at

    patch.setattr(KeyCover, "_take_front", take_front)


def leave_room(**sizes: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Let pages exceed a list by fewer rows than may be deleted between the server's statements."""
    return lambda patch: patch.setattr(worlds, "SMALL", attrs.evolve(SMALL, **sizes))


LYING: dict[str, tuple[Patch, str, tuple[int, ...]]] = {
    "the end is read again": (believe_the_end_at_once, "test execution", (1, 1, 1)),
    "the front is read back to T - delta": (believe_any_front, "test execution", (1, 1)),
    "delta exceeds the longest transaction": (wait_for_no_transaction, "test execution", (2,)),
    "a whole list leaves room for deletions": (leave_room(room=1), "run test", (1, 1, 1)),
    "a page past the end hangs over by more than is deleted": (leave_room(overhang=1), "run test", (1, 1, 1)),
}

RULES = list(LYING)


@pytest.mark.quick(1)
@pytest.mark.parametrize("rule", [*RULES[1:3], *slow(*RULES[:1], *RULES[3:])])
def test_without_the_rule_some_world_lies(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule there is no fault in any world; without it some are called complete and are not."""
    take_out, kind, ties = LYING[rule]
    start = Start(kind=KINDS[kind], ties=ties)
    assert not Reading(start).run().faults
    take_out(monkeypatch)
    found = Reading(start).run()
    assert any(fault.startswith("A lie") for fault in found.faults)
    assert all("changes: " in example for example in found.examples.values())


def test_a_reason_that_is_not_true_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cover that believes keys newer than their place says that the list is not sorted, which it is."""
    trust_every_key(monkeypatch)
    faults = Reading(Start(kind=KINDS["run test"], ties=(1, 1))).run().faults
    assert any("does not sort" in fault for fault in faults)


def test_a_reading_without_an_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cover that asks for nothing, and concludes nothing, is found."""

    def ask_for_nothing(_self: KeyCover, *_args: Any) -> None:
        return None

    monkeypatch.setattr(KeyCover, "_next_front", ask_for_nothing)
    faults = Reading(Start(kind=KINDS["test execution"], ties=(1, 1, 1), changes=0)).run().faults
    assert faults == {"It does not end.": 1}
