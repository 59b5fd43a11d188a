"""The served dialect against recorded answers of the vendor's server: key sets and JSON types."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


RECORDINGS = Path(__file__).parents[2] / "../shared/recordings"

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded answers are not here")


@pytest.fixture
def ask(shared_ask: Any) -> Any:
    """Return the way to ask the server that all these tests share."""
    return shared_ask


OPTIONAL = {
    "simulator_agent_name",
    "simulator_agent_id",
    "agent_definition_used_name",
    "agent_definition_used_id",
    "attributes",
}


@cache
def recorded(folder: str) -> list[Any]:
    """Return the successful JSON bodies of an endpoint."""
    answers = [json.loads(path.read_text()) for path in sorted((RECORDINGS / folder).glob("*.json"))]
    return [a["body"] for a in answers if a["status"] == 200 and isinstance(a["body"], dict)]


def recorded_rows(folder: str) -> Iterator[dict[str, Any]]:
    for body in recorded(folder):
        yield from (row for row in body["results"] if "id" in row)


def json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {int: "number", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
    return names[type(value)]


def types_by_key(rows: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for key, value in row.items():
            found[key].add(json_type(value))
    return found


def check_like(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], known: dict[str, set[str]]) -> None:
    """Every row has a key set that was recorded, and no value has a type never seen or known there."""
    assert ours
    assert theirs
    allowed = {frozenset(row.keys() - OPTIONAL) for row in theirs}
    assert {frozenset(row.keys() - OPTIONAL) for row in ours} <= allowed
    seen = types_by_key(theirs)
    for key, types in types_by_key(ours).items():
        assert types <= seen[key] | known.get(key, set()), key


NUMBER_OR_NULL = {"number", "null"}


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_details_look_like_recorded_ones(ask: Any, kind: int) -> None:
    """A detail has the vendor's 59 keys, plus those that may be absent."""
    server = ask.server
    ids = server.test_execution_rows(server.test_execution_ids[kind])[:80]
    details = [ask.detail(id_).json() for id_ in ids]
    theirs = recorded("call_execution")
    assert {len(detail.keys() - OPTIONAL) for detail in details} == {59}
    known = {"csat_score": NUMBER_OR_NULL, "processing_skip_reason": {"string"}}
    check_like(details, theirs, known)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_run_test_rows_look_like_recorded_ones(ask: Any, kind: int) -> None:
    """Calls have 58 keys and the absent-able ones, snapshots 34."""
    rows = ask.run_test(ask.server.run_test_ids[kind], limit=500).json()["results"]
    theirs = list(recorded_rows("run_test_call_executions"))
    for is_snapshot, size in ((False, 58), (True, 34)):
        ours = [row for row in rows if row["is_snapshot"] is is_snapshot]
        if not ours:
            continue
        assert {len(row.keys() - (set() if is_snapshot else OPTIONAL)) for row in ours} == {size}
        known = {key: {"null"} for key in ("status", "eval_outputs", "call_type")} if is_snapshot else {}
        check_like(ours, [row for row in theirs if row["is_snapshot"] is is_snapshot], known)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_version_rows_look_like_recorded_ones(ask: Any, number: int) -> None:
    """A version's row has the vendor's 44 keys."""
    rows = ask.version(ask.server.agent_versions[number], limit=500).json()["results"]
    assert {len(row) for row in rows} == {44}
    known = {"analysis_data": {"object"}, "error_localizer_tasks": {"array"}}
    check_like(rows, list(recorded_rows("version_call_executions")), known)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_execution_rows_look_like_recorded_ones(ask: Any, kind: int) -> None:
    """Rows withhold transcript and recordings; nested snapshots have 40 keys."""
    body = ask.execution(ask.server.test_execution_ids[kind], limit=500).json()
    theirs = recorded("test_execution")
    assert set(body) == set(theirs[0])
    rows = body["results"]
    assert all(row["transcript"] == [] and row["recordings"] == {} for row in rows)
    check_like(rows, list(recorded_rows("test_execution")), {"csat_score": NUMBER_OR_NULL})
    nested = [snapshot for row in rows for snapshot in row["rerun_snapshots"]]
    assert {len(snapshot) for snapshot in nested} <= {40}
    recorded_nested = [s for row in recorded_rows("test_execution") for s in row["rerun_snapshots"]]
    if nested:
        known = {key: {"null"} for key in ("status", "eval_outputs", "call_type")}
        check_like(nested, recorded_nested, known)


