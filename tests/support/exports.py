"""Calls for the tests of formats: made of JSON, as a list sends them."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from msgspec import Raw

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    CallSource,
    RunTestCalls,
    Session,
    TestExecutionCalls,
)
from futureagi_async._sansio.decoding import decode_records
from futureagi_async._sansio.requests import RUN_TEST_CALLS
from futureagi_async.errors import DecodingError
from futureagi_async.export import ExportProgress, ExportReport, export_calls
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats.csv_writer import EvaluationColumns
from futureagi_async.export.formats.records import Batch
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.samples import Recording, recordings
from tests.support.sessions import open_session

RUN = RunTestCalls("00000000-0000-4000-8000-000000000001")
VERSION = AgentVersionCalls("00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003")
EXECUTION = TestExecutionCalls("00000000-0000-4000-8000-000000000004")
SOURCES = (RUN, VERSION, EXECUTION)

_LISTS = dict(
    zip(("run_test_call_executions", "version_call_executions", "test_execution"), SOURCES, strict=True)
)
RECORDED_PAGES = recordings(
    *_LISTS,
    that=lambda recording: (
        recording.status == 200
        and isinstance(recording.json, dict)
        and any("id" in row for row in recording.json["results"])
    ),
)
"""What the vendor's server answered with calls in it."""

HUGE = 12345678901234567890123
INEXACT = 2**53 + 1

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text that JSON can carry as UTF-8."""
NUMBERS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DRIFTED = st.sampled_from([5, 0.5, True, "five", {"a": 5}, [5], HUGE])
"""Values that most fields can't hold."""
TURNS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.none() | TEXT | DRIFTED,
            "speaker_role": st.none() | TEXT,
            "content": st.none() | TEXT | st.lists(JSON, max_size=2) | DRIFTED,
            "messages": st.lists(TEXT, max_size=3) | DRIFTED,
            "start_time_seconds": NUMBERS | DRIFTED,
            "start_time_ms": NUMBERS,
            "end_time_seconds": NUMBERS,
            "end_time_ms": NUMBERS,
            "confidence_score": NUMBERS,
        },
    ),
    max_size=4,
)
EVALUATIONS = st.dictionaries(
    TEXT,
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "name": st.none() | TEXT,
            "value": JSON,
            "output": JSON,
            "type": st.none() | TEXT,
            "reason": st.none() | TEXT | DRIFTED,
            "status": st.sampled_from(["Completed", "pending", "skipped", "error", 5]),
            "error": st.none() | st.booleans() | TEXT | DRIFTED,
            "skipped": st.none() | st.booleans() | DRIFTED,
        },
    ),
    max_size=3,
)
ROWS = st.fixed_dictionaries(
    {"id": TEXT},
    optional={
        "transcript": st.none() | TURNS | JSON,
        "transcripts": st.none() | TURNS,
        "eval_outputs": st.none() | EVALUATIONS | JSON,
        "eval_metrics": JSON,
        "rerun_snapshots": st.none() | st.lists(st.fixed_dictionaries({"id": TEXT}), max_size=2) | JSON,
        "status": st.none() | TEXT | DRIFTED,
        "is_snapshot": st.none() | st.booleans() | DRIFTED,
        "created_at": st.none() | DRIFTED,
        "customer_name": st.none() | TEXT,
        "customer_number": st.none() | TEXT,
        "overall_score": NUMBERS,
        "scenario": st.none() | TEXT | st.fixed_dictionaries({"id": st.none() | TEXT, "name": TEXT}),
        "scenario_id": st.none() | TEXT | DRIFTED,
        "started_at": st.none() | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        "duration_seconds": NUMBERS | DRIFTED,
        "odd % key": JSON,
        "": JSON,
        "a\nb": JSON,
    },
)
"""Rows of no list in particular: documented keys with good and bad values, and unknown keys."""


def calls_of(*rows: Any, source: CallSource = RUN) -> list[CallExecution]:
    """Decode rows, each a mapping or the JSON of one; those that don't decode are left out."""
    records = [Raw(row if isinstance(row, bytes) else encoded(row)) for row in rows]
    decoded = decode_records(records, 0, source, RUN_TEST_CALLS)
    return [call for call in decoded if isinstance(call, CallExecution)]


def recorded_calls(recording: Recording) -> list[CallExecution]:
    """Return the calls of a recorded page."""
    return list(calls_of(*recording.json["results"], source=_LISTS[recording.endpoint]))


def call_of(**row: Any) -> CallExecution:
    """Decode one row."""
    (call,) = calls_of({"id": "1", **row})
    return call


def batch_of(calls: Sequence[CallExecution]) -> Batch:
    """Return calls as the writers take them."""
    return Batch([call.raw for call in calls], [call.source for call in calls], restore=calls.__getitem__)


def never(place: int) -> CallExecution:
    """Stand in for restoring a call where none is to be restored."""
    raise AssertionError(f"row {place} goes the careful way")


def refused(_place: int) -> CallExecution:
    """Stand in for restoring a call from what is no record."""
    raise DecodingError("no record")


def noted(calls: Sequence[CallExecution]) -> tuple[list[str], Callable[[int], CallExecution]]:
    """Return what restores calls, and before it the list that it notes their ids in."""
    ids: list[str] = []

    def restore(place: int) -> CallExecution:
        ids.append(calls[place].id)
        return calls[place]

    return ids, restore


