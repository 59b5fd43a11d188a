"""Filters that the server would ignore without a word: told before the first record is delivered."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from futureagi_async import (
    BadRequestError,
    FetchResult,
    Filter,
    FilterIgnoredError,
    InternalServerError,
    RetryPolicy,
    Session,
    TestExecutionCalls,
    column,
    export_calls,
)
from futureagi_async.testing import StandInServer
from tests.support.exports import names_in
from tests.support.sessions import FakeClock, RawServer, answer, open_session, read_body, respond

pytestmark = pytest.mark.anyio


@pytest.fixture
def documented() -> Iterator[StandInServer]:
    """Run a stand-in that answers as the documents promise."""
    with StandInServer(dialect="documented") as running:
        yield running


Read = Callable[[Session, TestExecutionCalls, Path], Awaitable[object]]


async def _stream(session: Session, source: TestExecutionCalls, _: Path) -> object:
    async with session.stream_calls(source) as stream:
        return [call async for call in stream]


READS: dict[str, Read] = {
    "get_page": lambda session, source, _: session.get_page(source),
    "get_test_execution": lambda session, source, _: session.get_test_execution(
        source.test_execution_id, filters=source.filters
    ),
    "stream_calls": _stream,
    "fetch_calls": lambda session, source, _: session.fetch_calls(source),
    "fetch_calls, fast": lambda session, source, _: session.fetch_calls(source, consistency="fast"),
    "export_calls": lambda session, source, folder: export_calls(session, source, folder / "calls.jsonl"),
}


def columns_of(server: StandInServer, execution_id: str) -> list[dict[str, Any]]:
    """Return a test execution's columns as the server lists them."""
    page = read_body(server, f"/simulate/test-executions/{execution_id}/?limit=1")
    return list(page["column_order"])


def evaluation_id(server: StandInServer, execution_id: str, name: str) -> str:
    """Return the id of the evaluation of a name."""
    (found,) = (one for one in columns_of(server, execution_id) if one["column_name"] == name)
    return str(found["id"])


@pytest.mark.parametrize("read", READS)
async def test_a_column_that_the_server_does_not_know_is_refused(
    served: StandInServer, tmp_path: Path, read: str
) -> None:
    """No way of reading delivers rows that a filter should have left out; the error names the nearest."""
    source = TestExecutionCalls(served.test_execution_ids[0], filters=[column("priorty").equals("high")])
    async with open_session(served) as session:
        with pytest.raises(FilterIgnoredError, match=r"no column 'priorty' .*Similar columns: 'prio"):
            await READS[read](session, source, tmp_path)
    assert len(served.requests) == 2
    assert not names_in(tmp_path)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("Politeness", "'eval:Politeness'"),
        ("goal reached", "'eval:Goal Reached'"),
        ("Overall Score", "'overall_score'"),
        ("Status", "'status'"),
        ("ideal outcome", "'Ideal Outcome'"),
        ("eval:Politness", "'eval:Politeness'"),
        ("persona.gendr", "'persona.gender'"),
        ("zzz", "Its own columns are 'situation', 'Ideal Outcome', 'priority', 'eval:Politeness', "),
    ],
)
async def test_the_nearest_name_is_told(served: StandInServer, given: str, nearest: str) -> None:
    """Names of evaluations and of columns, and built-in columns in another spelling, lead to what works."""
    source = TestExecutionCalls(served.test_execution_ids[0], filters=[column(given).equals("x")])
    _play_persona(served, source)
    async with open_session(served) as session:
        with pytest.raises(FilterIgnoredError) as caught:
            await session.get_page(source)
    assert nearest in str(caught.value)
    assert (caught.value.status, caught.value.method) == (200, "GET")


def _play_persona(server: StandInServer, source: TestExecutionCalls) -> None:
    """Let the stand-in, which knows no filter on personas, ignore a misspelled one as the vendor's does."""
    if source.filters[0].column_id.startswith("persona."):
        page = read_body(server, f"/simulate/test-executions/{source.test_execution_id}/?limit=1")
        respond(server, "filters=", page, times=2)


async def test_a_deleted_evaluation_is_refused(served: StandInServer) -> None:
    """Its id stands in rows of the run test still, but the server ignores a filter on it."""
    run_test, execution_id = served.run_test_ids[0], served.test_execution_ids[0]
    rows = read_body(served, f"/simulate/run-tests/{run_test}/call-executions/?limit=1000")["results"]
    live = {one["id"] for one in columns_of(served, execution_id)}
    (deleted,) = {id_ for row in rows for id_ in row["eval_outputs"] or ()} - live
    source = TestExecutionCalls(execution_id, filters=[column(deleted).greater_than(50)])
    async with open_session(served) as session:
        with pytest.raises(FilterIgnoredError, match="deleted evaluations do not count"):
            await session.fetch_calls(source)


