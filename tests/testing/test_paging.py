"""Routing, keys, methods and headers, in the order in which the vendor's server looks at them."""

from __future__ import annotations

import asyncio
import re
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from futureagi_async import Session
from futureagi_async.testing import StandInServer


@pytest.fixture
def ask(shared_ask: Any) -> Any:
    """Return the way to ask the server that all these tests share."""
    return shared_ask


def first_call(ask: Any) -> str:
    return str(ask.server.call_execution_ids()[0])


def test_wrong_keys_are_unauthorized_with_a_challenge(ask: Any) -> None:
    """Missing, partial, empty and wrong keys are 401; `Authorization` spoils good ones."""
    path = f"/simulate/call-executions/{first_call(ask)}/"
    for headers in ({"X-Api-Key": ""}, {"X-Secret-Key": "wrong"}, {"Authorization": "Bearer x"}):
        reply = ask(path, headers=headers)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "ApiKey"
        assert reply.json()["status"] is False
    reply = ask(path, keys=False)
    assert (reply.status, reply.json()["code"]) == (401, "not_authenticated")
    assert ask(path).status == 200


def test_own_keys_can_be_chosen(start: Any) -> None:
    """The key pair is the constructor's."""
    ask = start(api_key="other", secret_key="pair")
    assert ask.detail(first_call(ask)).status == 200
    assert ask(f"/simulate/call-executions/{first_call(ask)}/", headers={"X-Api-Key": "no"}).status == 401


@pytest.mark.parametrize("id_", ["nope", "123", "{upper}", "..", "0"])
def test_bad_ids_are_html_before_keys_are_looked_at(ask: Any, id_: str) -> None:
    """Only lower-case UUIDs are routed; anything else is an HTML page, with keys or without."""
    path = f"/simulate/call-executions/{id_.format(upper=first_call(ask).upper())}/"
    for keys in (True, False):
        reply = ask(path, keys=keys)
        assert reply.status == 404
        assert reply.headers["Content-Type"].startswith("text/html")
        assert reply.headers["X-Request-Id"]


def test_a_missing_slash_is_a_relative_redirect_for_anybody(ask: Any) -> None:
    """301 with the query kept, no body, no request id, without keys too, and for POST as well."""
    path = f"/simulate/run-tests/{ask.server.run_test_ids[0]}/call-executions"
    for method in ("GET", "POST"):
        reply = ask(path, "limit=2&search=a%20b", method=method, keys=False)
        assert (reply.status, reply.body) == (301, b"")
        assert reply.headers["Location"] == f"{path}/?limit=2&search=a%20b"
        assert "X-Request-Id" not in reply.headers


def test_long_addresses_are_refused_without_a_body(ask: Any) -> None:
    """60 kB pass, 72 kB are a 414."""
    execution_id = ask.server.test_execution_ids[0]
    assert ask.execution(execution_id, search="x" * 60_000).status == 200
    reply = ask.execution(execution_id, search="x" * 72_000)
    assert (reply.status, reply.body) == (414, b"")


