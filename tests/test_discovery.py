"""Run tests, executions, agents and versions: found without knowing an id."""

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from futureagi_async import (
    AgentVersionCalls,
    AgentVersionNamed,
    AllSources,
    AuthenticationError,
    DecodingError,
    FutureAGIError,
    InternalServerError,
    LatestExecution,
    NameLookupError,
    NotFoundError,
    PermissionDeniedError,
    RunTestCalls,
    RunTestNamed,
    Session,
    TestExecutionCalls,
    column,
)
from futureagi_async.testing import StandInServer
from tests.support.raw_server import raw_server
from tests.support.samples import Recording, recordings
from tests.support.sessions import UNKNOWN_ID, FakeClock, answer, open_session, stay_silent

pytestmark = pytest.mark.anyio

RUN_TESTS = "/simulate/run-tests/?"
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def body(*rows: dict[str, Any], **envelope: Any) -> bytes:
    return json.dumps(
        {"count": len(rows), "next": None, "previous": None, "results": rows, **envelope}
    ).encode()


LISTS: dict[str, Callable[[Session], Any]] = {
    "run tests": lambda session: session.list_run_tests(),
    "executions": lambda session: session.list_test_executions(UNKNOWN_ID),
    "agents": lambda session: session.list_agent_definitions(),
    "versions": lambda session: session.list_agent_versions(UNKNOWN_ID),
}
each_list = pytest.mark.parametrize("ask", LISTS.values(), ids=LISTS)


async def test_from_keys_to_calls(server: StandInServer) -> None:
    """Whoever has nothing but keys finds every list of calls, in both dialects."""
    async with open_session(server) as session:
        runs = await session.list_run_tests()
        assert [run.id for run in runs] == list(reversed(server.run_test_ids))
        executions = [each for run in runs for each in await session.list_test_executions(run.id)]
        assert {each.id for each in executions} == set(server.test_execution_ids)
        agents = await session.list_agent_definitions()
        versions = [each for agent in agents for each in await session.list_agent_versions(agent.id)]
        assert {(each.agent_id, each.id) for each in versions} > set(server.agent_versions)
        result = await session.fetch_calls([runs[1].calls(), executions[0].calls(), versions[0].calls()])
    assert result.report.complete
    assert all(source.received for source in result.report)
    run = next(run for run in runs if run.name == "Checkout flow")
    assert (run.source_type, run.agent_definition_id) == ("agent_definition", server.agent_versions[0][0])
    assert run.last_run_at is not None
    assert run.created_at is not None
    assert run.created_at < run.last_run_at
    assert {each.status for each in executions} == {"completed", "evaluating", "failed"}
    assert all(each.success_rate is not None and each.started_at is not None for each in executions)
    assert not any(value.misfits for value in (*runs, *executions, *agents, *versions))


async def test_what_is_found_is_a_source(served: StandInServer) -> None:
    """Its choices are those of the source."""
    async with open_session(served) as session:
        (run,) = await session.list_run_tests(search="checkout")
        (execution,) = await session.list_test_executions(run.id)
        version, _ = await session.list_agent_versions(served.agent_versions[0][0])
    assert run.calls(search="parcel", status="failed") == RunTestCalls(
        run.id, search="parcel", status="failed"
    )
    low = column("overall_score").between(0, 3)
    assert execution.calls(search="parcel", filters=[low]) == TestExecutionCalls(
        execution.id, search="parcel", filters=[low]
    )
    assert version.calls() == AgentVersionCalls(version.agent_id, version.id)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        run.name = "other"  # type: ignore[misc] # what is tested
    assert pickle.loads(pickle.dumps(run)) == copy.deepcopy(run) == run


async def test_choices_go_to_the_server(server: StandInServer) -> None:
    """Names in any case; kinds and states in the server's words, however a caller writes a state."""
    async with open_session(server) as session:
        assert [run.name for run in await session.list_run_tests("SUPPORT")] == ["Refund chats"]
        assert await session.list_run_tests(simulation_type="prompt") == ()
        assert len(await session.list_run_tests(simulation_type="agent_definition")) == 3
        (chat,) = await session.list_agent_definitions(agent_type="text")
        assert (chat.name, chat.agent_type) == ("Support bot", "text")
        assert len(await session.list_agent_definitions("assistant")) == 1
        small = server.run_test_ids[2]
        for status, found in (("failed", 1), ("FAILED", 1), ("completed", 0)):
            assert len(await session.list_test_executions(small, status)) == found
        assert await session.list_test_executions(small, search="nothing like it") == ()