def test_turns_and_evaluations_look_like_recorded_ones(ask: Any) -> None:
    """Transcript turns and evaluation results have recorded key sets on every endpoint."""
    server = ask.server
    for kind in range(3):
        ours = ask.run_test(server.run_test_ids[kind], limit=500).json()["results"]
        theirs = list(recorded_rows("run_test_call_executions"))
        for key in ("transcript", "eval_outputs", "eval_metrics"):
            assert shapes_within(ours, key) <= shapes_within(theirs, key), key
    ours = ask.version(server.agent_versions[0], limit=500).json()["results"]
    theirs = list(recorded_rows("version_call_executions"))
    for key in ("transcripts", "eval_outputs"):
        assert shapes_within(ours, key) <= shapes_within(theirs, key), key


def shapes_within(rows: list[dict[str, Any]], key: str) -> set[Any]:
    """Return the key sets of the objects inside a list or mapping, and the type's name of anything else."""
    shapes: set[Any] = set()
    for row in rows:
        held = row[key] or []
        for value in held.values() if isinstance(held, dict) else held:
            shapes.add(frozenset(value) if isinstance(value, dict) else type(value).__name__)
    return shapes


@pytest.mark.parametrize("kind", [0, 1])
def test_kpis_look_like_recorded_ones(ask: Any, kind: int) -> None:
    """All fixed keys are there for voice and text; dynamic ones are numbers, or objects for choices."""
    kpis = ask.kpis(ask.server.test_execution_ids[kind]).json()
    (empty,) = [body for body in recorded("kpis") if body["total_calls"] == 0]
    assert kpis.keys() >= empty.keys()
    fixed = {key: kpis[key] for key in empty}
    seen = types_by_key(recorded("kpis"))
    assert all(json_type(value) in seen[key] for key, value in fixed.items())
    dynamic = [value for key, value in kpis.items() if key not in empty]
    assert {json_type(value) for value in dynamic} == {"number", "object"}
    assert all("choices" in value for value in dynamic if isinstance(value, dict))


def test_column_order_looks_like_recorded_ones(ask: Any) -> None:
    """Built-in, dataset, evaluation and tool columns have their own key sets."""
    theirs = {frozenset(c) for body in recorded("test_execution") for c in body.get("column_order", [])}
    for id_ in ask.server.test_execution_ids:
        ours = ask.execution(id_, limit=1).json()["column_order"]
        assert {frozenset(column) for column in ours} <= theirs


def test_groups_look_like_recorded_ones(ask: Any) -> None:
    """Aggregates have the recorded keys, up to the names of this server's own columns."""
    (body,) = [json.loads((RECORDINGS / "test_execution/group_dataset.json").read_text())["body"]]
    columns = ask.execution(ask.server.test_execution_ids[0]).json()["column_order"]
    (column,) = [c for c in columns if c["id"] == "Ideal Outcome"]
    group = f"scenario_{column['scenario_id']}_dataset_{column['dataset_column_ids'][0]}"
    ours = ask.execution(ask.server.test_execution_ids[0], row_groups=json.dumps([group])).json()
    assert ours.keys() == body.keys()
    common = {
        "created_at__date",
        "overall_score",
        "count",
        "avg_overall_score",
        "csat_score",
        "Ideal_Outcome",
    }
    assert common <= ours["results"][0].keys()
    assert len(ours["results"][0]) == len(body["results"][0])


