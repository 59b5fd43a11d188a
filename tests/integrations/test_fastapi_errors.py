"""What errors are to a service's users."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, Response

from futureagi_async.integrations.fastapi import (
    SessionDependency,
    install_error_handlers,
    json_response,
    session_lifespan,
)
from futureagi_async.testing import StandInServer
from tests.integrations.apps import ONCE, make_app, serve
from tests.servers import UNKNOWN_ID, wait_until


def test_an_error_before_the_first_page_is_an_http_error(upstream: StandInServer) -> None:
    """A stream whose list does not exist is a 404, as a single record would be."""
    with serve(make_app()) as client:
        response = client.get(f"/runs/{UNKNOWN_ID}")
    assert response.status_code == 404
    assert response.json() == {"detail": "Future AGI has nothing under this id."}


FAILURES = [
    pytest.param({"status": 401}, 502, "Future AGI could not be read.", id="refused keys"),
    pytest.param({"status": 403}, 502, "Future AGI could not be read.", id="forbidden"),
    pytest.param({"status": 404}, 404, "Future AGI has nothing under this id.", id="not found"),
    pytest.param({"status": 400}, 502, "Future AGI could not be read.", id="bad request"),
    pytest.param({"status": 500}, 502, "Future AGI could not be read.", id="broken"),
    pytest.param(
        {"status": 302, "headers": {"Location": "https://elsewhere.example/"}},
        502,
        "Future AGI could not be read.",
        id="redirect",
    ),
    pytest.param({"status": 200, "body": "no JSON"}, 502, "Future AGI could not be read.", id="garbage"),
]


@pytest.mark.parametrize(("failure", "status", "detail"), FAILURES)
def test_errors_have_fitting_statuses(
    upstream: StandInServer, failure: dict[str, Any], status: int, detail: str
) -> None:
    """What the API answers becomes a status that tells the service's users whose fault it is."""
    upstream.fail("call-executions", **failure)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.json()) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        pytest.param({"status": 429, "headers": {"Retry-After": "7"}}, "7", id="429"),
        pytest.param({"status": 429}, "1", id="429 without a time"),
        pytest.param({"status": 503, "headers": {"Retry-After": "2.5"}}, "3", id="503"),
    ],
)
def test_throttling_is_passed_on(upstream: StandInServer, failure: dict[str, Any], seconds: str) -> None:
    """Throttling is a 503 with Retry-After in whole seconds, rounded up, and at least one."""
    upstream.fail("call-executions", **failure)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.headers["retry-after"]) == (503, seconds)


def test_a_handlers_deadline_reaches_the_upstream(upstream: StandInServer) -> None:
    """A session with a deadline gives up in time, the user gets a 504, and nothing goes on upstream."""
    upstream.stall("kpis")
    with serve(make_app()) as client:
        response = client.get(f"/quick/{upstream.test_execution_ids[0]}")
        assert (response.status_code, response.json()) == (
            504,
            {"detail": "Future AGI did not answer in time."},
        )
        asyncio.run(wait_until(lambda: not upstream.in_flight))


def test_an_answer_that_is_too_large_is_a_502(upstream: StandInServer) -> None:
    """An answer beyond max_response_bytes is told apart from one that could not be read."""
    with serve(make_app(max_response_bytes=1000)) as client:
        response = client.get(f"/calls/{upstream.call_execution_ids()[0]}")
    assert (response.status_code, response.json()["detail"]) == (
        502,
        "The answer of Future AGI is too large.",
    )


def test_no_connection_is_a_502(upstream: StandInServer) -> None:
    """An upstream that is not there is a 502 without its address."""
    upstream.disconnect("call-executions", times=10)
    with serve(make_app()) as client:
        response = client.get(f"/calls/{UNKNOWN_ID}")
    assert (response.status_code, response.json()["detail"]) == (502, "Future AGI could not be read.")


def test_answers_and_logs_hold_no_secrets(upstream: StandInServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither keys nor addresses nor the upstream's words are in an answer; the log has no keys."""
    words = f"canary {upstream.api_key} {upstream.secret_key}"
    for status in (400, 401, 403, 404, 429, 500, 502):
        upstream.fail("call-executions", status=status, body={"message": words, "detail": words})
    with serve(make_app()) as client:
        answers = [client.get(f"/calls/{UNKNOWN_ID}") for _ in range(7)]
    said = " ".join(f"{answer.status_code} {answer.headers} {answer.text}" for answer in answers)
    for secret in ("canary", upstream.api_key, upstream.secret_key, upstream.base_url, UNKNOWN_ID):
        assert secret not in said
    assert "Answered 502" in caplog.text
    assert upstream.api_key not in caplog.text
    assert upstream.secret_key not in caplog.text


def test_misuse_is_a_500_and_in_the_log(upstream: StandInServer, caplog: pytest.LogCaptureFixture) -> None:
    """An application without the lifespan answers 500; the log says what to do."""
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/")
    async def read(session: SessionDependency) -> None:
        raise AssertionError

    with serve(app) as client:
        response = client.get("/")
    assert (response.status_code, response.json()) == (500, {"detail": "Internal Server Error"})
    assert "session_lifespan" in caplog.text


def test_without_handlers_errors_are_what_the_framework_makes_of_them(upstream: StandInServer) -> None:
    """Only applications that install the handlers get them."""
    app = FastAPI(lifespan=session_lifespan(retry=ONCE))

    @app.get("/calls/{call_id}")
    async def read_call(call_id: UUID, session: SessionDependency) -> Response:
        return json_response(await session.get_call_execution(call_id))

    with serve(app) as client:
        assert client.get(f"/calls/{UNKNOWN_ID}").status_code == 500