def known_filters(server: StandInServer, execution_id: str) -> list[Filter]:
    """Return filters of all kinds that the served API applies."""
    columns = columns_of(server, execution_id)
    (outcome,) = (one for one in columns if one["column_name"] == "Ideal Outcome")
    (id_,) = outcome["dataset_column_ids"]
    return [
        column("status").equals("completed"),
        column("overall_score").between(2, 8),
        column("Ideal Outcome").contains("e"),
        column(id_.upper()).contains("e"),
        column(f"scenario_{outcome['scenario_id']}_dataset_{id_}").contains("e"),
        column(evaluation_id(server, execution_id, "Politeness")).greater_than(50),
    ]


async def test_columns_that_are_known_cost_nothing(served: StandInServer) -> None:
    """Built-in columns, the dataset's in every form, and evaluations by id take no further request."""
    execution_id = served.test_execution_ids[0]
    filters = known_filters(served, execution_id)
    async with open_session(served) as session:
        for item in filters:
            page = await session.get_page(TestExecutionCalls(execution_id, filters=[item]))
            assert page.calls
    assert len(served.requests) == len(filters)


async def test_an_evaluation_is_found_by_its_name(server: StandInServer, tmp_path: Path) -> None:
    """Once a read the name becomes the id; the caller's source is what calls and report tell of."""
    execution_id = server.test_execution_ids[0]
    id_ = evaluation_id(server, execution_id, "Politeness")
    by_id = TestExecutionCalls(execution_id, filters=[column(id_).greater_than(50)])
    by_name = TestExecutionCalls(execution_id, filters=[column("eval:Politeness").greater_than(50)])
    async with open_session(server) as session:
        expected = await session.fetch_calls(by_id)
        server.clear_requests()
        result = await session.fetch_calls(by_name)
        asked = [request.query for request in server.requests]
        report = await export_calls(session, by_name, tmp_path / "calls.jsonl")
        page = await session.get_test_execution(execution_id, filters=by_name.filters)
    assert asked[0] == {"page": "1", "limit": "1"}
    assert all(json.loads(query["filters"])[0]["column_id"] == id_ for query in asked[1:])
    assert len(asked) > 2
    ids = {call.id for call in expected.calls}
    assert 0 < len(ids) < len(server.test_execution_rows(execution_id))
    assert {call.id for call in result.calls} == ids
    assert result.report.complete
    assert {call.source for call in result.calls} == {by_name}
    assert result.report.sources[0].source == by_name
    assert report.records == page.count == len(ids)


async def test_groups_take_evaluations_by_name_too(documented: StandInServer) -> None:
    """Where groups can be filtered, a name reaches the server as the id that it stands for."""
    execution_id = documented.test_execution_ids[0]
    id_ = evaluation_id(documented, execution_id, "Politeness")
    async with open_session(documented) as session:
        filters = [column("eval:Politeness").greater_than(50)]
        groups = await session.get_groups(execution_id, row_groups=["scenario"], filters=filters)
    assert groups.groups
    assert json.loads(documented.requests[-1].query["filters"])[0]["column_id"] == id_


@pytest.mark.parametrize("read", READS)
async def test_a_name_of_several_evaluations_is_refused(
    served: StandInServer, tmp_path: Path, read: str
) -> None:
    """Nothing is guessed: the ids to choose from are told, and no filtered page is asked for."""
    execution_id = served.test_execution_ids[0]
    page = read_body(served, f"/simulate/test-executions/{execution_id}/?limit=1")
    twins = [one for one in page["column_order"] if one.get("type") == "evaluation"][:2]
    twins[1]["column_name"] = twins[0]["column_name"]
    respond(served, "limit=1", page)
    source = TestExecutionCalls(execution_id, filters=[column("eval:Politeness").greater_than(50)])
    async with open_session(served) as session:
        with pytest.raises(
            FilterIgnoredError, match="2 evaluations of this test execution are named"
        ) as caught:
            await READS[read](session, source, tmp_path)
    assert all(one["id"] in str(caught.value) for one in twins)
    assert len(served.requests) == 1