HEADERS = [
    ("kpis/te_big", "/kpis/"),
    ("call_execution/voice_completed", "detail"),
    ("call_execution/wrong_secret_401", "wrong secret"),
    ("call_execution/uppercase_uuid_404_html", "upper case"),
    ("run_test_call_executions/missing_slash_301", "no slash"),
]


@pytest.mark.parametrize(("case", "what"), HEADERS)
def test_headers_are_the_recorded_ones(ask: Any, case: str, what: str) -> None:
    """The same header names, and the same values where they do not depend on the moment."""
    answer = json.loads((RECORDINGS / f"{case}.json").read_text())
    call_id = ask.server.call_execution_ids()[0]
    replies = {
        "/kpis/": lambda: ask.kpis(ask.server.test_execution_ids[0]),
        "detail": lambda: ask.detail(call_id),
        "wrong secret": lambda: ask(f"/simulate/call-executions/{call_id}/", headers={"X-Secret-Key": "no"}),
        "upper case": lambda: ask.detail(call_id.upper()),
        "no slash": lambda: ask(f"/simulate/call-executions/{call_id}"),
    }
    reply = replies[what]()
    assert reply.status == answer["status"]
    theirs = {name.lower(): value for name, value in answer["headers"]}
    ours = {name.lower(): value for name, value in reply.headers.items()}
    assert ours.keys() == theirs.keys()
    fixed = theirs.keys() - {"date", "x-request-id", "content-length", "location"}
    assert {name: ours[name] for name in fixed} == {name: theirs[name] for name in fixed}


def refused_or_reported() -> list[Path]:
    """Find the recorded filters that were refused, failed, were reported, or did nothing."""
    found = []
    for path in sorted((RECORDINGS / "test_execution").glob("filter_*.json")):
        answer = json.loads(path.read_text())
        unfiltered = answer["status"] == 200 and answer["body"]["count"] == 320
        if answer["status"] == 400 or unfiltered:
            found.append(path)
    return found


@pytest.mark.parametrize("path", refused_or_reported(), ids=lambda path: path.stem)
def test_useless_filters_get_the_recorded_words(ask: Any, path: Path) -> None:
    """The same filter is refused, reported or ignored in the same words."""
    recording = json.loads(path.read_text())
    execution_id = ask.server.test_execution_ids[0]
    reply = ask(f"/simulate/test-executions/{execution_id}/", recording["request"]["query"])
    assert reply.status == recording["status"]
    if reply.status == 400:
        assert reply.json() == recording["body"]
    else:
        assert reply.json()["error_messages"] == recording["body"]["error_messages"]
        assert reply.json()["count"] == len(ask.server.test_execution_rows(execution_id))


def parameter_errors() -> list[Path]:
    """Find recorded refusals of parameters on the lists."""
    folders = ("test_execution", "run_test_call_executions", "version_call_executions", "call_execution")
    names = ("limit_*", "page_*", "group_*_400", "group_*_500", "group_unknown_column", "unknown_param")
    names += ("*_rejected", "no_credentials*", "*_404", "*_401", "nul_*", "post_405", "accept_text_html_406")
    paths = [
        path for folder in folders for name in names for path in (RECORDINGS / folder).glob(f"{name}.json")
    ]
    return sorted({path for path in paths if json.loads(path.read_text())["status"] >= 400})


