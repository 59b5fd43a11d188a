"""Test executions that run: what their calls and evaluations look like on the way."""

from collections import Counter
from typing import Any

import pytest

from futureagi_async.testing import Run


@pytest.fixture(params=["served", "documented"])
def timed(request: pytest.FixtureRequest, start: Any) -> Any:
    """Return the way to ask a server on virtual time, in both dialects."""
    return start(demo=False, request_seconds=0.001, dialect=request.param)


def look(ask: Any, execution_id: str) -> tuple[str, dict[str, int], int]:
    """Return the status, the calls by status, and how many evaluations are pending."""
    body = ask.execution(execution_id, limit=1000).json()
    counts = Counter(row["status"] for row in body["results"])
    outputs = [each for row in body["results"] for each in (row["eval_outputs"] or {}).values()]
    return body["status"], dict(counts), sum(each == {} for each in outputs)


def test_a_run_passes_through_all_states(timed: Any) -> None:
    """Calls begin, end and fail on time; evaluations follow, one call after the other."""
    execution_id = timed.server.add_test_execution(20)
    timed.server.run_execution(execution_id, Run(calls_at_once=10, call_seconds=10, evaluation_seconds=18))
    clock = timed.server.clock
    assert look(timed, execution_id) == ("running", {"ongoing": 10, "pending": 10}, 0)
    clock.advance(10.5)
    assert look(timed, execution_id) == ("running", {"completed": 9, "failed": 1, "ongoing": 10}, 0)
    clock.advance(10)
    status, counts, pending = look(timed, execution_id)
    assert (status, counts) == ("evaluating", {"completed": 18, "failed": 2})
    clock.advance(9)
    status, counts, half = look(timed, execution_id)
    assert (status, counts) == ("evaluating", {"completed": 18, "failed": 2})
    assert 0.3 * pending < half < 0.7 * pending
    clock.advance(9)
    assert look(timed, execution_id) == ("completed", {"completed": 18, "failed": 2}, 0)


def test_results_of_evaluations_leave_the_order_alone(timed: Any) -> None:
    """They are saved without the sort key, as the vendor's server does; ended calls move to the front."""
    execution_id = timed.server.add_test_execution(20)
    timed.server.run_execution(execution_id, Run(calls_at_once=5, call_seconds=10, evaluation_seconds=20))
    timed.server.clock.advance(40.5)
    before = timed.server.test_execution_rows(execution_id)
    timed.server.clock.advance(15)
    assert look(timed, execution_id)[0] == "evaluating"
    assert timed.server.test_execution_rows(execution_id) == before


STUCK = {"completed": 7, "ongoing": 3, "pending": 10}


@pytest.mark.parametrize(
    ("ending", "at_once", "at_the_end"),
    [
        ("failed", ("failed", {"completed": 7, "failed": 3, "cancelled": 10}), None),
        ("cancelled", ("cancelling", STUCK), ("cancelled", {"completed": 7, "cancelled": 13})),
        ("stalled", ("running", STUCK), None),
    ],
)
def test_a_run_may_end_otherwise(timed: Any, ending: Any, at_once: Any, at_the_end: Any) -> None:
    """What is under way fails, is cancelled, or stays so for ever; what has not begun never does."""
    execution_id = timed.server.add_test_execution(20)
    timed.server.run_execution(execution_id, Run(calls_at_once=5, ending=ending, ending_after=7))
    timed.server.clock.advance(20.5)
    assert look(timed, execution_id)[:2] == at_once
    timed.server.clock.advance(10_000)
    assert look(timed, execution_id)[:2] == (at_the_end or at_once)


def test_a_run_goes_on_with_the_machine(start: Any) -> None:
    """Without virtual time it can be watched, and hurried up."""
    ask = start()
    execution_id = ask.server.test_execution_ids[0]
    ask.server.run_execution(execution_id)
    assert look(ask, execution_id)[0] == "running"
    ask.server.clock.advance(10_000)
    assert look(ask, execution_id)[0] == "completed"


def test_an_empty_run_ends(timed: Any) -> None:
    """There is nothing to wait for but its evaluations' time."""
    execution_id = timed.server.add_test_execution(0)
    timed.server.run_execution(execution_id)
    assert look(timed, execution_id)[0] == "evaluating"
    timed.server.clock.advance(10)
    assert look(timed, execution_id)[0] == "completed"


def test_a_deleted_execution_does_not_run_on(timed: Any) -> None:
    """Its calls stay deleted."""
    execution_id = timed.server.add_test_execution(10)
    timed.server.run_execution(execution_id)
    timed.server.delete_execution(execution_id)
    timed.server.clock.advance(1_000)
    assert timed.execution(execution_id).status in (404, 500)
    assert not timed.server.test_execution_rows(execution_id)
    with pytest.raises(ValueError, match="no test execution"):
        timed.server.run_execution(execution_id)


@pytest.mark.parametrize(
    "wrong", [{"calls_at_once": 0}, {"call_seconds": 0}, {"evaluation_seconds": -1}, {"ending": "exploded"}]
)
def test_impossible_runs_are_refused(wrong: dict[str, Any]) -> None:
    """When they are made."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Run(**wrong)
