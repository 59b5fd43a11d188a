"""How rows are merged, in both engines and against a model: dictionaries by key."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futureagi_async import CallExecution, FetchReport, RunTestCalls, SourceReport
from futureagi_async.errors import SyncError
from futureagi_async.export.formats import open_writer
from futureagi_async.export.formats.records import Batch
from futureagi_async.export.report import ExportReport
from futureagi_async.sync.decisions import Content, SourceState
from futureagi_async.sync.job import open_database
from futureagi_async.sync.schema import source_id_of
from futureagi_async.sync.staging import Applied, Change, Counts, Database
from futureagi_async.sync.targets import read_sync_target
from tests.support.databases import ENGINES, content_of, database_in, rows_of
from tests.support.exports import StopHereError, calls_of
from tests.support.slow import examples

SOURCES = [RunTestCalls(f"00000000-0000-4000-8000-00000000000{number}") for number in (1, 2)]
IDS = [source_id_of(source) for source in SOURCES]
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@attrs.define(frozen=True)
class ReadCall:
    """A call as a sync read it."""

    place: int
    id: str
    minute: int | None
    """Of its timestamp."""
    scores: tuple[float, ...]
    """Of its evaluations."""

    @property
    def key(self) -> tuple[str, str]:
        return IDS[self.place], self.id

    def decoded(self) -> CallExecution:
        evaluations = {f"e{number}": {"value": score} for number, score in enumerate(self.scores)}
        minute = None if self.minute is None else (START + timedelta(minutes=self.minute)).isoformat()
        (call,) = calls_of(
            {"id": self.id, "timestamp": minute, "eval_outputs": evaluations}, source=SOURCES[self.place]
        )
        return call


@attrs.define(frozen=True)
class Reading:
    """What one sync read."""

    calls: tuple[ReadCall, ...]
    in_full: frozenset[int]
    """Places of sources that were read in full."""


READ_CALLS = st.builds(
    ReadCall,
    st.integers(0, 1),
    st.sampled_from("abcde"),
    st.none() | st.integers(0, 3),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=2).map(tuple),
)
READINGS = st.builds(
    Reading,
    st.lists(READ_CALLS, max_size=6, unique_by=lambda call: call.key).map(tuple),
    st.frozensets(st.integers(0, 1)),
)


def write_parts(calls: Sequence[ReadCall], folder: Path) -> tuple[Path, ...]:
    """Write calls as an export does, into two parts."""
    folder.mkdir()
    paths: list[Path] = []
    middle = len(calls) // 2
    for number, some in enumerate((calls[:middle], calls[middle:])):
        decoded = [call.decoded() for call in some]
        files = [folder / f"{kind}-{number:05}.parquet" for kind in ("calls", "evaluations")]
        with files[0].open("wb") as file, files[1].open("wb") as side_file:
            writer = open_writer("parquet", file, sources=SOURCES, side_file=side_file)
            if decoded:
                batch = Batch(
                    [call.raw for call in decoded], [call.source for call in decoded], decoded.__getitem__
                )
                writer.write(batch)
            writer.close()
        paths += files
    return tuple(paths)


def change_of(reading: Reading, number: int, folder: Path) -> Change:
    """Return a sync that is ready to be applied."""
    fetch = FetchReport(
        tuple(
            SourceReport(source=source, verdict="complete", reason="", expected=None, received=0)
            for source in SOURCES
        )
    )
    files = write_parts(reading.calls, folder / f"read-{number}")
    report = ExportReport(
        path=folder, format="parquet", records=len(reading.calls), bytes=0, fetch=fetch, files=files
    )
    states = [
        SourceState(
            source=source,
            named=True,
            verdict="complete",
            reason="",
            complete_as_of=START,
            full_read_at=None,
            synced_at=moment_of(number),
            content=Content(transcripts=False, provider_data=False),
        )
        for source in SOURCES
    ]
    return Change(
        report=report,
        source_ids=IDS,
        listed_in_full=[IDS[place] for place in sorted(reading.in_full)],
        states=states,
        number=number,
        started_at=moment_of(number),
        package="futureagi-async",
        digest=f"digest {number}",
        complete=True,
    )


def moment_of(number: int) -> datetime:
    """Return when a sync began."""
    return START + timedelta(days=number)


def opened(folder: Path, engine: str) -> Database:
    database = open_database(read_sync_target(database_in(folder, engine)))
    database.work.mkdir(parents=True)
    return database


class Model:
    """What the tables should hold."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], tuple[ReadCall, datetime, datetime | None]] = {}

    def apply(self, reading: Reading, number: int) -> dict[str, Counts]:
        """Merge what was read; return what became of it."""
        found: dict[str, dict[str, int]] = {}

        def count(key: tuple[str, str], what: str) -> None:
            counts = found.setdefault(key[0], {})
            counts[what] = counts.get(what, 0) + 1

        now = moment_of(number)
        for call in reading.calls:
            before = self.calls.get(call.key)
            outcome = _outcome(before[0] if before else None, call)
            count(call.key, outcome)
            if outcome == "older":
                assert before is not None
                self.calls[call.key] = (before[0], before[1], None)
            else:
                self.calls[call.key] = (call, now, None)
        read = {call.key for call in reading.calls}
        for key, (call, _, deleted_at) in list(self.calls.items()):
            if call.place in reading.in_full and key not in read and deleted_at is None:
                self.calls[key] = (call, now, now)
                count(key, "deleted")
        return {source_id: Counts(**counts) for source_id, counts in found.items()}

    def rows(self) -> tuple[set[Any], list[Any]]:
        """Return calls and evaluations, in what matters here."""
        calls = {
            (*key, call.minute, synced_at, deleted_at)
            for key, (call, synced_at, deleted_at) in self.calls.items()
        }
        evaluations = [
            (*key, f"e{number}", score)
            for key, (call, _, _) in self.calls.items()
            for number, score in enumerate(call.scores)
        ]
        return calls, sorted(evaluations)


