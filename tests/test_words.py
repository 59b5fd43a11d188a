"""Words that find nothing: warned about where they are given, and asked for all the same."""

import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from futureagi_async import (
    CallStatus,
    ExecutionStatus,
    InternalServerError,
    RunTestCalls,
    column,
    load_sources,
    source_from_url,
)
from futureagi_async.cli import run
from futureagi_async.filters import check_filter
from futureagi_async.testing import StandInServer
from futureagi_async.words import nearest
from tests.support.commands import use_keys
from tests.support.sessions import open_session

ID = "1234abcd-0000-4000-8000-00000000beef"
RUN_TEST = f"https://api.futureagi.com/simulate/run-tests/{ID}/call-executions/"
EXECUTION = f"https://api.futureagi.com/simulate/test-executions/{ID}/"

DOCUMENTED = "documented are pending, queued, ongoing, completed, failed, analyzing, cancelled."


def raw_status(op: str, value: object) -> dict[str, object]:
    """Return a documented filter on the status."""
    config = {"filter_type": "text", "filter_op": op, "filter_value": value}
    return {"column_id": "status", "filter_config": config}


WARNED: dict[str, tuple[Callable[[], object], str]] = {
    "misspelled": (
        lambda: RunTestCalls(ID, status="compelted"),
        "status 'compelted' is not a documented word, so it may find no call: did you mean 'completed'?",
    ),
    "capital": (
        lambda: RunTestCalls(ID, status="Completed"),
        "status 'Completed' is matched in exactly this case, so it may find no call: did you mean",
    ),
    "unlike any": (
        lambda: RunTestCalls(ID, status="registered"),
        f"status 'registered' is not a documented word, so it may find no call: {DOCUMENTED}",
    ),
    "of executions": (
        lambda: RunTestCalls(ID, status=ExecutionStatus.EVALUATING),
        "status 'evaluating' is not",
    ),
    "in an address": (lambda: source_from_url(f"{RUN_TEST}?status=faild"), "did you mean 'failed'?"),
    "filter in an address": (
        lambda: source_from_url(f"{EXECUTION}?filters={quote(json.dumps([raw_status('equals', 'faild')]))}"),
        "did you mean 'failed'?",
    ),
    "built filter": (lambda: column("status").equals("faild"), "did you mean 'failed'?"),
    "raw filter": (lambda: check_filter(raw_status("equals", "faild")), "did you mean 'failed'?"),
    "among others": (
        lambda: column("status").is_in(["failed", "cancelled", "Queued"]),
        "'Queued' is matched in",
    ),
    "list for equals": (
        lambda: check_filter(raw_status("equals", ["failed", "Queued"])),
        "'Queued' is matched",
    ),
    "between commas": (lambda: check_filter(raw_status("equals", "failed, quued")), "did you mean 'queued'?"),
    "part of none": (
        lambda: column("status").contains("compelt"),
        "status 'compelt' is not a documented word",
    ),
    "left out": (
        lambda: column("status").not_equals("compelted"),
        "status 'compelted' is not a documented word, so it may leave out no call: did you mean 'completed'?",
    ),
    "left out, several": (lambda: column("status").not_in(["compelted"]), "so it may leave out no call"),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_word_that_finds_nothing_is_warned_about(case: str) -> None:
    """The warning has the nearest word, or all of them, and points at the caller's own line."""
    make, message = WARNED[case]
    with pytest.warns(UserWarning, match="status") as caught:
        make()
    (warning,) = caught
    assert message in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "make",
    [
        *[lambda word=word: RunTestCalls(ID, status=word) for word in CallStatus],
        *[lambda word=word: column("status").is_in([word]) for word in CallStatus],
        lambda: RunTestCalls(ID, status="cancelled"),
        lambda: RunTestCalls(ID),
        lambda: column("status").equals("COMPLETED"),
        lambda: check_filter(raw_status("not_equals", ["Failed"])),
        lambda: check_filter(raw_status("equals", "failed, queued")),
        lambda: column("status").contains("LED"),
        lambda: column("status").not_contains("going"),
        lambda: column("scenario").equals("compelted"),
    ],
)
def test_words_that_can_find_something_pass_silently(make: Callable[[], object]) -> None:
    """Documented words, in the cases in which the server matches them, warn of nothing."""
    make()


def test_a_set_of_sources_warns_its_loader(tmp_path: Path) -> None:
    """A word in a file is warned about at the line that loads it, and stays in the source."""
    file = tmp_path / "sources.toml"
    file.write_text(f'[nightly]\nrun_tests = [{{ id = "{ID}", status = "compelted" }}]\n')
    with pytest.warns(UserWarning, match="did you mean 'completed'") as caught:
        (source,) = load_sources(file)
    assert caught[0].filename == __file__
    assert isinstance(source, RunTestCalls)
    assert source.status == "compelted"


def test_what_may_be_a_key_is_not_repeated() -> None:
    """A status of an address that is like no word is not shown:  somebody may have put a key there."""
    with pytest.warns(UserWarning, match="documented are pending, queued") as caught:
        source_from_url(f"{RUN_TEST}?status=sk-very-secret-token")
    assert "sk-very" not in str(caught[0].message)


@pytest.mark.anyio
async def test_an_unknown_word_is_asked_for_all_the_same(served: StandInServer) -> None:
    """A word invented tomorrow reaches the server today; the list without calls is complete."""
    with pytest.warns(UserWarning, match="paused"):
        source = RunTestCalls(served.run_test_ids[0], status="paused")
    async with open_session(served) as session:
        result = await session.fetch_calls(source)
    assert {request.query["status"] for request in served.requests} == {"paused"}
    assert (result.calls, result.report.complete) == ([], True)


@pytest.mark.anyio
@pytest.mark.parametrize(("key", "warned"), [("compelted", 1), ("completed", 0)])
async def test_group_keys_of_the_status_are_words_too(server: StandInServer, key: str, warned: int) -> None:
    """A key that is no status is warned about at the caller's line; keys of other columns are free."""
    async with open_session(server) as session:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(InternalServerError):  # the served API's answer to groups of built-in columns
                await session.get_groups(
                    server.test_execution_ids[0], row_groups=["scenario", "status"], group_keys=["x", key]
                )
    assert ["a group key of status 'compelted'" in str(one.message) for one in caught] == [True] * warned
    assert {one.filename for one in caught} <= {__file__}


def test_commands_say_it_in_one_line(
    served: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One plain line on stderr for all lists, and the command goes on."""
    use_keys(monkeypatch, served)
    lists = [word for id_ in served.run_test_ids for word in ("--run-test", id_)]
    assert run(["plan", *lists, "--status", "compelted"]) == 0
    assert capsys.readouterr().err == (
        "warning: status 'compelted' is not a documented word, so it may find no call: did you mean "
        "'completed'?\n"
    )
    assert {request.query["status"] for request in served.requests} == {"compelted"}


def test_usage_errors_come_with_the_warnings_before_them(
    served: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that ends for another reason still says what it was going to warn of."""
    use_keys(monkeypatch, served)
    assert run(["plan", "--run-test", str(uuid4()), "--url", "nonsense", "--status", "Failed"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert not served.requests
    assert [line.partition(":")[0] for line in lines] == ["warning", "error"]


def test_the_nearest_words_come_first() -> None:
    """Up to three words that look alike, in any case; none where nothing does."""
    assert nearest("COMPELTED", CallStatus)[0] == "completed"
    assert nearest("cancel", ExecutionStatus) == ["cancelled", "cancelling"]
    assert nearest("xyz", CallStatus) == []
