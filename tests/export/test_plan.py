"""What an export would cost: near the truth, for some small requests."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    CallExecution,
    CallPage,
    CallSource,
    MinuteBudget,
    NotFoundError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    TLSError,
)
from futureagi_async.export import export_calls, plan_export
from futureagi_async.export.plan import (
    SAMPLE_ROWS,
    TIMED_ROWS,
    Conditions,
    PageCost,
    Sample,
    estimate,
    parallelism_of,
    reading_of,
)
from futureagi_async.testing import ServerCost, StandInServer
from tests.support.exports import pages_asked
from tests.support.raw_server import raw_server
from tests.support.sessions import FakeClock, answer, open_session, tls_contexts
from tests.support.slow import slow


@pytest.mark.anyio
async def test_a_plan_is_near_the_truth(server: StandInServer, tmp_path: Path) -> None:
    """Records, requests and bytes are about what the export then reads; a plan costs some small requests."""
    sources = [
        RunTestCalls(server.add_run_test(1_500, slim=True)),
        RunTestCalls(server.run_test_ids[1]),
        AgentVersionCalls(*server.agent_versions[0]),
        TestExecutionCalls(server.test_execution_ids[2]),
    ]
    async with open_session(server) as session:
        plan = await plan_export(session, sources, transcripts=True)
        limits = [int(request.query["limit"]) for request in server.requests if "limit" in request.query]
        assert limits[: len(sources)] == [SAMPLE_ROWS] * len(sources)
        assert set(limits[len(sources) :]) == set(TIMED_ROWS)
        assert sum(limits) < plan.records / 2
        server.clear_requests()
        report = await export_calls(session, sources, tmp_path / "c.jsonl", transcripts=True)
    assert [each.source for each in plan.sources] == sources
    assert plan.known
    assert plan.records == sum(source.expected or 0 for source in report.fetch)
    assert sum(each.requests for each in plan.sources) == pytest.approx(pages_asked(server), rel=0.5)
    details = sum(each.detail_requests for each in plan.sources)
    assert details == pytest.approx(report.transcripts_fetched, rel=0.5, abs=5)
    assert plan.requests == details + sum(each.requests for each in plan.sources)
    assert plan.bytes == pytest.approx(report.bytes, rel=0.6)
    assert plan.seconds > 0


LISTS: dict[str, tuple[ServerCost, bool, Callable[[StandInServer], list[CallSource]]]] = {
    "short lists": (
        ServerCost(seconds_per_row=0.01, workers=4),
        False,
        lambda server: [TestExecutionCalls(server.add_test_execution(30, slim=True)) for _ in range(8)],
    ),
    "a list in one page": (
        ServerCost(seconds_per_row=0.01, workers=4),
        False,
        lambda server: [RunTestCalls(server.add_run_test(120, slim=True))],
    ),
    "a long list, four workers": (
        ServerCost(seconds_per_row=0.01, workers=4),
        False,
        lambda server: [RunTestCalls(server.add_run_test(330, slim=True))],
    ),
    "a long list, one worker": (
        ServerCost(seconds_per_row=0.004, workers=1),
        False,
        lambda server: [RunTestCalls(server.add_run_test(1_100, slim=True))],
    ),
    "a long list, many workers": (
        ServerCost(seconds_per_request=0.05, seconds_per_row=0.004, workers=40),
        False,
        lambda server: [RunTestCalls(server.add_run_test(1_300, slim=True))],
    ),
    "details": (
        ServerCost(seconds_per_request=0.02, seconds_per_row=0.01, workers=3),
        True,
        lambda server: [TestExecutionCalls(server.add_test_execution(60))],
    ),
}


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("case", ["short lists", *slow(*(LISTS.keys() - {"short lists"}))])
async def test_a_plan_tells_the_time_to_a_factor_of_two(case: str, tmp_path: Path) -> None:
    """On a server whose answers take what requests and rows cost, however many of them it makes at once.

    A pause of the machine during one of the two makes a comparison worthless: three are made at most.
    """
    cost, transcripts, make_sources = LISTS[case]
    ratios: list[float] = []
    with StandInServer(cost=cost) as server:
        sources = make_sources(server)
        while len(ratios) < 3 and not (ratios and 0.5 <= ratios[-1] <= 2):
            async with open_session(server) as session:
                plan = await plan_export(session, sources, transcripts=transcripts)
            async with open_session(server) as session:
                began = anyio.current_time()
                target = tmp_path / f"{len(ratios)}.jsonl"
                await export_calls(session, sources, target, transcripts=transcripts)
            ratios.append(plan.seconds / (anyio.current_time() - began))
    assert 0.5 <= ratios[-1] <= 2, ratios


@pytest.mark.anyio
async def test_a_list_that_can_not_be_read_is_in_the_plan(served: StandInServer) -> None:
    """Its error is told, and the others are planned."""
    sources = [RunTestCalls(uuid4()), RunTestCalls(served.run_test_ids[0])]
    async with open_session(served) as session:
        plan = await plan_export(session, sources)
    assert isinstance(plan.sources[0].error, NotFoundError)
    assert plan.sources[1].records > 0
    assert not plan.known


@pytest.mark.anyio
async def test_refused_keys_end_a_plan(served: StandInServer) -> None:
    """One refusal says all: the other lists are not asked for."""
    sources = [RunTestCalls(served.run_test_ids[0])] * 20
    async with Session("wrong", served.secret_key, served.base_url) as session:
        with pytest.raises(AuthenticationError):
            await plan_export(session, sources)
    assert len(served.requests) < len(sources)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "error"), [({"page_size": 0}, ValueError), ({"sources": ["x"]}, TypeError)]
)
async def test_wrong_arguments_are_refused(
    served: StandInServer, wrong: dict[str, Any], error: type[Exception]
) -> None:
    """The same arguments are wrong for a plan as for an export."""
    arguments = {"sources": [RunTestCalls(uuid4())], **wrong}
    async with open_session(served) as session:
        with pytest.raises(error):
            await plan_export(session, arguments.pop("sources"), **arguments)
    assert not served.requests


@pytest.mark.anyio
async def test_limits_of_the_session_stretch_a_plan(served: StandInServer) -> None:
    """A plan for few requests a minute takes the minutes that they need, and itself one request."""
    sources = [RunTestCalls(served.add_run_test(1_500, slim=True))]
    async with open_session(served, max_requests_per_minute=10) as session:
        plan = await plan_export(session, sources, page_size=10)
    assert len(served.requests) == 1
    assert plan.seconds == pytest.approx(await seconds_granted(10, plan.requests))


@pytest.mark.anyio
@pytest.mark.parametrize("per_minute", [1, 5, 60, 600, 10_000])
async def test_the_allowance_of_a_minute_is_the_sessions(per_minute: int) -> None:
    """What so many requests take is what the session's own budget makes of them."""
    limits = conditions(max_requests_per_minute=per_minute)
    for requests in (1, per_minute // 10 + 1, 3 * per_minute):
        expected = await seconds_granted(per_minute, requests)
        assert limits.seconds_allowed(requests) == pytest.approx(expected)
    assert conditions().seconds_allowed(10**6) == 0


@pytest.mark.anyio
async def test_a_refusal_ends_a_plan_at_once(served: StandInServer) -> None:
    """Nobody waits for the lists that were asked for beside the one that was refused."""
    refused, slow = served.run_test_ids[:2]
    served.fail(refused, status=401)
    served.stall(slow, times=10)
    async with open_session(served) as session:
        with pytest.raises(AuthenticationError), anyio.fail_after(10):
            await plan_export(session, [RunTestCalls(slow), RunTestCalls(refused)])


@pytest.mark.anyio
async def test_a_server_that_can_not_be_trusted_ends_a_plan() -> None:
    """A certificate that nobody knows is the server's, not one list's."""
    tls, _ = tls_contexts()
    async with raw_server(answer(), tls=tls) as untrusted, open_session(untrusted) as session:
        with pytest.raises(TLSError):
            await plan_export(session, [RunTestCalls(uuid4())] * 20)


@pytest.mark.anyio
async def test_what_can_not_be_timed_is_estimated(served: StandInServer) -> None:
    """Where nothing but the first pages is answered, their times have to do."""
    source = TestExecutionCalls(served.add_test_execution(200))
    for rows in TIMED_ROWS:
        served.fail(f"limit={rows}", status=404, times=100, body={"message": "gone"})
    served.fail("/call-executions/", status=404, times=100, body={"message": "gone"})
    async with open_session(served) as session:
        plan = await plan_export(session, source, transcripts=True)
    assert plan.known
    assert plan.sources[0].detail_requests == 200
    assert plan.seconds > 0


async def seconds_granted(per_minute: int, requests: int) -> float:
    """Return how long the budget of a session takes to grant so many requests."""
    clock = FakeClock()
    budget, began = MinuteBudget(per_minute, clock=clock), clock.now
    while requests:
        lease = await budget.lease(1)
        requests -= lease.granted
        clock.now += lease.wait_seconds
    return clock.now - began


def conditions(**changes: Any) -> Conditions:
    """Return how an export without further wishes is made."""
    usual: dict[str, Any] = {
        "page_size": 100,
        "transcripts": False,
        "max_in_flight": 16,
        "max_requests_per_minute": None,
    }
    return Conditions(**usual | changes)


def page_of(count: int, rows: int, seconds: float) -> CallPage:
    """Return a page that took some time."""
    calls = tuple(CallExecution(id=f"{number}", raw=b"x" * 50, transcript=None) for number in range(rows))
    return CallPage(count=count, has_next=False, total_pages=1, current_page=1, calls=calls, elapsed=seconds)


def test_two_pages_tell_what_a_row_costs() -> None:
    """One page alone is taken for its rows' work; times that make no sense give no negative cost."""
    cost = PageCost.measured(page_of(100, 10, 0.3), page_of(100, 30, 0.5))
    assert (cost.fixed, cost.per_row) == (pytest.approx(0.2), pytest.approx(0.01))
    assert PageCost.measured(page_of(100, 5, 0.5)) == PageCost(0.0, 0.1)
    assert PageCost.measured(page_of(0, 0, 0.5), page_of(0, 0, 0.4)) == PageCost(0.5, 0.0)
    assert PageCost.measured(page_of(100, 10, 0.5), page_of(100, 30, 0.1)) == PageCost(0.5, 0.0)
    assert PageCost.measured(page_of(100, 10, 0.01), page_of(100, 30, 0.5)).fixed == 0


@pytest.mark.parametrize(
    ("count", "requests"),
    [(0, 1), (90, 1), (91, 2), (100, 2), (500, 2), (10_000, 112)],
)
def test_run_tests_are_read_in_one_page_or_many(count: int, requests: int) -> None:
    """Pages that wait for each other, as many as the cover makes; empty lists do not divide by 0."""
    cost = PageCost(0.0, 0.001)
    reading = reading_of(RunTestCalls(uuid4()), count, cost, page_size=100, patience=3)
    assert reading.requests == pytest.approx(requests, abs=2 if requests > 10 else 0)
    other = reading_of(TestExecutionCalls(uuid4()), count, cost, page_size=100, patience=3)
    assert other.requests == reading.requests + (count <= 90) + (count > 100)


def test_a_page_that_takes_too_long_is_no_way() -> None:
    """What one page would take decides between that and pages at once, as it does for an export."""
    slow = PageCost(0.0, 0.01)
    assert reading_of(RunTestCalls(uuid4()), 400, slow, page_size=100, patience=3).at_once == 4
    assert reading_of(RunTestCalls(uuid4()), 400, slow, page_size=100, patience=15).at_once == 0
    assert reading_of(RunTestCalls(uuid4()), 990, PageCost(0, 0), page_size=100, patience=3).at_once == 10


def test_lists_beside_each_other_share_the_server() -> None:
    """The work of all is divided by what the server does at once; one long list takes its own time."""
    source = RunTestCalls(uuid4())
    short = Sample(source=source, page=page_of(50, 5, 0.05), cost=PageCost(0.0, 0.01))
    long = Sample(source=source, page=page_of(500, 5, 0.05), cost=PageCost(0.0, 0.001))
    assert estimate([short] * 8, conditions(parallelism=4)).seconds == pytest.approx(8 * 0.5 / 4)
    assert estimate([long], conditions(parallelism=4)).seconds == pytest.approx(0.1 + 0.5)
    details = conditions(parallelism=4, transcripts=True, detail_seconds=0.2)
    assert estimate([short] * 8, details).seconds == pytest.approx(8 * 0.5 / 4 + 8 * 50 * 0.2 / 4)
    assert estimate([short], details).sources[0].seconds == pytest.approx(0.5 + 50 * 0.2)


@pytest.mark.parametrize("begin_with", [4, 8, 16])
def test_what_a_server_does_at_once_is_found_to_a_factor_of_two(begin_with: int) -> None:
    """Whatever its workers, though a session sends but a few requests at once to begin with; each case."""
    for workers, pages, times in product(range(1, 41), range(4, 17), range(1, 5)):
        most = min(16, pages * times)
        found = parallelism_of(1.0, serve(workers, pages, begin_with), most=most)
        assert 0.5 <= found / min(workers, most) <= 2, (workers, pages, times)


def serve(workers: int, pages: int, begin_with: int) -> list[tuple[float, float]]:
    """Play a server of so many workers and a client that sends one more for each answer; in page times."""
    free_at, ends, spans = [0.0] * workers, list[float](), list[tuple[float, float]]()
    for number in range(pages):
        answered = max(0, -(-(number + 1 - begin_with) // 2))  # each makes room for two more
        sent = sorted(ends)[answered - 1] if answered else 0.0
        ends.append(max(sent, heappop(free_at)) + 1.0)
        heappush(free_at, ends[-1])
        spans.append((sent, ends[-1]))
    return spans


def test_parallelism_without_measures_is_what_will_be_asked_for() -> None:
    """Answers that took no time, or none at all, do not divide by 0; those one after another are 1."""
    assert parallelism_of(0.0, [(1.0, 1.0)] * 4, most=8) == 8
    assert parallelism_of(0.1, [], most=8) == 8
    assert parallelism_of(0.1, [(0.0, 0.1), (0.0, 0.2), (0.0, 0.3)], most=8) == pytest.approx(1)


def test_a_server_that_gets_slower_with_each_page_makes_fewer() -> None:
    """Where no page stands in line but all take longer, that counts as well."""
    assert parallelism_of(0.1, [(0.0, 0.14)] * 8, most=8) == pytest.approx(8 / 1.4)