@pytest.mark.parametrize("path", parameter_errors(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_refusals_get_the_recorded_words(ask: Any, path: Path) -> None:
    """The same request is refused with the same status and body."""
    recording = json.loads(path.read_text())
    request = recording["request"]
    if path.stem.endswith("html") or "because_of_another" in path.stem:
        pytest.skip("depends on the vendor's own data or page")
    known = request["path"] if "404" in path.stem and "page" not in path.stem else our_path(ask, path)
    keys = {"X-Secret-Key": "nope"} if path.stem == "wrong_secret_401" else {}
    if path.stem == "empty_secret_401":
        keys = {"X-Secret-Key": ""}
    extra = {name: text for name, text in request["extra_headers"].items() if not name.startswith("X-")}
    reply = ask(
        known,
        request["query"],
        method=request["method"],
        headers=extra | keys,
        keys=bool(request["credentials"] or keys),
    )
    assert reply.status == recording["status"]
    assert reply.json() == recording["body"]


def our_path(ask: Any, path: Path) -> str:
    """Return the address of this server's own thing of the kind."""
    server = ask.server
    agent, version = server.agent_versions[0]
    return {
        "test_execution": f"/simulate/test-executions/{server.test_execution_ids[0]}/",
        "run_test_call_executions": f"/simulate/run-tests/{server.run_test_ids[0]}/call-executions/",
        "version_call_executions": f"/simulate/agent-definitions/{agent}/versions/{version}/call-executions/",
        "call_execution": f"/simulate/call-executions/{server.call_execution_ids()[0]}/",
    }[path.parent.name]


def discovered(case: str) -> Any:
    """Return a recorded answer of the lists in which ids are found."""
    return json.loads((RECORDINGS / f"discovery/{case}.json").read_text())


@pytest.mark.parametrize(
    ("case", "path"),
    [
        ("run_tests", "/simulate/run-tests/"),
        ("executions_of_run", "/simulate/run-tests/{run_test}/executions/"),
        ("agent_definitions", "/simulate/agent-definitions/"),
        ("versions", "/simulate/agent-definitions/{agent}/versions/"),
    ],
)
def test_discovery_rows_look_like_recorded_ones(ask: Any, case: str, path: str) -> None:
    """The envelope and the rows have the recorded keys and types."""
    run_test, (agent, _) = ask.server.run_test_ids[0], ask.server.agent_versions[0]
    ours, theirs = ask(path.format(run_test=run_test, agent=agent)).json(), discovered(case)["body"]
    assert list(ours) == list(theirs)
    check_like(ours["results"], theirs["results"], {})


NESTED = {
    "agent_version": {},
    "agent_definition_detail": {"livekit_config_json": {"object"}},
    "scenarios_detail": {"dataset": {"string"}},
    "simulator_agent_detail": {},
    "evals_detail": {},
}


@pytest.mark.parametrize("key", NESTED)
def test_objects_in_run_tests_look_like_recorded_ones(ask: Any, key: str) -> None:
    """What hangs on a run test, the agent with its secrets included, has the recorded keys and types."""
    ours = ask("/simulate/run-tests/").json()["results"]
    theirs = discovered("run_tests")["body"]["results"]
    check_like(objects_in(ours, key), objects_in(theirs, key), NESTED[key])


def objects_in(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the objects under a key, one or a list of them a row, where there are any."""
    held = [row[key] for row in rows if row[key]]
    return [one for value in held for one in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize(
    ("case", "path"),
    [
        ("run_tests_past_end", "/simulate/run-tests/"),
        ("run_tests_unknown_param", "/simulate/run-tests/"),
        ("executions_of_run_past_end", "/simulate/run-tests/{run_test}/executions/"),
    ],
)
def test_discovery_refusals_get_the_recorded_words(ask: Any, case: str, path: str) -> None:
    """The end of two lists, and a parameter that nobody knows."""
    recording = discovered(case)
    reply = ask(path.format(run_test=ask.server.run_test_ids[0]), recording["request"]["query"])
    assert (reply.status, reply.json()) == (recording["status"], recording["body"])
    theirs = {name.lower(): value for name, value in recording["headers"]}
    assert reply.headers["Allow"] == theirs["allow"]


def test_an_id_by_name_looks_like_the_recorded_one(ask: Any) -> None:
    """Its envelope is its own."""
    theirs = discovered("run_test_by_name")["body"]
    ours = ask("/simulate/run-tests/get-id-by-name/Refund%20chats/").json()
    assert (ours.keys(), ours["result"].keys()) == (theirs.keys(), theirs["result"].keys())
    assert ours["status"] is theirs["status"]
