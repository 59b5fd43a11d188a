"""The lists in which ids are found, in both dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

NOBODY = "00000000-0000-4000-8000-000000000000"
RUN_TESTS = "/simulate/run-tests/"
AGENTS = "/simulate/agent-definitions/"


@pytest.fixture(params=["served", "documented"])
def either(start: Any, request: pytest.FixtureRequest) -> Any:
    """Return the way to ask a stand-in with the sample data, once in each dialect."""
    return start(dialect=request.param)


def executions_of(run_test: str) -> str:
    return f"{RUN_TESTS}{run_test}/executions/"


def versions_of(agent: str) -> str:
    return f"{AGENTS}{agent}/versions/"


def ids(reply: Any) -> list[str]:
    assert reply.status == 200, reply.body
    return [row["id"] for row in reply.json()["results"]]


def names(reply: Any, key: str = "name") -> list[str]:
    assert reply.status == 200, reply.body
    return [row[key] for row in reply.json()["results"]]


def test_from_the_names_to_the_calls(either: Any) -> None:
    """Every id in the lists is known to the endpoints for calls, and the other way round."""
    server = either.server
    run_tests = either(RUN_TESTS).json()["results"]
    assert [row["id"] for row in run_tests] == list(reversed(server.run_test_ids))
    assert names(either(RUN_TESTS))[1:] == ["Refund chats", "Checkout flow"]
    executions = [id_ for row in run_tests for id_ in ids(either(executions_of(row["id"])))]
    assert executions == list(reversed(server.test_execution_ids))
    agents = either(AGENTS).json()["results"]
    assert names(either(AGENTS), "agent_name")[1:] == ["Support bot", "Checkout assistant"]
    versions = {(row["id"], id_) for row in agents for id_ in ids(either(versions_of(row["id"])))}
    assert versions > set(server.agent_versions)
    for pair in versions:
        assert either.version(pair, limit=1).status == 200
    for row in run_tests:
        assert row["agent_definition"] == row["agent_definition_detail"]["id"]
        assert (row["agent_definition"], row["agent_version"]["id"]) in versions
    (call, *_) = server.test_execution_rows(server.test_execution_ids[1])
    assert either.detail(call).json()["agent_definition_used_name"] == "Support bot"
    assert either.detail(call).json()["agent_definition_used_id"] == agents[1]["id"]


def test_versions_are_listed_latest_first(either: Any) -> None:
    """The latest is active, the others are archived; the agent names it as its latest."""
    agent, first = either.server.add_agent_version(6, slim=True, versions=3, agent_name="Night desk")
    rows = either(versions_of(agent)).json()["results"]
    assert [(row["version_number"], row["version_name"]) for row in rows] == [(3, "v3"), (2, "v2"), (1, "v1")]
    assert [(row["status"], row["is_active"], row["is_latest"]) for row in rows] == [
        ("active", True, True),
        ("archived", False, False),
        ("archived", False, False),
    ]
    assert rows[-1]["id"] == first
    (row,) = either(AGENTS, search="night").json()["results"]
    assert (row["latest_version"], row["latest_version_id"]) == (3, rows[0]["id"])
    assert either.version((agent, rows[1]["id"])).json()["count"] == 2


def test_executions_tell_what_their_calls_say(ask: Any, ask_documented: Any) -> None:
    """The same figures as the KPIs', each dialect under its own names."""
    for each, status in ((ask, "Evaluating"), (ask_documented, "EVALUATING")):
        run_test, execution = each.server.run_test_ids[1], each.server.test_execution_ids[1]
        (row,) = each(executions_of(run_test)).json()["results"]
        kpis = each.kpis(execution).json()
        assert row["status"] == status
        if each is ask:
            assert row["calls_attempted"] == kpis["calls_attempted"]
            assert row["connected_calls"] == kpis["connected_calls"]
            assert (row["total_chats"], row["calls"]) == (120, 0)
            assert row["start_time"].endswith("+00:00")
            assert (row["agent_definition"], row["agent_version"]) == ("Support bot", "v1")
        else:
            assert (row["total_calls"], row["failed_calls"]) == (120, kpis["failed_calls"])
            assert (row["run_test"], row["completed_at"]) == (run_test, None)
            assert row["agent_definition_used_name"] == "Support bot"
            assert len(row["scenario_ids"]) == row["total_scenarios"] == 3
        assert 0 < row["success_rate"] < 100


def test_the_newest_comes_first_and_deleted_executions_do_not_come(either: Any) -> None:
    """Executions are listed by their beginning; a run test's last one is when it ran last."""
    server = either.server
    run_test = server.add_run_test(9, slim=True, executions=(2, 3, 4), name="Thrice")
    oldest, middle, newest = server.run_test_executions(run_test)
    assert ids(either(executions_of(run_test))) == [newest, middle, oldest]
    server.delete_execution(middle)
    assert ids(either(executions_of(run_test))) == [newest, oldest]
    (row,) = either(RUN_TESTS, search="thrice").json()["results"]
    moment = "start_time" if server.dialect == "served" else "created_at"
    began = either(executions_of(run_test)).json()["results"][0][moment]
    assert row["last_run_at"] == began.replace("+00:00", "Z")
    assert row["created_at"] < row["last_run_at"]