async def test_nothing_is_there() -> None:
    """An empty workspace has empty lists."""
    with StandInServer(demo=False) as server:
        async with open_session(server) as session:
            assert await session.list_run_tests() == await session.list_agent_definitions() == ()
            assert await session.all_sources() == ()


@pytest.mark.slow
async def test_thousands_of_runs(served: StandInServer) -> None:
    """A hundred a page, each once, newest first; the end is where no next page is announced."""
    for number in range(2_030):
        served.add_run_test(1, slim=True, name=f"Night {number}")
    async with open_session(served) as session:
        runs = await session.list_run_tests()
    assert len({run.id for run in runs}) == len(runs) == 2_033
    assert [run.name for run in runs[:2030]] == [f"Night {number}" for number in range(2029, -1, -1)]
    assert [request.query for request in served.requests] == [
        {"page": str(page), "limit": "100"} for page in range(1, 22)
    ]


async def test_a_run_created_between_two_pages_costs_nothing(served: StandInServer) -> None:
    """It moves a row to the next page, where it is met again: it comes once."""
    for number in range(150):
        served.add_run_test(1, slim=True, name=f"Night {number}")
    before = set(served.run_test_ids)

    def add_once(event: object) -> None:
        if type(event).__name__ == "ResponseReceived" and len(served.requests) < 2 and not added:
            added.append(served.add_run_test(1, slim=True, name="Late"))

    added: list[str] = []
    async with open_session(served, observers=[add_once]) as session:
        runs = await session.list_run_tests()
    assert added
    names = [run.name for run in runs]
    assert len(names) == len(set(names)) == 154
    assert before <= {run.id for run in runs}
    assert names[0] == "Late"


async def test_a_row_that_a_deletion_hid_is_found() -> None:
    """A row moves to a page that was read already: the counts tell, and the list is read again."""
    with StandInServer(request_seconds=1.0, demo=False) as server:
        run_test = server.add_run_test(250, slim=True, executions=(1,) * 250)
        executions = server.run_test_executions(run_test)
        server.delete_execution(executions[-1], after_seconds=1.5)
        async with open_session(server) as session:
            found = {each.id for each in await session.list_test_executions(run_test)}
    assert found == set(executions[:-1])
    assert [request.query["page"] for request in server.requests] == ["1", "2", "3", "1", "2", "3"]