async def test_an_execution_without_columns_has_no_names(served: StandInServer) -> None:
    """An answer that lists no columns can't tell what a name stands for."""
    respond(served, "limit=1", {"count": 1, "results": []})
    filters = [column("eval:Politeness").greater_than(50)]
    async with open_session(served) as session:
        with pytest.raises(
            FilterIgnoredError, match=r"No evaluation .* 'Politeness'\. The test execution has no columns of"
        ):
            await session.get_test_execution(served.test_execution_ids[0], filters=filters)


async def test_wrong_arguments_come_before_the_names(served: StandInServer) -> None:
    """A page that can't be asked for is refused before the columns are looked at."""
    filters = [column("eval:Politeness").greater_than(50)]
    execution_id = served.test_execution_ids[0]
    async with open_session(served) as session:
        with pytest.raises(ValueError, match="limit must be from 1"):
            await session.get_test_execution(execution_id, filters=filters, limit=0)
        with pytest.raises(ValueError, match="row_groups must not be empty"):
            await session.get_groups(execution_id, filters=filters, row_groups=[])
    assert not served.requests


def hidden_column(served: StandInServer, execution_id: str, name: str) -> tuple[str, dict[str, Any]]:
    """Return an evaluation's id, and an answer whose columns lack it, though the server applies it."""
    id_ = evaluation_id(served, execution_id, name)
    page = read_body(served, f"/simulate/test-executions/{execution_id}/?limit=3")
    page["column_order"] = [one for one in page["column_order"] if one["id"] != id_]
    return id_, page


@pytest.mark.parametrize(
    "narrow",
    [
        lambda id_: column(id_).greater_than(50),
        lambda id_: column(id_).equals("Passed"),
        lambda id_: column(id_).equals(True),
    ],
    ids=["number", "text", "bool"],
)
async def test_a_column_that_is_applied_is_never_refused(
    served: StandInServer, narrow: Callable[[str], Filter]
) -> None:
    """An evaluation that the execution does not list is tried out, and what the server applies is read."""
    execution_id = served.test_execution_ids[0]
    id_, page = hidden_column(served, execution_id, "Politeness")
    respond(served, "filters=", page)
    source = TestExecutionCalls(execution_id, filters=[narrow(id_)])
    async with open_session(served) as session:
        found = await session.get_page(source)
    assert len(found.calls) == 3
    assert len(served.requests) == 2


async def test_a_column_is_tried_out_once_a_read(served: StandInServer) -> None:
    """However many pages lack it, and however many of them are read at once."""
    execution_id = served.add_test_execution(1_500, slim=True)
    id_ = evaluation_id(served, execution_id, "Politeness")
    source = TestExecutionCalls(execution_id, filters=[column(id_).between(-1, 101)])
    expected = await _read(served, source)
    async with relay(served, lambda page, _: remove_column(page, id_)) as (raw, session):
        result = await session.fetch_calls([source, source])
    assert result.report.complete
    assert len(result.calls) == 2 * len(expected.calls)
    limits = [query_of(request)["limit"] for request in raw.requests]
    assert limits.count(["1"]) == 1
    assert len(limits) > 10


async def test_an_evaluation_deleted_while_it_is_read_ends_the_read(served: StandInServer) -> None:
    """From then on pages come unfiltered: none of their calls is delivered, and the list is incomplete."""
    execution_id = served.add_test_execution(1_500, slim=True)
    id_ = evaluation_id(served, execution_id, "Politeness")
    source = TestExecutionCalls(execution_id, filters=[column(id_).between(20, 40)])
    matching = len((await _read(served, source)).calls)

    def change(page: dict[str, Any], number: int) -> None:
        if number > 1:
            remove_column(page, id_)
            page["count"] = page["count"] or 1_500  # of an unfiltered list, as also the probe's

    async with relay(served, change) as (_, session):
        result = await session.fetch_calls(source, on_error="collect")
        with pytest.raises(FilterIgnoredError, match=f"no column '{id_}'"):
            await session.fetch_calls(source)
    (report,) = result.report
    assert report.verdict == "incomplete"
    assert any(isinstance(failure, FilterIgnoredError) for failure in report.failures)
    assert len(result.calls) <= 100 < matching


async def _read(server: StandInServer, source: TestExecutionCalls) -> FetchResult:
    async with open_session(server) as session:
        return await session.fetch_calls(source)


