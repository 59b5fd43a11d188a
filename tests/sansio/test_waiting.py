"""Decisions of a wait: what is read next, when all is final, how long until the next look."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import CallExecution, Column, EvalOutput, TestExecutionPage
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.waiting import (
    MAX_POLL_SECONDS,
    SETTLED_SECONDS,
    ListWatch,
    OneCall,
    WholeList,
    poll_delay_seconds,
)

NEWEST = datetime(2026, 1, 8, 9, tzinfo=UTC)
EVALUATION = Column("tone", type="evaluation")


def call(number: int, status: str | None = "completed", *, pending: int = 0, moved: int = 0) -> CallExecution:
    """Return a call; greater numbers are older, ``moved`` ones were saved since."""
    outputs = {f"e{n}": EvalOutput(id=f"e{n}", pending=n < pending) for n in range(2)}
    return CallExecution(
        id=f"call-{number:04}",
        status=status,
        timestamp=NEWEST + timedelta(seconds=moved - number),
        eval_outputs=outputs,
    )


def page(
    calls: Sequence[CallExecution], *, count: int | None = None, status: str | None = "running", **more: Any
) -> TestExecutionPage:
    """Return the first page of a test execution with so many calls."""
    total = len(calls) if count is None else count
    return TestExecutionPage(
        count=total,
        has_next=total > len(calls),
        total_pages=1,
        current_page=1,
        calls=tuple(calls),
        status=status,
        **more,
    )


def read_all(
    watch: ListWatch, calls: Sequence[CallExecution], now: float = 0.0, *, proven: bool = True
) -> None:
    """Let the whole list be read."""
    watch.take_all(watch.remember(calls), now, proven=proven)


def watched(calls: Sequence[CallExecution], status: str = "running") -> ListWatch:
    """Return what is known after the first look at a list of more than a page."""
    watch = ListWatch(has_status=True)
    assert watch.begin() == PageRequest(1, 100)
    assert watch.take_page(page(calls[:100], count=len(calls), status=status), 0.0) == WholeList()
    read_all(watch, calls)
    return watch


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "Completed", " FAILED "])
def test_an_ended_execution_is_final_when_its_calls_are(status: str) -> None:
    """One page that holds the whole list is proof enough; the case of the word does not matter."""
    watch = ListWatch(has_status=True)
    watch.begin()
    assert watch.take_page(page([call(1), call(2, "failed")], status=status), 0.0) is None
    assert watch.is_final(0.0)
    state = watch.state("id", 0.0, 5.0)
    assert (state.status, state.is_final) == (status.strip().lower(), True)
    assert (state.counts, state.pending_evaluations, state.calls) == ({"completed": 1, "failed": 1}, 0, 2)


@pytest.mark.parametrize("status", ["pending", "running", "evaluating", "cancelling", "paused", None])
def test_any_other_word_is_not_the_end(status: str | None) -> None:
    """Also one invented since, and none: what they mean is not known."""
    watch = ListWatch(has_status=True)
    watch.begin()
    watch.take_page(page([call(1)], status=status), 0.0)
    assert not watch.is_final(10**6)


@pytest.mark.parametrize(
    ("unfinished", "pending"),
    [
        (call(1, "ongoing"), 0),
        (call(1, "analyzing"), 0),
        (call(1, "queued"), 0),
        (call(1, "dreaming"), 0),
        (call(1, None), 0),
        (call(1, pending=2), 2),
        (call(1, "ongoing", pending=1), 1),
    ],
)
def test_a_completed_execution_waits_for_calls_and_evaluations(
    unfinished: CallExecution, pending: int
) -> None:
    """However long that takes."""
    watch = ListWatch(has_status=True)
    watch.begin()
    watch.take_page(page([unfinished, call(2)], status="completed"), 0.0)
    assert not watch.is_final(10**6)
    assert watch.state("id", 0.0, 0.0).pending_evaluations == pending


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_stopped_execution_is_final_when_it_has_settled(status: str) -> None:
    """What it did not begin is not waited for; what was under way may end, or stay so for ever."""
    watch = ListWatch(has_status=True)
    watch.begin()
    watch.take_page(page([call(1, "queued"), call(2, "pending")], status=status), 0.0)
    assert watch.is_final(0.0)
    watch.take_page(page([call(1, "ongoing"), call(2, "pending")], status=status), 10.0)
    assert not watch.is_final(10.0 + SETTLED_SECONDS - 1)
    assert watch.is_final(10.0 + SETTLED_SECONDS)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_failed_calls_are_not_evaluated(status: str) -> None:
    """An evaluation that stays pending on them is none to wait for."""
    watch = ListWatch(has_status=True)
    watch.begin()
    watch.take_page(page([call(1, status, pending=1)], status="completed"), 0.0)
    assert watch.is_final(0.0)
    assert watch.state("id", 0.0, 0.0).pending_evaluations == 0


def test_evaluations_that_have_not_begun_are_pending() -> None:
    """A completed call without any result waits for all of them, unless the execution has ended."""
    bare = CallExecution(id="bare", status="completed", timestamp=NEWEST, eval_outputs={})
    for status, pending in (("running", 2), ("completed", 0)):
        watch = ListWatch(has_status=True)
        watch.begin()
        columns = (EVALUATION, EVALUATION, Column("status"))
        watch.take_page(page([bare], status=status, column_order=columns), 0.0)
        assert watch.state("id", 0.0, 0.0).pending_evaluations == pending


def test_a_quiet_execution_costs_one_row_a_look() -> None:
    """The first page of one row shows the status, and that nothing was saved since."""
    calls = [call(n, "ongoing") for n in range(300)]
    watch = watched(calls)
    for _ in range(8):
        assert watch.begin() == PageRequest(1, 1)
        assert watch.take_page(page(calls[:1], count=300), 5.0) is None


def test_changes_are_followed_by_the_first_page() -> None:
    """It grows with them, and what it shows is counted, as long as it reaches what has not changed."""
    calls = [call(n, "ongoing") for n in range(300)]
    watch = watched(calls)
    watch.begin()
    moved = [call(299, moved=400), *calls[:299]]
    assert watch.take_page(page(moved[:1], count=300), 5.0) == PageRequest(1, 100)
    assert watch.take_page(page(moved[:100], count=300), 5.0) is None
    assert watch.begin() == PageRequest(1, 2)
    moved = [call(298, moved=401), *moved[:299]]
    assert watch.take_page(page(moved[:2], count=300), 10.0) is None
    assert watch.state("id", 10.0, 10.0).counts == {"ongoing": 298, "completed": 2}
    assert watch.quiet_seconds(12.0) == 2.0
    watch.begin()
    moved = [call(number, moved=500) for number in range(200)]
    assert watch.take_page(page(moved[:2], count=300), 15.0) == PageRequest(1, 100)
    assert watch.take_page(page(moved[:100], count=300), 15.0) == WholeList()


def test_a_list_that_shrank_is_read_whole() -> None:
    """What was deleted can't be seen on any page."""
    calls = [call(n, "ongoing") for n in range(300)]
    watch = watched(calls)
    watch.begin()
    assert watch.take_page(page(calls[:1], count=299), 5.0) == WholeList()