def test_search_and_filters(either: Any) -> None:
    """Names of run tests and of agents, in any case; types and statuses exactly."""
    server = either.server
    prompt = server.add_run_test(
        3, slim=True, source_type="prompt", name="Prompt of Support", agent_name="Nobody"
    )
    assert names(either(RUN_TESTS, search="SUPPORT")) == ["Prompt of Support", "Refund chats"]
    assert names(either(RUN_TESTS, search="nobody")) == []
    assert names(either(RUN_TESTS, search=" checkout ")) == ["Checkout flow"]
    assert ids(either(RUN_TESTS, simulation_type="prompt")) == [prompt]
    assert len(ids(either(RUN_TESTS, simulation_type="agent_definition"))) == 3
    assert ids(either(RUN_TESTS, prompt_template_id=NOBODY)) == []
    assert names(either(AGENTS, search="BOT"), "agent_name") == ["Support bot"]
    assert names(either(AGENTS, agent_type="text"), "agent_name") == ["Support bot"]
    pinned = server.agent_versions[0][0]
    found = ids(either(AGENTS, agent_definition_id=pinned))
    assert found == [pinned, *(id_ for id_ in ids(either(AGENTS)) if id_ != pinned)]
    path = executions_of(server.run_test_ids[2])
    assert ids(either(path, status="failed")) == [server.test_execution_ids[2]]
    assert ids(either(path, status="completed")) == []
    assert len(ids(either(path, search="parcel"))) == 1
    assert ids(either(path, search="nothing like it")) == []


def test_a_prompt_has_no_agent(either: Any) -> None:
    """Neither in the lists nor in its calls; its executions say so."""
    server = either.server
    run_test = server.add_run_test(12, source_type="prompt", snapshots=2)
    row = either(RUN_TESTS, limit=1).json()["results"][0]
    assert (row["id"], row["source_type"]) == (run_test, "prompt")
    for key in ("agent_definition", "agent_version", "agent_definition_detail"):
        assert row[key] is None
    assert len(ids(either(AGENTS))) == 3
    (execution,) = ids(either(executions_of(run_test)))
    row = either(executions_of(run_test)).json()["results"][0]
    assert row["agent_definition" if server.dialect == "served" else "agent_definition_used_name"] is None
    assert either.execution(execution).json()["provider"] == "prompt"
    call = either.detail(server.test_execution_rows(execution)[0]).json()
    assert call.get("agent_definition_used_name") is call.get("agent_definition_used_id") is None
    with pytest.raises(ValueError, match="no agent"):
        server.add_agent_version(1, source_type="prompt")


def test_a_prompts_snapshot_breaks_its_page(ask: Any) -> None:
    """The served view misses the agent in it: 500 for this page, while pages of calls alone are well."""
    run_test = ask.server.add_run_test(30, source_type="prompt", snapshots=1)
    statuses = {ask.run_test(run_test, limit=1, page=page).status for page in range(1, 32)}
    assert statuses == {200, 500}
    whole = ask.run_test(run_test, limit=100)
    assert (whole.status, "agent_definition_used_name" in whole.json()["message"]) == (500, True)


def test_pages(either: Any) -> None:
    """Ten rows by default; links, and where they are promised, numbers of pages."""
    for number in range(20):
        either.server.add_run_test(1, slim=True, name=f"More {number}")
    assert len(ids(either(RUN_TESTS))) == len(ids(either(AGENTS))) == 10
    pages = [either(RUN_TESTS, limit=9, page=page).json() for page in (1, 2, 3)]
    assert [len(page["results"]) for page in pages] == [9, 9, 5]
    assert [page["next"] is not None for page in pages] == [True, True, False]
    assert {row["id"] for page in pages for row in page["results"]} == set(ids(either(RUN_TESTS, limit=100)))
    assert pages[0]["next"] == f"{either.server.base_url}{RUN_TESTS}?limit=9&page=2"
    assert pages[0]["count"] == 23
    numbers = [(page.get("total_pages"), page.get("current_page")) for page in pages]
    assert numbers == ([(3, 1), (3, 2), (3, 3)] if either.server.dialect == "served" else [(None, None)] * 3)


