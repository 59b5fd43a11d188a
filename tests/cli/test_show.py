"""The commands that show a call, a test execution, key figures: for people, and as JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rich.cells import cell_len

from futureagi_async.cli import run
from futureagi_async.cli.messages import WHERE_IDS_ARE
from futureagi_async.testing import StandInServer
from tests.support.commands import environment, forget_keys, plain, run_on_terminal, use_keys
from tests.support.sessions import read_body


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run a command in this process; return what it printed for people."""
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert not err
    assert all(cell_len(line) <= 80 for line in out.split("\n"))
    return out


def test_a_call_is_shown_whole(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Facts, scores with units, evaluations and the transcript's turns are there."""
    call_id = served.call_execution_ids()[4]
    out = shown(capsys, "call", call_id)
    assert out.startswith(f"Call {call_id}  completed\n")
    record = json.loads(shown_json(capsys, "call", call_id))
    assert record["scenario"] in out
    assert f"{record['duration']} s" in out
    for evaluation in record["eval_outputs"].values():
        if evaluation:
            assert evaluation["name"] in out
    assert record["transcript"]
    for turn in record["transcript"]:
        assert " ".join(turn["content"].split()[:2]) in out
        assert turn["speaker_role"] in out


def test_a_pending_evaluation_has_its_name(
    served: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record has only an id for it; the name is that of the test execution's column."""
    monkeypatch.setenv("COLUMNS", "120")
    pending = 0
    for call_id in served.call_execution_ids()[:40]:
        record = json.loads(shown_json(capsys, "call", call_id))
        ids = [id_ for id_, output in record["eval_outputs"].items() if not output]
        if not ids:
            continue
        execution = read_body(served, f"/simulate/test-executions/{record['test_execution_id']}/?limit=1")
        names = {column["id"]: column["column_name"] for column in execution["column_order"]}
        assert run(["call", call_id]) == 0
        rows = {line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if "pending" in line}
        assert {names[id_] for id_ in ids} <= rows
        pending += len(ids)
    assert pending


def test_a_call_is_shown_where_the_names_can_not_be_read(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the test execution can't be read, the ids stand for the names of pending evaluations."""
    evaluation_id = str(uuid4())
    record = {"id": str(uuid4()), "test_execution_id": str(uuid4()), "eval_outputs": {evaluation_id: {}}}
    served.respond("/call-executions/", body=json.dumps(record).encode())
    out = shown(capsys, "call", record["id"])
    assert any(line.split() == [evaluation_id, "pending"] for line in out.splitlines()), out


def shown_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run([*arguments, "--json"]) == 0
    return capsys.readouterr().out


def test_json_is_what_the_server_sent(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a pipe gets the record's own bytes."""
    body = b'{"id": "x" ,  "overall_score":1.50, "scenario":"\\u00e9 \xc3\xa9"}'
    served.respond("/call-executions/", body=body)
    assert shown_json(capsys, "call", str(uuid4())) == body.decode() + "\n"


def test_every_kind_of_call_can_be_shown(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Voice calls and chats in every state, in both dialects, are shown without an error."""
    use_keys(monkeypatch, server)
    ids = server.call_execution_ids()
    for call_id in [*ids[:12], *ids[240:246], *ids[-12:]]:
        assert call_id in shown(capsys, "call", call_id)


def test_an_execution_is_shown_page_by_page(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status, columns, the page's calls with whole ids, and how to see the next page, in both dialects."""
    use_keys(monkeypatch, server)
    execution_id = server.test_execution_ids[0]
    rows = server.test_execution_rows(execution_id)
    out = shown(capsys, "execution", execution_id, "--page", "2", "--limit", "7")
    assert out.startswith("Test execution completed\n")
    assert "Politeness" in out
    assert f"Page 2 of {-(-len(rows) // 7)}, {len(rows)} calls in total. Next page: --page 3" in out
    ids = [line.split()[0] for line in out.splitlines() if line[:36] in rows]
    assert len(ids) == 7
    lines = shown_json(capsys, "execution", execution_id, "--limit", "7").rstrip("\n").split("\n")
    assert len(lines) == 7
    assert {json.loads(line)["id"] for line in lines} <= set(rows)


def test_an_execution_can_be_searched(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """--search goes to the server, and fewer calls come back."""
    execution_id = served.test_execution_ids[0]
    shown(capsys, "execution", execution_id, "--search", "lost parcel")
    assert served.requests[-1].query["search"] == "lost parcel"


def test_the_last_page_has_no_next(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing follows, no further page is offered."""
    out = shown(capsys, "execution", served.test_execution_ids[2], "--limit", "100")
    assert "Page 1 of 1, " in out
    assert "Next" not in out


def test_a_page_behind_the_last_says_so(served: StandInServer, capsys: pytest.CaptureFixture[str]) -> None:
    """No empty table is shown, and the last page is named."""
    out = shown(capsys, "execution", served.test_execution_ids[2], "--page", "99", "--limit", "10")
    pages = -(-len(served.test_execution_rows(served.test_execution_ids[2])) // 10)
    assert f"There is no page 99. The last page is {pages}." in out
    assert "Scenario" not in out


def test_key_figures_have_units(
    server: StandInServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures, averages of evaluations and counts of choices are shown, of all sample executions."""
    use_keys(monkeypatch, server)
    voice, text, _ = (shown(capsys, "kpis", execution_id) for execution_id in server.test_execution_ids)
    assert "words/min" in voice
    assert "%" in voice
    assert "Averages of evaluations" in voice
    assert "politeness" in voice
    assert ("caller_mood  Calm " in voice) == (server.dialect == "served")
    assert "Tokens" in text
    assert "words/min" not in text
    assert json.loads(shown_json(capsys, "kpis", server.test_execution_ids[0]))["total_calls"]


def test_figures_with_the_name_of_an_evaluation_are_marked(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names of evaluations are looked at unless that is not wanted, also where JSON is printed."""
    execution_id = served.test_execution_ids[2]
    sent = read_body(served, f"/simulate/test-executions/{execution_id}/kpis/")["avg_score"]
    marked = shown(capsys, "kpis", execution_id)
    assert re.search(r"^Score +doubtful, see below *$", marked, re.MULTILINE)
    assert f"avg_score   {sent:g} was sent. This may be the average of the evaluation" in marked
    assert "agent_type  replaced by the evaluation's choices" in marked
    assert len(served.requests) == 2
    trusting = shown(capsys, "kpis", execution_id, "--no-check")
    assert re.search(rf"^Score +{sent:g} *$", trusting, re.MULTILINE)
    assert len(served.requests) == 3
    assert run(["kpis", execution_id, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["avg_score"] == sent
    assert err == "warning: agent_type, avg_score may be the average of an evaluation with the same name.\n"


def test_figures_are_shown_where_evaluations_can_not_be_told(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page of calls that kills the server is a warning; figures that can't be read are the error."""
    execution_id = served.test_execution_ids[2]
    served.fail("limit=1", status=500, body="<h1>Server Error</h1>", times=10)
    assert run(["kpis", execution_id]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^Score +\d+ *$", out, re.MULTILINE)
    assert err.startswith(
        "warning: can't check whether evaluations have the same names as figures: The server"
    )
    served.fail("/kpis/", status=500, body={"message": "invalid input syntax"}, times=10)
    assert run(["kpis", execution_id]) == 1
    out, err = capsys.readouterr()
    assert (out, err.partition(" ")[0]) == ("", "error:")


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", ["call", "execution", "kpis"])
def test_the_demo_has_ids_of_its_own(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --demo neither keys nor an id are needed."""
    forget_keys(monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    assert len(shown(capsys, command, "--demo").splitlines()) > 10


@pytest.mark.parametrize("command", ["call", "execution", "kpis"])
@pytest.mark.parametrize(("ids", "said"), [(("abc",), "must be a UUID such as"), ((), "is missing")])
def test_wrong_ids_are_usage_errors(
    served: StandInServer, capsys: pytest.CaptureFixture[str], command: str, ids: tuple[str, ...], said: str
) -> None:
    """No id, or what is none, is refused before any request."""
    assert run([command, *ids]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: A ")
    assert said in err
    assert not served.requests


def test_an_execution_may_also_be_the_last_one_of_a_run_test(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error for a name says how to use it, and names no option that the command does not have."""
    assert run(["kpis", "Checkout flow"]) == 2
    assert "or latest:RUN with the name of a run test, not 'Checkout flow'." in capsys.readouterr().err
    assert run(["kpis", "latest: "]) == 2
    expected = "error: latest: needs the name or id of a run test, as in 'latest:Checkout flow'.\n"
    assert capsys.readouterr().err == expected
    assert not served.requests


@pytest.mark.parametrize("command", ["call", "execution", "kpis"])
def test_unknown_ids_fail(served: StandInServer, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """What the server does not know is one line of error and exit code 1."""
    assert run([command, str(uuid4())]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert err.count("\n") == 1


HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J\u202e [bold]b[/bold] :smile: \r\nnext"


def hostile_call() -> bytes:
    turn = {"role": HOSTILE, "content": HOSTILE, "start_time_seconds": 0.5}
    result = {"name": HOSTILE, "value": HOSTILE, "type": HOSTILE, "reason": HOSTILE}
    texts = dict.fromkeys(
        ("status", "scenario", "call_summary", "ended_reason", "customer_name", "call_type"), HOSTILE
    )
    record = {"id": HOSTILE, "transcript": [turn], "eval_outputs": {"e": result}, **texts}
    return json.dumps(record, ensure_ascii=False).encode()


def test_text_of_the_server_can_not_command_a_terminal(
    served: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences lose their teeth, and markup is shown as it is written, wherever it stands."""
    served.respond("/call-executions/", body=hostile_call())
    out = shown(capsys, "call", str(uuid4()))
    assert not set("\x1b\x9b\x07\u202e\r") & set(out)
    assert "[bold]b[/bold] :smile:" in out
    served.respond(
        "/kpis/",
        body=json.dumps({"agent_type": HOSTILE, f"avg_{HOSTILE}": 1.0, HOSTILE: {HOSTILE: 2}}).encode(),
    )
    assert not set("\x1b\x9b\x07\u202e\r") & set(shown(capsys, "kpis", served.test_execution_ids[0]))


def test_a_terminal_gets_harmless_json(served: StandInServer, tmp_path: Path) -> None:
    """JSON may hold control characters above 0x7f unescaped; a terminal does not get them."""
    served.respond("/call-executions/", body=hostile_call())
    code, output = run_on_terminal(
        "call", str(uuid4()), "--json", variables=environment(served), folder=tmp_path
    )
    assert code == 0
    assert not set("\x1b\x9b\u202e") & set(output)
    assert json.loads(output)["status"] == HOSTILE.replace("\x9b", "").replace("\u202e", "")


def test_a_terminal_sees_colours(served: StandInServer, tmp_path: Path) -> None:
    """On a terminal of 80 columns no line is longer."""
    code, output = run_on_terminal(
        "execution", served.test_execution_ids[0], variables=environment(served), folder=tmp_path
    )
    assert code == 0
    assert "\x1b[32mcompleted\x1b[0m" in output
    assert all(len(line) <= 80 for line in plain(output).splitlines())


@pytest.mark.parametrize("command", ["call", "execution", "kpis", "export -o calls.jsonl --run-test"])
def test_an_unknown_id_says_where_ids_are(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Whose id is not found is told how to find one; nothing is left behind."""
    assert served.run_test_ids
    monkeypatch.chdir(tmp_path)
    assert run([*command.split(), str(uuid4())]) == 1
    error = capsys.readouterr().err
    assert "not found" in error
    assert error.endswith(f"{WHERE_IDS_ARE}\n")
    assert "'futureagi-async ls' lists ids" in WHERE_IDS_ARE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["call", "execution", "kpis"])
def test_a_missing_id_says_where_ids_are(
    served: StandInServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Who gives none is told so, too, before any request."""
    assert run([command]) == 2
    assert "is missing. 'futureagi-async ls' lists the ids" in capsys.readouterr().err
    assert not served.requests