def _outcome(before: ReadCall | None, now: ReadCall) -> str:
    if before is None:
        return "inserted"
    if before.minute is None or now.minute is None or now.minute > before.minute:
        return "updated"
    return "unchanged" if now.minute == before.minute else "older"


def rows_in(database: str) -> tuple[set[Any], list[Any]]:
    """Return the same of a database."""
    calls = {
        (
            row["source_id"],
            row["id"],
            None if row["timestamp"] is None else int((row["timestamp"] - START).total_seconds() // 60),
            row["synced_at"],
            row["deleted_at"],
        )
        for row in rows_of(database, "calls")
    }
    evaluations = [
        (row["source_id"], row["call_id"], row["evaluation_id"], row["value_number"])
        for row in rows_of(database, "evaluations")
    ]
    assert len(calls) == len(rows_of(database, "calls"))
    return calls, sorted(evaluations)


OLDER_AND_BACK = [
    Reading((ReadCall(0, "a", 2, (1.0,)), ReadCall(0, "b", None, (0.5, 1.0))), frozenset()),
    Reading((ReadCall(0, "a", 1, (0.0, 0.0)),), frozenset([0])),
    Reading((ReadCall(0, "c", 0, ()), ReadCall(1, "a", 0, (1.0,))), frozenset([0])),
    Reading((ReadCall(0, "a", 1, (0.0,)), ReadCall(0, "b", 3, (0.0,))), frozenset()),
]
"""A call comes in an older version, is gone, and comes back in an older version; another comes back newer."""


def test_rows_are_merged_as_in_a_dictionary() -> None:
    """Newer versions replace, older ones never do, full reads mark what is gone; both engines are equal."""
    check_merging(OLDER_AND_BACK)


@pytest.mark.slow
@pytest.mark.timeout(180)
@settings(max_examples=examples(20))
@given(readings=st.lists(READINGS, min_size=1, max_size=4))
def test_any_rows_are_merged_as_in_a_dictionary(readings: list[Reading]) -> None:
    """So are readings that nobody thought of."""
    check_merging(readings)


def check_merging(readings: list[Reading]) -> None:
    """Assert that a database of each kind holds what dictionaries would, after each of these."""
    with tempfile.TemporaryDirectory() as name:
        folder, contents = Path(name), []
        for engine in ENGINES:
            (own := folder / engine).mkdir()
            database, model = opened(own, engine), Model()
            for number, reading in enumerate(readings, start=1):
                applied = database.apply(change_of(reading, number, own))
                counts = model.apply(reading, number)
                assert {id_: each for id_, each in applied.counts.items() if each != Counts()} == counts
                assert rows_in(database_in(own, engine)) == model.rows()
            contents.append(without_clocks(content_of(database_in(own, engine))))
        assert contents[0] == contents[1]


def without_clocks(content: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return rows without what two databases can't have in common."""
    own = ("finished_at", "calls_version", "evaluations_version", "sources_version")
    return {
        table: [{name: value for name, value in row.items() if name not in own} for row in rows]
        for table, rows in content.items()
    }


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.quick(1)
def test_a_sync_that_begins_from_another_state_is_refused(tmp_path: Path, engine: str) -> None:
    """Where something else synced since the state was read, nothing is written."""
    database = opened(tmp_path, engine)
    reading = Reading((ReadCall(0, "a", 1, (1.0,)),), frozenset())
    database.apply(change_of(reading, 1, tmp_path))
    before = content_of(database_in(tmp_path, engine))
    other = Reading((ReadCall(0, "a", 2, ()),), frozenset())
    with pytest.raises(SyncError, match=r"by another .*run it again"):
        database.apply(change_of(other, 3, tmp_path))
    assert content_of(database_in(tmp_path, engine)) == before


def test_what_is_applied_comes_back_as_the_state(tmp_path: Path, engine: str) -> None:
    """Sources and their moments, number and digest are read as they were written."""
    database = opened(tmp_path, engine)
    assert database.read_state().number == 0
    change = change_of(Reading((), frozenset()), 1, tmp_path)
    applied: Applied = database.apply(change)
    state = database.read_state()
    assert (state.number, state.digest, state.lacks_columns) == (1, "digest 1", False)
    assert list(state.sources) == list(change.states)
    assert not applied.counts


@pytest.mark.slow
def test_commits_that_no_sync_vouches_for_are_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sync wrote into Delta tables before it was cut off is gone after the next one."""
    database, name = opened(tmp_path, "delta"), database_in(tmp_path, "delta")
    database.apply(change_of(Reading((ReadCall(0, "a", 1, (1.0,)),), frozenset()), 1, tmp_path))
    before = content_of(name)
    with monkeypatch.context() as patched:
        patched.setattr("futureagi_async.sync.delta._write_sources", stop)
        cut_off = Reading((ReadCall(0, "a", 2, ()), ReadCall(0, "b", 2, (0.5,))), frozenset())
        change = change_of(cut_off, 2, tmp_path / "read-1")
        with pytest.raises(StopHereError):
            database.apply(change)
    assert content_of(name) == before
    model, next_one = Model(), Reading((ReadCall(1, "c", 1, (0.0,)),), frozenset())
    model.apply(Reading((ReadCall(0, "a", 1, (1.0,)),), frozenset()), 1)
    model.apply(next_one, 2)
    database.apply(change_of(next_one, 2, tmp_path))
    assert rows_in(name) == model.rows()


def stop(*_: object) -> None:
    raise StopHereError