ENDS = {
    "a 404": (404, {"message": "Invalid page."}),
    "the 500 of run tests": (500, {"message": "Failed to retrieve run tests: Invalid page."}),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_past_the_end_is_the_end(served: StandInServer, end: tuple[int, Any]) -> None:
    """A list that shrank between two pages ends there; that is no failure, and not asked for again."""
    status, message = end
    served.respond(RUN_TESTS, body=body({"id": ONE, "name": "x"}, next="https://x.invalid/?page=2"))
    served.fail(RUN_TESTS, status=status, body=message)
    async with open_session(served) as session:
        assert [run.id for run in await session.list_run_tests()] == [ONE]
    assert len(served.requests) == 2


async def test_a_next_that_never_ends(served: StandInServer) -> None:
    """A page that brings nothing new is the last, whatever it announces."""
    served.respond(RUN_TESTS, body=body({"id": ONE}, {"id": TWO}, next="https://x.invalid/?page=2"), times=99)
    async with open_session(served) as session:
        assert [run.id for run in await session.list_run_tests()] == [ONE, TWO]
    assert [request.query["page"] for request in served.requests] == ["1", "2"]


async def test_failures_are_those_of_every_read(served: StandInServer) -> None:
    """Retries within the policy, one error with its facts, and 404 for what nobody knows."""
    served.fail(RUN_TESTS, status=503, times=2)
    async with open_session(served, clock=FakeClock()) as session:
        assert len(await session.list_run_tests()) == 3
        assert len(served.requests) == 3
    async with open_session(served, clock=FakeClock()) as session:
        served.fail(RUN_TESTS, status=500, times=99)
        with pytest.raises(InternalServerError) as caught:
            await session.list_run_tests()
        assert caught.value.path == "/simulate/run-tests/"
        assert caught.value.attempts > 1
        for ask in (LISTS["executions"], LISTS["versions"]):
            with pytest.raises(NotFoundError):
                await ask(session)
        served.clear_faults()
        served.fail(RUN_TESTS, status=401)
        with pytest.raises(AuthenticationError):
            await session.list_run_tests()


WRONG: dict[str, tuple[Callable[[Session], Any], type[Exception], str]] = {
    "a kind": (
        lambda s: s.list_run_tests(simulation_type="other"),
        ValueError,
        "'agent_definition' or 'prompt'",
    ),
    "a type": (lambda s: s.list_agent_definitions(agent_type="fax"), ValueError, "'voice' or 'text'"),
    "an id": (lambda s: s.list_test_executions("abc"), ValueError, "run_test_id must be a UUID"),
    "no id": (lambda s: s.list_agent_versions(None), TypeError, "agent_id must be a UUID"),
    "an empty search": (lambda s: s.list_run_tests(" "), ValueError, "search must not be empty"),
    "a search that is none": (lambda s: s.list_agent_definitions(5), TypeError, "search must be a str"),
    "two states": (lambda s: s.list_test_executions(ONE, "failed,done"), ValueError, "must be one word"),
    "kinds": (lambda s: s.all_sources(["runs"]), ValueError, "kinds must be 'run_tests' or 'agent_versions'"),
    "a text": (lambda s: s.all_sources("run_tests"), TypeError, "kinds must be a list"),
    "no source": (lambda s: s.find_sources(["Checkout flow"]), TypeError, "name of one is expected"),
    "no kinds": (lambda s: s.all_sources([]), ValueError, "kinds must not be empty"),
    "a date": (lambda s: s.all_sources(since="yesterday"), TypeError, "since must be a datetime"),
    "no zone": (lambda s: s.all_sources(since=datetime(2026, 1, 1)), ValueError, "must name its zone"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_wrong_arguments(
    served: StandInServer, wrong: tuple[Callable[[Session], Any], type[Exception], str]
) -> None:
    """They are refused before any request, with what would do."""
    ask, kind, said = wrong
    async with open_session(served) as session:
        with pytest.raises(kind, match=said):
            await ask(session)
    assert not served.requests


async def test_values_of_other_types_cost_their_field(served: StandInServer) -> None:
    """The value is kept beside the field; with ``strict`` it is an error with its place."""
    row = {
        "id": ONE.upper(),
        "name": 7,
        "agent_version": {"id": ["x"], "name": "v1", "configuration_snapshot": {"api_key": "canary"}},
        "last_run_at": "yesterday",
        "created_at": "2026-01-31T10:00:00",
        "huge": 0,
    }
    sent = body(row, {"id": TWO, "created_at": "9999-12-31T23:59:59-12:00"}).replace(
        b'"huge": 0', b'"huge": 1e999'
    )
    served.respond(RUN_TESTS, body=sent)
    async with open_session(served) as session:
        run, other = await session.list_run_tests()
    assert (run.id, run.name, run.agent_version_id, run.last_run_at) == (ONE, None, None, None)
    assert run.created_at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert run.misfits == {
        "name": 7,
        "agent_version_id": {"id": ["x"], "name": "v1"},
        "last_run_at": "yesterday",
    }
    assert run.extra == {"huge": "1e999"}
    assert other.misfits == {"created_at": "9999-12-31T23:59:59-12:00"}
    served.respond(RUN_TESTS, body=sent)
    async with open_session(served, strict=True) as session:
        with pytest.raises(DecodingError, match="Expected `str") as caught:
            await session.list_run_tests()
    assert caught.value.json_path == "$.results[0].name"


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "no id": (body({"name": "x"}), "$.results[0].id"),
    "an id that is none": (body({"id": ONE}, {"id": "abc"}), "$.results[1].id"),
    "a number": (body({"id": 5}), "$.results[0].id"),
    "no object": (b'{"results": [5]}', "$.results[0]"),
    "no results": (b'{"count": 5}', "$"),
    "a list": (b"[]", "$"),
    "not UTF-8": (b'{"results": [{"id": "\xff"}]}', "$.results[0]"),
    "a page of a proxy": (b"<html>", "$"),
    "deeply nested": (b'{"results": ' + b"[" * 100_000, "$"),
}


@each_list
@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
async def test_what_can_not_be_used(
    served: StandInServer, ask: Callable[[Session], Any], unusable: tuple[bytes, str]
) -> None:
    """A record without an id, and what is no list, is one error that names the place and quotes nothing."""
    sent, place = unusable
    served.respond("/simulate/", body=sent, times=99)
    async with open_session(served, clock=FakeClock()) as session:
        with pytest.raises(DecodingError) as caught:
            await ask(session)
    assert caught.value.json_path == place
    assert (caught.value.status, caught.value.body) == (200, None)
    assert caught.value.path is not None


@pytest.mark.parametrize("levels", [90, 110, 700])
async def test_an_object_that_can_not_be_looked_into_is_not_kept(served: StandInServer, levels: int) -> None:
    """A hundred levels are looked into, with every Python; more cost their key, not the list."""
    deep = b'{"a":' * levels + b'"canary"' + b"}" * levels
    sent = body({"id": ONE, "odd": 0, "name": "x"}).replace(b'"odd": 0', b'"odd": ' + deep)
    served.respond(RUN_TESTS, body=sent)
    async with open_session(served) as session:
        (run,) = await session.list_run_tests()
    assert (run.name, dict(run.extra)) == ("x", {"odd": json.loads(deep)} if levels < 100 else {})


# Names and everything


async def test_names_become_sources(server: StandInServer) -> None:
    """Names, ids and sources in any mixture, each once, in order; what has an id costs no request."""
    checkout, chats, _ = server.run_test_ids
    agent, version = server.agent_versions[0]
    async with open_session(server) as session:
        found = await session.find_sources(
            [
                AgentVersionNamed("Checkout assistant", "v1"),
                RunTestNamed(" Checkout flow ", status="failed"),
                RunTestNamed(chats.upper()),
                LatestExecution("Checkout flow", search="parcel"),
                AgentVersionNamed("Checkout assistant", "latest"),
                AgentVersionNamed(agent, "v1"),
                RunTestCalls(chats),
            ]
        )
        versions = {each.name: each for each in await session.list_agent_versions(agent)}
        asked = len(server.requests)
        assert await session.find_sources(AgentVersionNamed(agent, version)) == (
            AgentVersionCalls(agent, version),
        )
        assert len(server.requests) == asked
    assert found == (
        versions["v1"].calls(),
        RunTestCalls(checkout, status="failed"),
        RunTestCalls(chats),
        TestExecutionCalls(server.test_execution_ids[0], search="parcel"),
        versions["v2"].calls(),
    )
    assert asked == 5  # the run test, its executions, the agent, its versions; and the versions above


async def test_the_latest_execution_is_the_newest(server: StandInServer) -> None:
    """Not the first that was made."""
    run_test = server.add_run_test(9, slim=True, executions=(2, 3, 4), name="Thrice")
    newest = server.run_test_executions(run_test)[-1]
    async with open_session(server) as session:
        assert await session.find_sources([LatestExecution("Thrice")]) == (TestExecutionCalls(newest),)
        for execution in server.run_test_executions(run_test):
            server.delete_execution(execution)
        with pytest.raises(NameLookupError, match="has not run yet"):
            await session.find_sources([LatestExecution("Thrice")])


async def test_a_name_that_several_have(served: StandInServer) -> None:
    """The error has the ids and names of all of them; names that only contain it are not meant."""
    again = served.add_run_test(1, slim=True, name="Checkout flow")
    served.add_run_test(1, slim=True, name="Checkout flow (old)")
    async with open_session(served) as session:
        with pytest.raises(
            NameLookupError, match="More than one run test is named 'Checkout flow'"
        ) as caught:
            await session.find_sources([RunTestNamed("Checkout flow")])
    both = ((again, "Checkout flow"), (served.run_test_ids[0], "Checkout flow"))
    assert caught.value.candidates == both
    assert all(id_ in str(caught.value) for id_, _ in both)
    assert pickle.loads(pickle.dumps(caught.value)).candidates == both


UNKNOWN: dict[str, tuple[Any, str]] = {
    "a run test": (RunTestNamed("checkout flow"), "No run test is named 'checkout flow'. There are: "),
    "an agent": (AgentVersionNamed("Nobody", "v1"), "No agent is named 'Nobody'. There are: "),
    "a version": (
        AgentVersionNamed("Support bot", "v9"),
        "No version of agent 'Support bot' is named 'v9'. There",
    ),
    "a run test's last": (LatestExecution("%"), "No run test is named '%'. There are: "),
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN)
async def test_a_name_that_nothing_has(served: StandInServer, unknown: tuple[Any, str]) -> None:
    """The error says what there is, with ids, ten of them at most."""
    for number in range(12):
        served.add_run_test(1, slim=True, name=f"Night {number}", agent_name=f"Agent {number}")
    name, said = unknown
    async with open_session(served) as session:
        with pytest.raises(NameLookupError) as caught:
            await session.find_sources([name])
    assert str(caught.value).startswith(said)
    assert caught.value.candidates
    assert all(id_ in str(caught.value) for id_, _ in caught.value.candidates[:10])
    if len(caught.value.candidates) > 10:
        assert caught.value.candidates[10][0] not in str(caught.value)
        assert str(caught.value).endswith(f"and {len(caught.value.candidates) - 10} more.")


async def test_everything(server: StandInServer) -> None:
    """Every run test, then every agent version, each newest first; or one of the kinds."""
    async with open_session(server) as session:
        runs = [run.calls() for run in await session.list_run_tests()]
        found = await session.all_sources()
        assert list(found[:3]) == runs
        pairs = {
            (each.agent_id, each.version_id) for each in found[3:] if isinstance(each, AgentVersionCalls)
        }
        assert pairs > set(server.agent_versions)
        assert len(found) == 3 + len(pairs) == 7
        assert list(await session.all_sources(["run_tests"])) == runs
        assert await session.all_sources(["agent_versions", "run_tests"]) == found[3:] + found[:3]
        assert await session.find_sources([AllSources()]) == found


async def test_everything_that_ran_since(server: StandInServer) -> None:
    """Run tests by their last run, and the versions of the agents that they have; never run is never."""
    async with open_session(server) as session:
        runs = await session.list_run_tests()
        newest = server.add_run_test(5, name="Fresh", versions=2)
        last = [run.last_run_at for run in await session.list_run_tests() if run.id == newest]
        moment = max(run.last_run_at for run in runs if run.last_run_at)
        assert last[0] is not None
        if last[0] <= moment:
            moment = last[0]
        found = await session.all_sources(since=moment - timedelta(seconds=1))
        assert RunTestCalls(newest) in found
        assert await session.all_sources(since=moment + timedelta(days=1)) == ()
        assert len(await session.all_sources(since=timedelta(days=365 * 100))) == len(
            await session.all_sources()
        )


def run_row(number: int, last_run_at: str | None, agent: str | None) -> dict[str, Any]:
    id_ = f"{number:08}-0000-4000-8000-000000000000"
    return {"id": id_, "name": f"Run {number}", "last_run_at": last_run_at, "agent_definition": agent}


async def test_versions_by_the_last_run_of_their_agent(served: StandInServer) -> None:
    """An agent without a later run is not asked for its versions."""
    (first, _), *_ = served.agent_versions
    rows = [
        run_row(1, "2026-01-31T10:00:00Z", first),
        run_row(2, "2026-01-30T10:00:00Z", None),
        run_row(3, None, None),
        run_row(4, "2026-01-31T09:00:00Z", None),
    ]
    served.respond(RUN_TESTS, body=body(*rows))
    async with open_session(served) as session:
        found = await session.all_sources(since=datetime(2026, 1, 31, 9, tzinfo=UTC))
    assert found[0] == RunTestCalls(rows[0]["id"])
    assert {each.agent_id for each in found[1:] if isinstance(each, AgentVersionCalls)} == {first}
    assert len(found) == 3
    assert sum("/versions/" in request.path for request in served.requests) == 1


async def test_an_agent_that_is_deleted_meanwhile(served: StandInServer) -> None:
    """It has no versions; any other failure is raised."""
    served.fail("/versions/", status=404)
    async with open_session(served) as session:
        assert len(await session.all_sources()) < 7
        served.fail("/versions/", status=403)
        with pytest.raises(PermissionDeniedError):
            await session.all_sources()


# The vendor's answers


def expected(key: str, row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {field: row[key] for field, key in names.items()}


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@pytest.mark.parametrize("recording", recordings("discovery", that=lambda one: one.status == 200))
async def test_recorded_answers(served: StandInServer, recording: Recording) -> None:
    """Every value of an answer of the vendor's is in its field, or in ``extra``; no secret is in either."""
    if "results" not in recording.json:
        pytest.skip("not one of the lists")
    served.respond("/simulate/", body=recording.body.replace(b'"next": "http', b'"next": null, "was": "http'))
    async with open_session(served, strict=True) as session:
        kind, found = await read_like(session, recording)
    rows = recording.json["results"]
    assert sorted(value.id for value in found) == sorted(row["id"] for row in rows)
    by_id = {row["id"]: row for row in rows}
    for value in found:
        row = by_id[value.id]
        for field, key in FIELDS[kind].items():
            assert getattr(value, field) == READ.get(field, lambda sent: sent)(row[key]), (field, key)
        for key in row.keys() - set(FIELDS[kind].values()) - {"id"} - WITHHELD:
            assert key in value.extra, key
        assert not value.misfits
        assert not WITHHELD & set(value.extra)
        assert "+1555" not in repr(value.extra)


WITHHELD = {"agent_definition_detail", "contact_number", "websocket_headers", "websocket_url"}
FIELDS = {
    "run tests": {
        "name": "name",
        "description": "description",
        "agent_definition_id": "agent_definition",
        "agent_version_id": "agent_version",
        "source_type": "source_type",
        "last_run_at": "last_run_at",
        "created_at": "created_at",
    },
    "executions": {
        "status": "status",
        "started_at": "start_time",
        "duration": "duration",
        "success_rate": "success_rate",
        "agent_definition": "agent_definition",
        "agent_version": "agent_version",
    },
    "agents": {
        "name": "agent_name",
        "agent_type": "agent_type",
        "provider": "provider",
        "inbound": "inbound",
        "latest_version": "latest_version",
        "latest_version_id": "latest_version_id",
    },
    "versions": {
        "version_number": "version_number",
        "name": "version_name",
        "status": "status",
        "is_active": "is_active",
        "is_latest": "is_latest",
        "created_at": "created_at",
    },
}
READ: dict[str, Callable[[Any], Any]] = {
    "last_run_at": moment,
    "created_at": moment,
    "started_at": moment,
    "status": str.lower,
    "agent_version_id": lambda sent: sent and sent["id"],
}


async def read_like(session: Session, recording: Recording) -> tuple[str, tuple[Any, ...]]:
    """Read the list that a recording is an answer of."""
    parts = recording.path.strip("/").split("/")
    if parts[-1] == "executions":
        return "executions", await session.list_test_executions(parts[2])
    if parts[-1] == "versions":
        return "versions", await session.list_agent_versions(parts[2])
    if parts[-1] == "agent-definitions":
        return "agents", await session.list_agent_definitions()
    return "run tests", await session.list_run_tests()


# Secrets


def check_no_canary(canary: str, *shown: object) -> None:
    for one in shown:
        texts = [repr(one), str(one), repr(getattr(one, "__dict__", ""))]
        texts.append(pickle.dumps(one).decode("latin1"))
        assert not any(canary in text for text in texts), one


def check_error(canary: str, error: BaseException) -> None:
    """Assert that neither an error nor a traceback with variables shows a secret, however it is looked at."""
    chain: BaseException | None = error
    while chain is not None:
        assert canary not in repr(vars(chain)) + repr(chain.args) + str(chain)
        chain = chain.__cause__ or chain.__context__
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "/tests/" not in frame.filename]
    assert frames
    assert canary not in "".join(str(frame.locals) for frame in frames)
    if isinstance(error, FutureAGIError):
        check_no_canary(canary, error)


async def test_secrets_stay_out(server: StandInServer, caplog: pytest.LogCaptureFixture) -> None:
    """No value, pickle, log line or event holds one of those that the server sends with its lists."""
    caplog.set_level(logging.DEBUG)
    events: list[object] = []
    async with open_session(server, observers=[events.append]) as session:
        found = [
            *await session.list_run_tests(),
            *await session.list_agent_definitions(),
            *await session.list_test_executions(server.run_test_ids[0]),
            *await session.list_agent_versions(server.agent_versions[0][0]),
        ]
    assert len(found) > 6
    for value in found:
        check_no_canary(server.canary, value, attrs.asdict(value), dict(value.extra))
    check_no_canary(server.canary, *events, caplog.text)


NAMES = """agentDefinitionDetail apiKey API_KEY livekit_config_json LivekitUrl websocketHeaders authorization
    authentication_method client_secret accessToken password passphrase credentials x-auth private_key cookie
    signature phone_number contactNumber customer_number configuration_snapshot webhook_url dsn""".split()


@pytest.mark.parametrize("name", NAMES)
async def test_names_that_suggest_a_secret(served: StandInServer, name: str) -> None:
    """What stands under them is not kept, at whatever depth, nor where it is a misfit."""
    nested = {"harmless": [{name: {"x": "canary"}, "kept": 1}]}
    served.respond(RUN_TESTS, body=body({"id": ONE, name: "canary", "more": nested, "name": nested}))
    async with open_session(served) as session:
        (run,) = await session.list_run_tests()
    check_no_canary("canary", run, dict(run.extra), dict(run.misfits))
    assert run.extra == {"more": {"harmless": [{"kept": 1}]}}
    assert run.misfits == {"name": {"harmless": [{"kept": 1}]}}


def broken(canary: str) -> dict[str, bytes]:
    secret = {"api_key": canary, "agent_definition_detail": {"livekit_api_key": canary}}
    return {
        "no list": json.dumps(secret).encode(),
        "cut": body({"id": ONE, **secret})[:-4],
        "no id": body({**secret}),
        "an id that is a secret": body({"id": canary, **secret}),
        "not UTF-8": body({**secret}).replace(b"canary", b"\xff canary"),
        "a twin": b'{"results": [], "' + b'api_key": "x", "api_key": "' + canary.encode() + b'"}',
    }


@each_list
@pytest.mark.parametrize("kind", broken("canary"))
async def test_errors_quote_nothing(
    served: StandInServer, ask: Callable[[Session], Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that can't be used is not quoted, as it may hold secrets where nobody would look for them."""
    caplog.set_level(logging.DEBUG)
    events: list[object] = []
    served.respond("/simulate/", body=broken("canary")[kind], times=99)
    async with open_session(served, clock=FakeClock(), observers=[events.append]) as session:
        with pytest.raises(DecodingError) as caught:
            await ask(session)
    check_error("canary", caught.value)
    check_no_canary("canary", *events, caplog.text)


@each_list
async def test_refusals_quote_nothing(served: StandInServer, ask: Callable[[Session], Any]) -> None:
    """Nor is the body of an error kept; what the server says in it is."""
    served.fail("/simulate/", status=400, body={"message": "bogus: Unknown field.", "api_key": "canary"})
    async with open_session(served) as session:
        with pytest.raises(FutureAGIError, match="bogus: Unknown field") as caught:
            await ask(session)
    check_error("canary", caught.value)


async def test_a_cancelled_read_shows_nothing() -> None:
    """A traceback with variables of a read that is given up has nothing of what had arrived."""
    import anyio

    half = body({"id": ONE, "api_key": "canary"})

    async def send_half(reader: Any, writer: Any) -> None:
        await answer(half, length=len(half) + 10)(reader, writer)
        sent.set()
        await stay_silent(reader, writer)

    import threading

    sent = threading.Event()
    async with raw_server(send_half) as server, open_session(server) as session:
        caught: list[BaseException] = []

        async def read() -> None:
            try:
                await session.list_run_tests()
            except BaseException as error:
                caught.append(error)
                raise

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while not sent.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(0.001)
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
    check_error("canary", caught[0])