@asynccontextmanager
async def relay(
    server: StandInServer, change: Callable[[dict[str, Any], int], None]
) -> AsyncIterator[tuple[RawServer, Session]]:
    """Read through a server that changes what the stand-in answers; it is told the request's number, too."""

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, number = raw.requests[-1], len(raw.requests)
        path = head.split(b" ")[1].decode()
        page, date = await asyncio.to_thread(fetch, path)
        change(page, number)
        await answer(json.dumps(page).encode(), head=f"Date: {date}\r\n")(_, writer)

    def fetch(path: str) -> tuple[dict[str, Any], str]:
        keys = {"X-Api-Key": server.api_key, "X-Secret-Key": server.secret_key}
        with urlopen(Request(server.base_url + path, headers=keys), timeout=10) as response:
            return json.load(response), response.headers["Date"]

    async with RawServer() as raw:
        raw.play_on(play)
        async with open_session(raw) as session:
            yield raw, session


def remove_column(page: dict[str, Any], id_: str) -> None:
    """Let a page not list a column."""
    page["column_order"] = [one for one in page["column_order"] if one["id"] != id_]


def query_of(request: bytes) -> dict[str, list[str]]:
    """Return the query of a request's head."""
    return parse_qs(urlsplit(request.split(b" ")[1].decode()).query)


async def test_a_failing_server_proves_nothing(served: StandInServer) -> None:
    """Where the column can't be tried out, the read fails rather than to deliver what may be unfiltered."""
    execution_id = served.test_execution_ids[0]
    source = TestExecutionCalls(execution_id, filters=[column("priorty").equals("high")])
    served.fail("limit=1", status=503, times=100, after=1)
    async with open_session(served, clock=FakeClock(), retry=RetryPolicy(attempts=2)) as session:
        with pytest.raises(InternalServerError):
            await session.get_page(source)


async def test_a_server_that_refuses_the_value_knows_the_column(served: StandInServer) -> None:
    """A final refusal shows that the server looked at the column: what was asked for is delivered."""
    execution_id = served.test_execution_ids[0]
    id_, page = hidden_column(served, execution_id, "Politeness")
    respond(served, "filters=", page)
    served.fail("limit=1", status=500, body={"message": "invalid input syntax for type numeric"})
    async with open_session(served) as session:
        found = await session.get_page(
            TestExecutionCalls(execution_id, filters=[column(id_).greater_than(1)])
        )
    assert len(found.calls) == 3


async def test_without_columns_nothing_is_refused(served: StandInServer) -> None:
    """A server that lists no columns may know more of them than are to be seen."""
    execution_id = served.test_execution_ids[0]
    page = read_body(served, f"/simulate/test-executions/{execution_id}/?limit=3")
    for columns in ([], None):
        respond(served, "filters=", page | {"column_order": columns})
        async with open_session(served) as session:
            found = await session.get_page(
                TestExecutionCalls(execution_id, filters=[column("priorty").equals("high")])
            )
        assert len(found.calls) == 3
    assert len(served.requests) == 2


async def test_the_documented_server_refuses_itself(documented: StandInServer) -> None:
    """Its own 400 is the error, as it was."""
    source = TestExecutionCalls(documented.test_execution_ids[0], filters=[column("priorty").equals("x")])
    async with open_session(documented) as session:
        with pytest.raises(BadRequestError, match="priorty"):
            await session.get_page(source)


async def test_an_empty_page_hides_nothing(served: StandInServer) -> None:
    """Without rows there is nothing unfiltered to deliver, and nothing is tried out."""
    execution_id = served.test_execution_ids[0]
    filters = [
        column("priorty").equals("x"),
        column("status").equals("ongoing"),
        column("duration").equals(-1),
    ]
    async with open_session(served) as session:
        page = await session.get_test_execution(execution_id, filters=filters)
    assert page.calls == ()
    assert len(served.requests) == 1


async def test_an_export_keeps_its_other_lists(served: StandInServer, tmp_path: Path) -> None:
    """The list with the wrong filter is incomplete and says why; no row of it is written."""
    wrong, right = served.test_execution_ids[:2]
    sources = [
        TestExecutionCalls(wrong, filters=[column("priorty").equals("high")]),
        TestExecutionCalls(right),
    ]
    async with open_session(served) as session:
        report = await export_calls(session, sources, tmp_path / "calls.jsonl")
    refused, read = report.fetch.sources
    assert (refused.verdict, refused.received) == ("incomplete", 0)
    assert "Similar columns: 'priority'" in str(refused.failures[0])
    assert (read.verdict, report.records) == ("complete", len(served.test_execution_rows(right)))
