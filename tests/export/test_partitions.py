"""Hive folders: each reader finds every call, and reads no more than it must."""

import json
import resource
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import (
    ExportError,
    RunTestCalls,
    read_export,
    verify_export,
)
from futureagi_async.export import export_calls
from futureagi_async.export.partitions import folder_of_day, folder_of_source
from futureagi_async.export.targets import PART_NAME
from futureagi_async.testing import Motion, StandInServer
from tests.support.exports import (
    EXECUTION,
    RUN,
    VERSION,
    ServerClock,
    all_lists,
    export,
    ids_of_lines,
    interrupt,
    names_in,
    read_manifest,
)
from tests.support.sessions import open_session

duckdb = pytest.importorskip("duckdb")
pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")

GLOBS = {"source": "out/source_type=*/source_id=*/*.parquet", "date": "out/date=*/*.parquet"}
KEYS = {"source": "source_id", "date": "date"}
NULL = "__HIVE_DEFAULT_PARTITION__"


def by_duckdb(glob: str, key: str) -> list[tuple[Any, str]]:
    """Ask for each id with the folder's value, as DuckDB finds the layout by itself."""
    return list(duckdb.sql(f"SELECT {key}, id FROM '{glob}'").fetchall())


def by_polars(glob: str, key: str) -> list[tuple[Any, str]]:
    return list(polars.scan_parquet(glob, hive_partitioning=True).select(key, "id").collect().iter_rows())


def hive(key: str) -> Any:
    """Say how the folders are named, and of what type their values are: a guessed one may not be null."""
    return dataset.partitioning(pa.schema([(key, pa.string())]), flavor="hive")


def by_pandas(_glob: str, key: str) -> list[tuple[Any, str]]:
    frame = pandas.read_parquet("out", partitioning=hive(key) if key == "date" else "hive")
    return [
        (None if pandas.isna(one) else one, id_) for one, id_ in zip(frame[key], frame["id"], strict=True)
    ]


def by_pyarrow(_glob: str, key: str) -> list[tuple[Any, str]]:
    table = parquet.read_table("out")
    return list(zip(table[key].to_pylist(), table["id"].to_pylist(), strict=True))


READERS: dict[str, Callable[[str, str], list[tuple[Any, str]]]] = {
    "duckdb": by_duckdb,
    "polars": by_polars,
    "pandas": by_pandas,
    "pyarrow": by_pyarrow,
}


async def spread(server: StandInServer) -> list[str]:
    """Give some calls of the lists other times, or none, and return them."""
    ids = server.run_test_rows(server.run_test_ids[1])[:5]
    moments = ["2026-01-07T23:59:59.999999Z", "2026-01-08T00:00:00Z", "1969-12-31T23:59:59.5Z", None, "never"]
    for id_, moment in zip(ids, moments, strict=True):
        server.alter_call(id_, {"timestamp": moment})
    return ids


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("partition", GLOBS)
async def test_readers_find_every_call(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: Any, reader: str
) -> None:
    """pandas, pyarrow, polars and DuckDB read the folders, each by a line of the docs, and their values."""
    await spread(served)
    report = await export(served, tmp_path / "out", format="parquet", partition=partition)
    monkeypatch.chdir(tmp_path)
    found = READERS[reader](GLOBS[partition], KEYS[partition])
    assert len(found) == report.records > 50
    expected = read_export("out").calls
    if partition == "source":
        columns = ("source_run_test_id", "source_version_id", "source_test_execution_id")
        rows = expected.select(("id", *columns)).to_pylist()
        values = [(next(row[each] for each in columns if row[each]), row["id"]) for row in rows]
    else:
        moments = expected.select(("id", "timestamp")).to_pylist()
        values = [(row["timestamp"] and row["timestamp"].date().isoformat(), row["id"]) for row in moments]
        found = [(None if day is None else str(day), id_) for day, id_ in found]
        assert {"1969-12-31", "2026-01-07", "2026-01-08", None} <= {day for day, _ in found}
    assert sorted(found, key=str) == sorted(values, key=str)


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("partition", GLOBS)
async def test_only_the_folders_that_are_needed_are_read(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: Any
) -> None:
    """A query on one day, or one list, leaves the other files alone: even where they are broken."""
    await spread(served)
    report = await export(served, tmp_path / "out", format="parquet", partition=partition)
    kept = report.files[-2].parent
    rows = sum(parquet.read_metadata(path).num_rows for path in report.files[::2] if path.parent == kept)
    others = sorted(path for path in report.files[::2] if path.parent != kept)
    assert len(others) > 1
    for path in others[1:]:  # of the first one, DuckDB reads the schema
        path.write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    key, value = kept.name.split("=")
    query = f"SELECT count(*) FROM '{GLOBS[partition]}' WHERE {key} = '{value}'"
    assert duckdb.sql(query).fetchall() == [(rows,)]
    schema = parquet.read_schema(report.files[-2]).append(pa.field(key, pa.string()))
    found = dataset.dataset("out", partitioning=hive(key), schema=schema)
    assert found.count_rows(filter=dataset.field(key) == value) == rows
    with pytest.raises(pa.ArrowInvalid):
        found.count_rows(filter=dataset.field("id") != "")