def test_evaluations_are_followed_by_single_calls() -> None:
    """Their results do not move a call: every other look is at the one that waits longest."""
    calls = [call(n, pending=1 if n in (120, 150, 250, 251) else 0) for n in range(300)]
    watch = watched(calls, "evaluating")
    assert watch.begin() == OneCall("call-0251")
    assert watch.take_call(calls[251], 5.0) is None
    assert watch.begin() == PageRequest(1, 1)
    assert watch.take_page(page(calls[:1], count=300, status="evaluating"), 5.0) is None
    assert watch.begin() == OneCall("call-0251")
    assert watch.take_call(call(251), 9.0) == OneCall("call-0250")
    assert watch.take_call(call(250), 9.0) == OneCall("call-0150")
    assert watch.state("id", 9.0, 9.0).pending_evaluations == 2
    assert watch.take_call(call(150), 9.0) == WholeList()  # that many are done, so most may be


def test_a_call_that_is_gone_makes_the_list_be_read() -> None:
    """Otherwise it would be waited for in vain."""
    watch = watched([call(n, pending=n == 150) for n in range(300)], "completed")
    assert watch.begin() == OneCall("call-0150")
    assert watch.take_call(None, 5.0) == WholeList()


def test_the_end_is_proven_by_the_whole_list() -> None:
    """Small pages can't tell: after the last of them all calls are read, until that is certain."""
    calls = [call(n) for n in range(300)]
    watch = watched(calls)
    assert watch.take_page(page(calls[:1], count=300, status="completed"), 5.0) == WholeList()
    read_all(watch, calls, proven=False)
    assert not watch.is_final(5.0)
    assert watch.take_page(page(calls[:1], count=300, status="completed"), 6.0) == WholeList()
    read_all(watch, calls)
    assert watch.is_final(6.0)