def encoded(row: Any) -> bytes:
    """Return JSON as the server writes it."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def written(format_: str, calls: Sequence[CallExecution], **options: Any) -> bytes:
    """Return what a format makes of calls; CSV gets the columns of all their evaluations."""
    columns = EvaluationColumns()
    for call in calls:
        columns.note(call)
    file = io.BytesIO()
    writer = open_writer(format_, file, sources=SOURCES, evaluations=columns.columns(), **options)
    writer.write(batch_of(calls))
    writer.close()
    assert not file.closed
    return file.getvalue()


SAMPLES = (
    samples.served_row,
    samples.served_chat_row,
    samples.served_snapshot_row,
    samples.served_version_row,
    samples.nested_snapshot,
    samples.documented_row,
    samples.documented_run_test_row,
)
"""Rows of all lists, in both dialects."""

KEYS = sorted({key for sample in SAMPLES for key in sample()} - {"id"})
TIMES = st.sampled_from(
    [
        "2026-01-08T10:00:00",
        "2026-01-08T10:00:00.123456789+05:30",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-00:01",
    ]
)
VALUES = st.one_of(
    st.just(...),
    NUMBERS,
    st.sampled_from([-0.0, INEXACT, 2**60, HUGE]),
    TIMES,
    st.booleans(),
    TEXT,
    JSON,
    TURNS,
    EVALUATIONS,
)
KEYS_OF_ANY_KIND = st.sampled_from([*KEYS, "", "self", "class", "__init__", 'a"b', "f0", "é"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Draw a record of any list and dialect, some of it changed: values, keys, their order and number."""
    row = draw(st.sampled_from(SAMPLES))(id=draw(st.sampled_from(["1", "2", "é", ""])))
    changes = draw(st.dictionaries(KEYS_OF_ANY_KIND, VALUES, max_size=2))
    row = samples.changed(row, changes)
    if draw(st.booleans()):
        row = dict(draw(st.permutations(list(row.items()))))
    record = encoded(row)
    twice = draw(st.none() | st.sampled_from(KEYS))
    if twice is None:
        return record
    return record[:-1] + b",%b:%b}" % (
        encoded(twice),
        encoded(draw(VALUES.filter(lambda value: value is not ...))),
    )


def error_in(call: CallExecution, name: str) -> bool:
    """Tell whether a call's nested part has no known shape."""
    try:
        getattr(call, name)
    except Exception:  # noqa: BLE001 - whatever it is, the model refuses it
        return True
    return False


def normalised_lines(calls: Sequence[CallExecution]) -> Iterator[Any]:
    """Yield the lines of normalised JSON Lines, decoded."""
    for line in written("jsonl", calls, normalised=True).splitlines():
        yield json.loads(line)


LONG = 1_100
"""Calls of a list that is read in pages; shorter ones are read whole."""


class ServerClock:
    """A stand-in's virtual clock as a session's: sleeping moves both on."""

    def __init__(self, server: StandInServer) -> None:
        self._clock = server.clock

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def jitter(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        self._clock.advance(seconds)


class StopHereError(Exception):
    """Ends an export from outside."""


def stop_after(number: int, phase: str = "reading") -> Callable[[ExportProgress], None]:
    """Return what ends an export when it tells of its progress in a phase for the so-many-th time."""
    told = 0

    def count(progress: ExportProgress) -> None:
        nonlocal told
        told += progress.phase == phase and progress.records > 0
        if told == number:
            raise StopHereError

    return count


async def interrupt(
    session: Session,
    sources: Iterable[CallSource] | CallSource,
    target: Path,
    *,
    after: int = 1,
    phase: str = "reading",
    **options: Any,
) -> None:
    """Begin an export, and end it from outside."""
    try:
        await export_calls(session, sources, target, on_progress=stop_after(after, phase), **options)
    except StopHereError:
        return
    raise AssertionError("the export ended before it was interrupted")


def lines_in(report: ExportReport) -> list[bytes]:
    """Return the lines of all parts."""
    return [line for path in report.files for line in path.read_bytes().splitlines()]


def ids_in(report: ExportReport) -> list[str]:
    """Return the ids in all parts of JSON Lines."""
    return [json.loads(line)["id"] for line in lines_in(report)]


def names_in(directory: Path) -> set[str]:
    """Return the names of what is in a directory."""
    return {path.name for path in directory.iterdir()}


def pages_asked(server: StandInServer) -> int:
    """Count the pages of lists that were asked for, and forget all requests."""
    asked = sum("limit" in request.query for request in server.requests)
    server.clear_requests()
    return asked


def details_asked(server: StandInServer) -> list[str]:
    """Return the ids whose details were asked for, and forget all requests."""
    paths = [request.path for request in server.requests if "/call-executions/" in request.path]
    server.clear_requests()
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in paths if not path.endswith("call-executions/")]


def all_lists(server: StandInServer) -> list[CallSource]:
    """Return one list of each kind."""
    return [
        RunTestCalls(server.run_test_ids[1]),
        AgentVersionCalls(*server.agent_versions[0]),
        TestExecutionCalls(server.test_execution_ids[2]),
    ]


async def export(server: StandInServer, target: Path, **options: Any) -> ExportReport:
    """Export one list of each kind into parts of 50 records."""
    async with open_session(server) as session:
        return await export_calls(session, all_lists(server), target, **{"part_rows": 50, **options})


def read_manifest(folder: Path) -> Any:
    """Read a manifest as any program would."""
    return json.loads((folder / "_manifest.json").read_bytes())


def redo_digest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give a manifest the digest that fits it, as the documents describe it."""
    text = json.dumps({**manifest, "digest": ""}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**manifest, "digest": hashlib.sha256(text.encode()).hexdigest()}


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Replace a manifest."""
    (folder / "_manifest.json").write_text(json.dumps(manifest))


def ids_of_lines(path: Path) -> list[str]:
    """Return the ids in a file of JSON Lines, in order."""
    return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