@pytest.mark.anyio
async def test_evaluations_have_folders_of_their_own(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below ``_evaluations``, the same folders are a table to the same readers."""
    report = await export(served, tmp_path / "out", format="parquet", partition="source")
    monkeypatch.chdir(tmp_path)
    rows = sum(parquet.read_metadata(path).num_rows for path in report.files[1::2])
    assert parquet.read_table("out/_evaluations").num_rows == rows > 50
    assert len(pandas.read_parquet("out/_evaluations")) == rows
    assert polars.read_parquet("out/_evaluations/**/*.parquet", hive_partitioning=True).height == rows
    found = duckdb.sql("SELECT count(*), count(DISTINCT source_id) FROM 'out/_evaluations/**/*.parquet'")
    assert found.fetchall() == [(rows, 3)]


@pytest.mark.quick(2)
@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"format": "csv"}, {"normalised": True}, {"format": "parquet"}])
@pytest.mark.parametrize("partition", GLOBS)
async def test_formats_in_folders(
    served: StandInServer, tmp_path: Path, partition: Any, options: dict[str, Any]
) -> None:
    """Whatever the format, an export in folders has the records of any other, verifies, and is read back."""
    ordinary = await export(served, tmp_path / "ordinary", **options)
    report = await export(served, tmp_path / "out", partition=partition, part_rows=20, **options)
    assert report.records == ordinary.records
    assert read_manifest(tmp_path / "out")["parameters"]["partition"] == partition
    names = [part["name"] for part in read_manifest(tmp_path / "out")["parts"]]
    assert all(map(PART_NAME.fullmatch, names))
    assert [tmp_path / "out" / name for name in names] == list(report.files)
    assert verify_export(tmp_path / "out").ok
    assert (
        await export(served, tmp_path / "out", partition=partition, part_rows=20, **options)
    ).already_finished
    update = await export(served, tmp_path / "new", since=tmp_path / "out", partition=partition, **options)
    assert all(update.changed_since)
    if options.get("format") == "csv":
        return
    one, other = read_export(tmp_path / "ordinary").calls, read_export(tmp_path / "out").calls
    assert sorted(one["id"].to_pylist()) == sorted(other["id"].to_pylist())
    if partition == "source":
        assert other["source_index"].null_count == 0


@pytest.mark.anyio
async def test_lists_of_one_run_test_share_a_folder(served: StandInServer, tmp_path: Path) -> None:
    """What chooses calls is in no folder's name; lines as sent there name no list, as nobody knows it."""
    run = served.run_test_ids[1]
    sources = [
        RunTestCalls(run, status="completed"),
        RunTestCalls(run, status="failed"),
        *all_lists(served)[1:],
    ]
    async with open_session(served) as session:
        report = await export_calls(session, sources, tmp_path / "out", partition="source", ordered=True)
    assert verify_export(tmp_path / "out").ok
    folders = {path.parent.name for path in report.files}
    assert len(folders) == 3
    places = read_export(tmp_path / "out").calls["source_index"].to_pylist()
    counts = [source.received for source in report.fetch]
    assert [places.count(place) for place in (None, 2, 3)] == [counts[0] + counts[1], counts[2], counts[3]]


@pytest.mark.anyio
async def test_what_is_verified_in_folders(served: StandInServer, tmp_path: Path) -> None:
    """A part that was added, moved or changed in a folder is found, and so is a link on the way to it."""
    report = await export(served, tmp_path / "out", partition="source")
    first, second = report.files[0], report.files[-1]
    added = first.with_name("calls-00009.jsonl")
    added.write_bytes(first.read_bytes())
    assert "does not belong to this export" in verify_export(tmp_path / "out").problems[0]
    added.unlink()
    first.rename(second.with_name(first.name))
    assert len(verify_export(tmp_path / "out").problems) == 2
    second.with_name(first.name).rename(first)
    assert verify_export(tmp_path / "out").ok
    first.parent.rename(tmp_path / "elsewhere")
    first.parent.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert verify_export(tmp_path / "out").problems


@pytest.mark.anyio
async def test_folders_of_an_earlier_export_go(served: StandInServer, tmp_path: Path) -> None:
    """Replaced by another layout, a directory keeps no empty folder; none of somebody else's is touched."""
    await export(served, tmp_path / "out", format="parquet", partition="source")
    theirs = tmp_path / "out" / "source_type=mine"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    report = await export(served, tmp_path / "out", partition="date", resume=False)
    folders = {path.parent.name for path in report.files}
    assert names_in(tmp_path / "out") == {"_manifest.json", "source_type=mine", *folders}
    await export(served, tmp_path / "out", resume=False)
    assert names_in(tmp_path / "out") >= {"source_type=mine", "calls-00000.jsonl"}
    assert not names_in(tmp_path / "out") & folders


@pytest.mark.anyio
async def test_a_strangers_part_in_a_folder_is_not_replaced(served: StandInServer, tmp_path: Path) -> None:
    """A file in a folder that is named like a part is told of, and refused."""
    folder = tmp_path / "out" / "date=2026-01-31"
    folder.mkdir(parents=True)
    (folder / "calls-00000.jsonl").write_text("mine")
    with pytest.raises(ExportError, match=r"date=2026-01-31/calls-00000\.jsonl already exists"):
        await export(served, tmp_path / "out", partition="date")
    assert not served.requests
    await export(served, tmp_path / "out", partition="date", overwrite=True)
    assert verify_export(tmp_path / "out").ok


@pytest.mark.anyio
async def test_an_interrupted_export_in_folders_goes_on(served: StandInServer, tmp_path: Path) -> None:
    """The result is that of one that was not interrupted; other folders are refused."""
    sources = [RunTestCalls(served.add_run_test(1_100, slim=True)), RunTestCalls(served.run_test_ids[1])]
    options: dict[str, Any] = {"partition": "source", "page_size": 60, "part_rows": 400, "ordered": True}
    async with open_session(served) as session:
        expected = await export_calls(session, sources, tmp_path / "expected", **options)
        for phase in ("reading", "writing"):
            await interrupt(session, sources, tmp_path / "out", after=3, phase=phase, **options)
        with pytest.raises(ExportError, match="partition was 'source' and is now 'date'"):
            await export_calls(session, sources, tmp_path / "out", **{**options, "partition": "date"})
        report = await export_calls(session, sources, tmp_path / "out", **options)
    assert report.resumed == 2
    names = [path.relative_to(tmp_path / "out") for path in report.files]
    assert names == [path.relative_to(tmp_path / "expected") for path in expected.files]
    assert [path.read_bytes() for path in report.files] == [path.read_bytes() for path in expected.files]


@pytest.mark.anyio
async def test_a_newer_version_is_in_its_day_alone(tmp_path: Path) -> None:
    """A call that came again, changed, stands once, in the folder of its newest time."""
    with StandInServer(request_seconds=0.05) as moving:
        run = moving.add_run_test(1_200, slim=True)
        moving.move(run, Motion(updates=8.0))
        async with open_session(moving, clock=ServerClock(moving)) as session:
            source = RunTestCalls(run)
            report = await export_calls(session, source, tmp_path / "out", partition="date", page_size=60)
    assert sum(source.updates for source in report.fetch) > 0
    found: list[str] = []
    for path in report.files:
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            found.append(record["id"])
            assert path.parent.name == f"date={record['timestamp'][:10]}"
    assert len(found) == len(set(found)) == report.records


@pytest.mark.slow
@pytest.mark.anyio
async def test_many_folders_need_few_files_open(served: StandInServer, tmp_path: Path) -> None:
    """Far more folders than descriptors are written, each call in its own."""
    runs = [served.add_run_test(1, slim=True) for _ in range(150)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_session(served) as session:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
            report = await export_calls(
                session, list(map(RunTestCalls, runs)), tmp_path / "out", partition="source", normalised=True
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(report.files) == 150
    for path in report.files:
        (id_,) = ids_of_lines(path)
        assert id_ in served.run_test_rows(path.parent.name.removeprefix("source_id="))


@pytest.mark.anyio
async def test_no_calls_no_folders(served: StandInServer, tmp_path: Path) -> None:
    """An export without a single call has no part, verifies, and is read back as an empty table."""
    run = served.add_run_test(0)
    async with open_session(served) as session:
        report = await export_calls(
            session, RunTestCalls(run), tmp_path / "out", format="parquet", partition="date"
        )
    assert (report.records, report.files, report.complete) == (0, (), True)
    assert verify_export(tmp_path / "out").ok
    assert read_export(tmp_path / "out").num_rows == 0


@given(moment=st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_day_is_that_of_utc(moment: datetime) -> None:
    """Days are counted from 1970, before it downwards."""
    day = moment.date().toordinal() - date(1970, 1, 1).toordinal()
    assert folder_of_day(day) == f"date={moment.date().isoformat()}"
    assert folder_of_day(None) == f"date={NULL}"


def test_folders_of_lists() -> None:
    """A list's kind and id name its folder, and all are names that a part may have."""
    assert folder_of_source(RUN.to_dict()) == f"source_type=run_test/source_id={RUN.run_test_id}"
    assert folder_of_source(VERSION.to_dict()) == f"source_type=agent_version/source_id={VERSION.version_id}"
    expected = f"source_type=test_execution/source_id={EXECUTION.test_execution_id}"
    assert folder_of_source(EXECUTION.to_dict()) == expected
    for folder in (expected, folder_of_day(0), folder_of_day(None)):
        assert PART_NAME.fullmatch(f"{folder}/calls-00000.csv")
        assert PART_NAME.fullmatch(f"_evaluations/{folder}/evaluations-00000.parquet")
    for name in ("date=2026-01-31/../calls-00000.csv", "date=x/calls-00000.csv", "a=b/calls-00000.csv"):
        assert not PART_NAME.fullmatch(name)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("out", {"partition": "week"}, "partition must be 'source' or 'date', not 'week'"),
    ("calls.csv", {"partition": "date"}, "partition needs a directory"),
    (
        "out",
        {"partition": "date", "drop": ["timestamp"], "format": "csv"},
        "partition 'date' can't be used with drop 'timestamp'",
    ),
    (
        "out",
        {"partition": "source", "drop": ["source"], "format": "csv"},
        "partition 'source' can't be used with drop 'source_kind'",
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("target", "options", "message"), WRONG)
async def test_wrong_partitions(
    served: StandInServer, tmp_path: Path, target: str, options: Any, message: str
) -> None:
    """Each is told before any request; columns that are not chosen may still name folders."""
    with pytest.raises(ValueError, match=message):
        await export(served, tmp_path / target, **options)
    assert not served.requests
    chosen = {"partition": "date", "columns": ["id", "status"], "format": "csv"}
    assert (await export(served, tmp_path / "other", **chosen)).complete
