"""Names of targets: which are files, which directories, and which are refused, with what works."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import RunTestCalls
from futureagi_async.export import export_calls
from futureagi_async.export.targets import read_target
from futureagi_async.testing import StandInServer
from tests.support.exports import names_in
from tests.support.sessions import UNKNOWN_ID, open_session

OTHER_FILES = {
    "a.json": "a.jsonl",
    "a.JSON": "a.jsonl",
    "a.txt": "a.jsonl",
    "a.log": "a.jsonl",
    "a.yaml": "a.jsonl",
    "a.html": "a.jsonl",
    "a.tsv": "a.csv",
    "a.xls": "a.csv",
    "a.xlsx": "a.csv",
    "a.ods": "a.csv",
    "a.arrow": "a.parquet",
    "a.feather": "a.parquet",
    "a.avro": "a.parquet",
    "a.pq": "a.parquet",
    "a.sqlite": "a.parquet",
    "a.duckdb": "a.parquet",
    "a.jsnl": "a.jsonl",
    "a.cvs": "a.csv",
    "a.paquet": "a.parquet",
    "a.jsonl ": "a.jsonl",
    "a.gz": "a.jsonl.gz",
    "a.zip": "a.jsonl.gz",
    "a.json.gz": "a.jsonl.gz",
    "a.json.zst": "a.jsonl.zst",
    "a.tsv.gz": "a.csv.gz",
    "a.pq.gz": "a.parquet",
    "a.tar.gz": "a.jsonl.gz",
    "a.csv.bz2": "a.csv.gz",
    "a.jsonl.xz": "a.jsonl.gz",
    "a.parquet.zip": "a.parquet",
    "a.jsonl.bak": "a.jsonl",
    "a.csv.gz.tmp": "a.csv.gz",
    "2026.01.31.gz": "2026.01.31.jsonl.gz",
    ".jsonl": "calls.jsonl",
    ".csv": "calls.csv",
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_data_files_are_refused_with_the_nearest_that_works(name: str) -> None:
    """What looks like some other file becomes no directory; following the advice works, both ways."""
    with pytest.raises(ValueError, match=r"^target must end in") as refused:
        read_target(f"out/{name}", None)
    meant = f"out/{OTHER_FILES[name]}"
    assert f"use '{meant}' instead of 'out/{name}'" in str(refused.value)
    assert not read_target(meant, None).is_directory
    assert "For a directory, add a slash at the end" in str(refused.value)
    assert read_target(f"out/{name}/", None).is_directory


@pytest.mark.parametrize("format_", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", ["a.json", "a.gz", "a.xlsx.gz", "a.jsonl.bz2", "a.cvs"])
def test_a_format_that_was_named_is_in_the_advice(name: str, format_: str) -> None:
    """Where a format is asked for, the file that is proposed is of that format."""
    with pytest.raises(ValueError, match=rf"use 'a\.{format_}(\.gz)?' instead of"):
        read_target(name, format_)


@pytest.mark.parametrize(
    "name",
    ["2026-01-31", "2026.01.31", "v1.2", "out", "out.d", "acme.example", ".calls", "exports.old", "a.jsonl/"],
)
def test_other_names_are_directories(name: str) -> None:
    """Dates, versions and domains are names of directories, and so is what ends in a slash."""
    assert read_target(name, None).is_directory


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_every_name_is_taken_or_refused(name: str) -> None:
    """No name surprises; a refusal's advice is taken."""
    try:
        read_target(name, None)
    except ValueError as refused:
        advice = str(refused).partition("use '")[2].partition("' instead of")[0]
        assert not advice or not read_target(advice, None).is_directory


ADDRESSES = {
    "ftp://bucket/out": "'./out'",
    "hdfs://bucket/calls.parquet": "'./calls.parquet'",
    "https://user:canary@host.example/calls.csv": "'./calls.csv'",
    "abfs+x.y://container/a/b/": "'./b'",
    "file:///tmp/calls.jsonl": "'/tmp/calls.jsonl'",
}


@pytest.mark.parametrize("as_path", [False, True])
@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_refused(address: str, *, as_path: bool) -> None:
    """An address makes no directory of its scheme's name; the advice is a path, and holds no password."""
    with pytest.raises(ValueError, match=r"^target must be ") as refused:
        read_target(PurePosixPath(address) if as_path else address, None)
    assert ADDRESSES[address] in str(refused.value)
    assert "canary" not in str(refused.value)
    read_target(ADDRESSES[address].strip("'"), None)


@pytest.mark.parametrize("name", ["c:/out", "./s3:/out", "a b: c", "s3"])
def test_paths_with_colons_are_no_addresses(name: str) -> None:
    """A drive, a directory that is really called so, and ordinary text are paths."""
    assert read_target(name, None).path == Path(name)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "a.json"},
        {"target": "s3://bucket/calls.jsonl"},
        {"target": "https://bucket/out"},
        {"target": "a\0.jsonl"},
        {"target": "-"},
        {"recordings": "s3://bucket/audio"},
        {"since": "s3://bucket/calls.jsonl"},
        {"since": "https://bucket/_manifest.json"},
    ],
)
async def test_exports_refuse_such_names_before_anything_happens(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    """From Python it is a `ValueError` that begins with the argument's name; nothing is asked or written."""
    monkeypatch.chdir(tmp_path)
    arguments = {"target": "a.jsonl", **wrong}
    async with open_session(served) as session:
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must "):
            await export_calls(session, RunTestCalls(UNKNOWN_ID), arguments.pop("target"), **arguments)
    assert not served.requests
    assert not names_in(tmp_path)