def test_head_has_the_length_and_no_body(ask: Any) -> None:
    """HEAD tells the length that GET would have."""
    path = f"/simulate/call-executions/{first_call(ask)}/"
    head, get = ask(path, method="HEAD"), ask(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


def test_other_methods_and_formats_are_refused(ask: Any) -> None:
    """405 after the keys, 406 before them, and an unknown format is not found."""
    path = f"/simulate/call-executions/{first_call(ask)}/"
    assert ask(path, method="DELETE").status == 405
    assert ask(path, method="DELETE", keys=False).status == 401
    assert ask(path, headers={"Accept": "text/html"}, keys=False).status == 406
    assert ask(path, headers={"Accept": "application/json, */*;q=0.1"}).status == 200
    reply = ask(path, {"format": "xml"})
    assert (reply.status, reply.json()["code"]) == (404, "error")
    assert ask(path, {"format": "json"}).status == 200


def test_unknown_things_are_told_apart_by_their_message(ask: Any) -> None:
    """404 with one message a kind; an unknown test execution is a 500 on one endpoint."""
    nobody = "00000000-0000-4000-8000-000000000000"
    agent, version = ask.server.agent_versions[0]
    replies = {
        "Call execution not found": ask.detail(nobody),
        "Run test not found": ask.run_test(nobody),
        "Agent version not found.": ask.version((nobody, version)),
        "Test execution not found.": ask.kpis(nobody),
    }
    for message, reply in replies.items():
        assert (reply.status, reply.json()["message"]) == (404, message)
    assert ask.version((agent, nobody)).status == 404
    reply = ask.execution(nobody)
    assert reply.status == 500
    assert reply.json()["message"].endswith("No TestExecution matches the given query.")


def test_snapshots_and_deleted_calls_have_no_detail(start: Any) -> None:
    """Only calls that are delivered have one."""
    ask = start(demo=False)
    run_test = ask.server.add_run_test(20, snapshots=2, deleted=3)
    rows = ask.run_test(run_test, limit=100).json()["results"]
    snapshots = [row["id"] for row in rows if row["is_snapshot"]]
    assert [ask.detail(id_).status for id_ in snapshots] == [404, 404]
    assert len(ask.server.call_execution_ids()) == 17


def test_every_answer_has_a_date_and_a_request_id_of_its_own(ask: Any) -> None:
    """The date is the server's clock in whole seconds."""
    replies = [ask.detail(first_call(ask)) for _ in range(3)]
    assert len({reply.headers["X-Request-Id"] for reply in replies}) == 3
    assert all(re.fullmatch(r"[0-9a-f-]{36}", reply.headers["X-Request-Id"]) for reply in replies)
    age = datetime.now(UTC) - parsedate_to_datetime(replies[0].headers["Date"])
    assert -1 < age.total_seconds() < 5


def test_links_follow_the_host_header(ask: Any) -> None:
    """`next` shows whatever `Host` was sent, in http; forwarded headers change nothing."""
    run_test = ask.server.run_test_ids[0]
    path = f"/simulate/run-tests/{run_test}/call-executions/"
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.futureagi.com"}
    assert (
        ask(path, headers={"Host": "elsewhere.example"})
        .json()["next"]
        .startswith("http://elsewhere.example/")
    )
    assert ask(path, headers=forwarded).json()["next"].startswith(ask.server.base_url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::"])
def test_the_base_url_leads_to_the_server(host: str) -> None:
    """Whatever it listens on, an address of IPv6 or all of them, a session takes the base URL as it is."""
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")

    async def read(server: StandInServer) -> int | None:
        async with Session(server.api_key, server.secret_key, server.base_url) as session:
            return (await session.get_kpis(server.test_execution_ids[0])).total_calls

    with StandInServer(host=host) as server:
        assert asyncio.run(read(server)) == 230


def ids(reply: Any) -> list[str]:
    return [row["id"] for row in reply.json()["results"]]


def walk(ask: Any, name: str, thing: Any, limit: int) -> list[str]:
    """Read page after page, as naive readers do."""
    found: list[str] = []
    page = 1
    while True:
        reply = getattr(ask, name)(thing, limit=limit, page=page)
        found += ids(reply)
        if reply.json()["next"] is None:
            return found
        page += 1


@pytest.mark.parametrize("name", ["run_test", "version", "execution"])
def test_a_walk_over_ties_repeats_and_loses_rows(start: Any, name: str) -> None:
    """Without a tie-break each page orders equal keys anew; duplicates make up for what is missing."""
    ask = start(demo=False)
    add = {
        "run_test": ask.server.add_run_test,
        "version": ask.server.add_agent_version,
        "execution": ask.server.add_test_execution,
    }[name]
    thing = add(400, tie_size=4, slim=True)
    found = walk(ask, name, thing, 7)
    assert len(found) == 400
    assert 3 < 400 - len(set(found)) < 150
    assert len(set(walk(ask, name, thing, 400))) == 400


def test_without_ties_a_walk_finds_every_row(start: Any) -> None:
    """The loss comes from the ties alone."""
    ask = start(demo=False)
    run_test = ask.server.add_run_test(150, slim=True)
    assert walk(ask, "run_test", run_test, 7) == ask.server.run_test_rows(run_test)


def test_rows_are_sorted_by_the_key_they_show(ask: Any) -> None:
    """Newest first, calls and snapshots mixed."""
    keys = [row["timestamp"] for row in ask.run_test(ask.server.run_test_ids[0], limit=500).json()["results"]]
    assert keys == sorted(keys, reverse=True)
    rows = ask.version(ask.server.agent_versions[0], limit=500).json()["results"]
    assert [row["updated_at"] for row in rows] == sorted((row["updated_at"] for row in rows), reverse=True)


def test_soft_deleted_calls_are_counted_and_not_delivered(start: Any) -> None:
    """On run-test lists only; a page of holes is empty and has a next page."""
    ask = start(demo=False)
    run_test = ask.server.add_run_test(50, deleted=15, slim=True)
    first = ask.run_test(run_test, limit=10).json()
    assert (first["count"], first["results"], first["next"] is None) == (50, [], False)
    assert len(ask.run_test(run_test, limit=10, page=2).json()["results"]) == 5
    assert len(ask.server.run_test_rows(run_test)) == 35
    execution = ask.server.add_test_execution(50, deleted=15, slim=True)
    assert ask.execution(execution).json()["count"] == 35


def test_run_test_links(ask: Any) -> None:
    """`previous` of page 2 drops `page` and may end in a bare `?`; unknown parameters are echoed."""
    run_test = ask.server.run_test_ids[0]
    base = f"{ask.server.base_url}/simulate/run-tests/{run_test}/call-executions/"
    second = ask.run_test(run_test, page=2).json()
    assert (second["previous"], second["next"]) == (f"{base}?", f"{base}?page=3")
    echoed = ask.run_test(run_test, foo="a b", limit=5).json()
    assert echoed["next"] == f"{base}?foo=a+b&limit=5&page=2"
    path = f"/simulate/run-tests/{run_test}/call-executions/"
    assert ask(path, "limit=2&limit=3").json()["next"] == f"{base}?limit=3&page=2"


def test_framework_links_are_sorted(ask: Any) -> None:
    """Version and test-execution links sort the query; the first page has no `page`."""
    body = ask.version(ask.server.agent_versions[0], page=2, limit=5, foo="x").json()
    assert body["previous"].endswith("/call-executions/?foo=x&limit=5")
    assert body["next"].endswith("?foo=x&limit=5&page=3")
    body = ask.execution(ask.server.test_execution_ids[0], page=2).json()
    assert body["previous"].endswith(f"{ask.server.test_execution_ids[0]}/")


def test_limit_zero_never_ends_on_run_tests(ask: Any) -> None:
    """An endless list of empty pages for who follows `next`."""
    body = ask.run_test(ask.server.run_test_ids[0], limit=0, page=1000).json()
    assert (body["results"], body["total_pages"]) == ([], 1)
    assert body["next"].endswith("page=1001")


@pytest.mark.parametrize("limit", ["0", "-3", "abc", ""])
def test_version_lists_fall_back_to_ten(ask: Any, limit: str) -> None:
    """Whatever is no positive number means the default."""
    assert len(ids(ask.version(ask.server.agent_versions[0], limit=limit))) == 10


def test_past_the_end(ask: Any) -> None:
    """404 `Invalid page.` on versions, 200 and empty on the others, each with its own quirks."""
    server = ask.server
    reply = ask.version(server.agent_versions[0], page=1000)
    assert (reply.status, reply.json()["message"]) == (404, "Invalid page.")
    body = ask.run_test(server.run_test_ids[0], page=1000).json()
    assert (body["results"], body["next"], body["current_page"]) == ([], None, 1000)
    assert body["previous"].endswith("page=999")
    body = ask.execution(server.test_execution_ids[0], page=1000).json()
    assert (body["results"], body["next"], body["previous"]) == ([], None, None)
    assert body["total_pages"] == -(-body["count"] // 30)
    assert not {"provider", "agent_type"} & body.keys()


def test_special_pages_of_version_lists(ask: Any) -> None:
    """`last` works, an empty page is the first, and an empty list has one page."""
    server = ask.server
    last = ask.version(server.agent_versions[0], page="last").json()
    assert (last["next"], last["current_page"]) == (None, last["total_pages"])
    assert ask.version(server.agent_versions[0], page="").json()["current_page"] == 1
    empty = ask.version(server.add_agent_version(0)).json()
    assert (empty["count"], empty["total_pages"], empty["results"]) == (0, 1, [])


def test_empty_lists(ask: Any) -> None:
    """The number of pages of nothing depends on the endpoint and the page."""
    server = ask.server
    assert ask.run_test(server.add_run_test(0)).json()["total_pages"] == 0
    execution = server.add_test_execution(0)
    assert ask.execution(execution).json()["total_pages"] == 1
    assert ask.execution(execution, page=2).json()["total_pages"] == 0
    kpis = ask.kpis(execution).json()
    assert (kpis["total_calls"], kpis["avg_score"], kpis["scenario_graphs"]) == (0, 0.0, {})


def test_huge_limits_return_everything(ask: Any) -> None:
    """No maximum; only SQL's own on run tests."""
    server = ask.server
    for limit in (100_000, 10**20):
        assert len(ids(ask.version(server.agent_versions[0], limit=limit))) == len(
            server.version_rows(*server.agent_versions[0])
        )
    reply = ask.run_test(server.run_test_ids[0], limit=10**20)
    assert (reply.status, "bigint out of range" in reply.json()["message"]) == (500, True)


@pytest.mark.slow
def test_every_page_of_a_long_list_is_quick(start: Any) -> None:
    """A page of 100 among 10,000 rows with ties costs a few milliseconds once its rows were written."""
    ask = start(demo=False)
    run_test = ask.server.add_run_test(10_000, slim=True, tie_size=5)
    assert len(set(ids(ask.run_test(run_test, limit=10_000)))) == 10_000
    ask.server.clear_requests()
    for page in range(1, 101, 10):
        assert len(ids(ask.run_test(run_test, limit=100, page=page))) == 100
    spent = sorted(request.ended - request.started for request in ask.server.requests)
    assert spent[len(spent) // 2] < 0.02