def test_the_end_of_served_lists(ask: Any) -> None:
    """A 500 on run tests and executions, a 404 on agents and versions."""
    server = ask.server
    agent = server.agent_versions[0][0]
    for path, status, message in (
        (RUN_TESTS, 500, "Failed to retrieve run tests: Invalid page."),
        (executions_of(server.run_test_ids[0]), 500, "Failed to retrieve test executions: Invalid page."),
        (AGENTS, 404, "Invalid page."),
        (versions_of(agent), 404, "Invalid page."),
    ):
        reply = ask(path, page=99)
        assert (reply.status, reply.json()["message"]) == (status, message)


def test_the_end_of_documented_lists(ask_documented: Any) -> None:
    """Empty, as on the other documented lists."""
    for path in (RUN_TESTS, AGENTS):
        reply = ask_documented(path, page=99)
        assert (reply.status, reply.json()["results"], reply.json()["next"]) == (200, [], None)


def test_wrong_parameters(ask: Any, ask_documented: Any) -> None:
    """Served run tests refuse unknown names and values, other served lists nothing; the documents page 0."""
    for query, attr in (
        ({"bogus": "1"}, "bogus"),
        ({"format": "xml"}, "format"),
        ({"limit": "many"}, "limit"),
        ({"page": "0"}, "page"),
        ({"simulation_type": "other"}, "simulation_type"),
    ):
        reply = ask(RUN_TESTS, **query)
        assert (reply.status, reply.json()["attr"]) == (400, attr)
    assert len(ids(ask(AGENTS, limit="many", bogus="1"))) == 3
    assert ask_documented(RUN_TESTS, bogus="1").status == 200
    assert ask_documented(RUN_TESTS, page="0").status == 400
    assert ask_documented(AGENTS, limit="-1").status == 400


def test_unknown_things_are_not_found(either: Any) -> None:
    """404 for a run test and an agent of nobody, 401 without keys, HTML for what is no id."""
    assert either(executions_of(NOBODY)).status == 404
    assert either(versions_of(NOBODY)).status == 404
    assert either(RUN_TESTS, keys=False).status == 401
    assert either(executions_of("nope")).headers["Content-Type"].startswith("text/html")
    redirect = either(RUN_TESTS[:-1])
    assert (redirect.status, redirect.headers["Location"]) == (301, RUN_TESTS)
    assert "DELETE" in either(AGENTS).headers["Allow"]


def test_the_id_of_a_name(ask: Any, ask_documented: Any) -> None:
    """Exact names only, the newest of several; the documents know no such endpoint."""
    server = ask.server
    by_name = f"{RUN_TESTS}get-id-by-name/"
    reply = ask(f"{by_name}Checkout%20flow/")
    found = {"run_test_id": server.run_test_ids[0], "run_test_name": "Checkout flow"}
    assert reply.json() == {"status": True, "result": found}
    again = server.add_run_test(1, slim=True, name="Checkout flow")
    assert ask(f"{by_name}Checkout%20flow/").json()["result"]["run_test_id"] == again
    assert ask(f"{by_name}Checkout/").status == 404
    documented = ask_documented(f"{by_name}Checkout%20flow/")
    assert (documented.status, documented.headers["Content-Type"][:9]) == (404, "text/html")


def test_secrets_are_canaries(either: Any) -> None:
    """Every value that must not be kept says that it is one, on run tests and on agents."""
    canary = either.server.canary
    run_test, agent = either(RUN_TESTS).json()["results"][0], either(AGENTS).json()["results"][0]
    detail = run_test["agent_definition_detail"]
    for key in ("contact_number", "websocket_headers"):
        assert canary in json.dumps(agent[key])
        assert canary in json.dumps(detail[key])
    for key in ("api_key", "livekit_api_key", "livekit_config_json", "authentication_method"):
        assert canary in json.dumps(detail[key])
    other = {key: value for key, value in run_test.items() if key != "agent_definition_detail"}
    assert canary not in json.dumps(other)
    assert either.server.api_key not in json.dumps([run_test, agent])


def test_a_run_test_added_between_pages_moves_the_others(either: Any) -> None:
    """It comes first, so that the last row of the page before comes again, and none is lost."""
    before = ids(either(RUN_TESTS, limit=2, page=1))
    added = either.server.add_run_test(1, slim=True)
    after = ids(either(RUN_TESTS, limit=2, page=2))
    assert after[0] == before[1]
    assert ids(either(RUN_TESTS, limit=1)) == [added]
    assert either(RUN_TESTS).json()["count"] == 4


def test_reading_discovery_lists_takes_virtual_time(start: Any) -> None:
    """A request is a request; an execution that is deleted by then is not listed."""
    ask = start(request_seconds=0.5)
    run_test, execution = ask.server.run_test_ids[0], ask.server.test_execution_ids[0]
    ask.server.delete_execution(execution, after_seconds=0.6)
    assert ids(ask(executions_of(run_test))) == [execution]
    assert ids(ask(executions_of(run_test))) == []
    first, second = ask.server.requests
    assert (second.started, second.ended - first.started) == (first.ended, pytest.approx(1.0))