def test_a_proof_holds_for_its_own_look() -> None:
    """A rerun may begin between two of them."""
    watch = watched([call(n) for n in range(300)], "completed")
    assert watch.is_final(0.0)
    watch.begin()
    assert not watch.is_final(0.0)


def test_a_settled_execution_is_read_once_more() -> None:
    """What it left unfinished for a minute is given up, if it is really so."""
    calls = [call(n, "ongoing") for n in range(300)]
    watch = watched(calls, "cancelled")
    watch.begin()
    shown = page(calls[:1], count=300, status="cancelled")
    assert watch.take_page(shown, SETTLED_SECONDS - 1) is None
    assert watch.take_page(shown, SETTLED_SECONDS) == WholeList()
    read_all(watch, calls, SETTLED_SECONDS)
    assert watch.is_final(SETTLED_SECONDS)


def test_the_list_is_read_now_and_then() -> None:
    """Where calls change without moving to the front, small pages show nothing of it."""
    calls = [call(n, "ongoing") for n in range(300)]
    watch = watched(calls)
    answers = []
    for _ in range(10):
        watch.begin()
        answers.append(watch.take_page(page(calls[:1], count=300), 5.0))
    assert answers == [None] * 9 + [WholeList()]


def test_a_small_list_is_read_whole_each_time() -> None:
    """So evaluations are seen at once, and nothing else is needed."""
    watch = ListWatch(has_status=True)
    watch.begin()
    watch.take_page(page([call(n, pending=1) for n in range(12)]), 0.0)
    assert watch.begin() == PageRequest(1, 17)
    assert watch.take_page(page([call(n) for n in range(12)], status="completed"), 5.0) is None
    assert watch.is_final(5.0)


def test_snapshots_are_no_calls() -> None:
    """A call's state before its rerun says nothing of the call."""
    watch = ListWatch(has_status=False)
    snapshot = CallExecution(id="old", status="ongoing", is_snapshot=True)
    watch.begin()
    watch.take_page(page([snapshot, call(1)]), 0.0)
    assert watch.state("id", 0.0, 0.0).counts == {"completed": 1}
    assert watch.is_final(0.0)


@pytest.mark.parametrize(
    ("poll", "quiet", "delay"),
    [(5, 0, 5), (5, 20, 5), (5, 60, 15), (5, 10**6, MAX_POLL_SECONDS), (120, 10**6, 120), (0.1, 8, 2)],
)
def test_looks_are_as_far_apart_as_nothing_changes(poll: float, quiet: float, delay: float) -> None:
    """A quarter of the quiet time, from ``poll`` to a minute, or ``poll`` where that is longer."""
    assert poll_delay_seconds(poll, quiet, 1, None) == delay


@given(
    poll=st.floats(0.01, 100),
    quiet=st.floats(0, 10**6),
    requests=st.integers(1, 500),
    budget=st.integers(1, 10_000),
)
def test_waiting_takes_half_of_the_budget_at_most(
    poll: float, quiet: float, requests: int, budget: int
) -> None:
    """After a look of so many requests, the pause earns twice as many."""
    delay = poll_delay_seconds(poll, quiet, requests, budget)
    assert delay * budget / 60 >= 2 * requests * (1 - 1e-9)
    assert delay >= poll_delay_seconds(poll, quiet, requests, None)
