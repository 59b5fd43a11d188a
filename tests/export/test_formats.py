"""What all formats have in common: their columns on paper, compression, reading back ids, wrong arguments."""

import gzip
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from futureagi_async import CallExecution
from futureagi_async._sansio.decoding import decode_list, decode_records
from futureagi_async._sansio.decoding.misfits import values_of
from futureagi_async._sansio.requests import RUN_TEST_CALLS
from futureagi_async.errors import DecodingError, ExportError
from futureagi_async.export.batches import merge
from futureagi_async.export.formats import (
    FORMATS,
    Writer,
    check_installed,
    compressed,
    open_decompressed,
    open_writer,
)
from futureagi_async.export.formats.arrow_arrays import arrow_schema
from futureagi_async.export.formats.ids import read_ids
from futureagi_async.export.formats.records import (
    evaluations_of,
    extra_of,
    fields_of,
    json_of,
    refuses,
    turns_of,
)
from futureagi_async.export.formats.schema import CALLS, EVALUATIONS
from futureagi_async.models import RecordFailure
from tests.support.exports import (
    EXECUTION,
    RECORDED_PAGES,
    ROWS,
    RUN,
    SOURCES,
    VERSION,
    batch_of,
    call_of,
    calls_of,
    encoded,
    recorded_calls,
    written,
)
from tests.support.samples import Recording
from tests.support.slow import examples

DOCUMENT = Path(__file__).parents[2] / "docs" / "export-formats.md"
LAYOUTS = [("jsonl", False), ("jsonl", True), ("csv", False), ("parquet", False)]


def documented(heading: str) -> dict[str, str]:
    """Return the types by column that a table of the document gives."""
    section = DOCUMENT.read_text().split(f"### {heading}\n")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE))


@pytest.mark.parametrize(("heading", "columns"), [("Calls", CALLS), ("Evaluations", EVALUATIONS)])
def test_the_document_names_every_column(heading: str, columns: Any) -> None:
    """The tables of the document and the schema of the files have the same columns, types and order."""
    schema = arrow_schema(pa, columns)
    types = {field.name: str(field.type) for field in schema}
    turns = types.get("transcript", "")
    said = documented(heading)
    assert list(said) == schema.names
    assert {name: types[name] for name in said} == {
        name: {"text": "string", "json": "string", "list of struct": turns}.get(type_, type_)
        for name, type_ in said.items()
    }
    assert {name for name in said if said[name] == "json"} == {
        name for name in columns if columns[name] == "json"
    }


def write(path: Path, format_: str, calls: Sequence[CallExecution], *, normalised: bool = False) -> None:
    """Write calls into a file whose ending may ask for compression."""
    data = written(format_, calls, normalised=normalised)
    with path.open("wb") as file:
        if path.suffix not in (".gz", ".zst"):
            file.write(data)
            return
        around: BinaryIO
        with compressed(file, path.suffix) as around:
            around.write(data)
        assert not file.closed


def write_and_close(writer: Writer, call: CallExecution) -> None:
    """Write one call and finish."""
    writer.write(batch_of([call]))
    writer.close()


@pytest.mark.quick(1)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(40))
@given(rows=st.lists(ROWS, max_size=3))
@pytest.mark.parametrize(("format_", "normalised"), LAYOUTS)
def test_ids_are_read_back(format_: str, normalised: bool, rows: Any, tmp_path: Path) -> None:
    """Whatever else a record holds, its id comes back, and its source's place where the format has it."""
    calls = calls_of(*rows)
    write(tmp_path / "part", format_, calls, normalised=normalised)
    place = None if (format_, normalised) == ("jsonl", False) else SOURCES.index(RUN)
    found = list(read_ids(tmp_path / "part", format_, normalised=normalised))
    assert found == [(place, call.id) for call in calls]


@pytest.mark.parametrize(("format_", "normalised"), LAYOUTS)
@pytest.mark.parametrize("key", ['a"b', '""', "'a", "=1", "a,b\r\n", "é"])
def test_odd_ids_are_read_back(format_: str, normalised: bool, key: str, tmp_path: Path) -> None:
    """Quotes, separators and apostrophes in an id are undone as they were made."""
    write(tmp_path / "part", format_, calls_of({"id": key}), normalised=normalised)
    assert [found for _, found in read_ids(tmp_path / "part", format_, normalised=normalised)] == [key]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize(("format_", "normalised"), LAYOUTS[:3])
def test_compressed_files_are_read_back(format_: str, normalised: bool, ending: str, tmp_path: Path) -> None:
    """Compressed, the same bytes are in the file and the same ids come back."""
    calls = calls_of({"id": "1", "call_summary": 'a\n"b"'}, {"id": "=2"})
    path = tmp_path / f"calls{ending}"
    write(path, format_, calls, normalised=normalised)
    with open_decompressed(path) as file:
        assert file.read() == written(format_, calls, normalised=normalised)
    assert [found for _, found in read_ids(path, format_, normalised=normalised)] == ["1", "=2"]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compression_gives_the_same_bytes_again(ending: str, tmp_path: Path) -> None:
    """No name and no time gets into the file, so that two exports compare."""
    once, again = tmp_path / f"once{ending}", tmp_path / f"again{ending}"
    for path in (once, again):
        with path.open("wb") as file, compressed(file, ending) as around:
            around.write(b"calls" * 1000)
    assert once.read_bytes() == again.read_bytes()
    assert once.stat().st_size < 200
    if ending == ".gz":
        assert once.read_bytes()[3:8] == bytes(5)  # neither a name nor a time
        assert gzip.decompress(once.read_bytes()) == b"calls" * 1000


def test_only_known_endings_are_compressed() -> None:
    """Another ending is refused by name."""
    with pytest.raises(ValueError, match=r"'\.gz', '\.zst', not '\.bz2'"):
        compressed(io.BytesIO(), ".bz2")


@pytest.mark.parametrize(
    ("name", "format_", "data"),
    [
        ("lines", "jsonl", b'{"id":"1"}\n{"id":5}\n'),
        ("lines", "jsonl", b'{"id":"1"}\n{"id":'),
        ("lines", "jsonl", b'{"id":"1"}\n\n'),
        ("table", "csv", b'"id","status"\r\n"1","a"\r\n'),
        ("table", "csv", b""),
        ("table", "csv", b'\xef\xbb\xbf"id","source_index","a"\r\n"1",0,"b\r\n'),
        ("table", "csv", b'\xef\xbb\xbf"id","source_index","a"\r\n1,0,"b"\r\n'),
        ("table", "csv", b'\xef\xbb\xbf"id","source_index","a"\r\n"\xff",0,"b"\r\n'),
        ("table", "parquet", b"PAR1PAR1"),
        ("lines.gz", "jsonl", b"no gzip"),
        ("lines.gz", "jsonl", gzip.compress(b'{"id":"1"}\n', mtime=0)[:-12]),
        ("lines.zst", "jsonl", b"no zstd"),
    ],
)
def test_files_that_are_something_else_are_refused(
    name: str, format_: str, data: bytes, tmp_path: Path
) -> None:
    """A file that is cut, or no such file, is one clear error that names it."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ExportError, match=re.escape(f"Can't read {tmp_path / name} as {format_}: ")):
        list(read_ids(tmp_path / name, format_))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_missing_file_is_an_export_error(format_: str, tmp_path: Path) -> None:
    """A part that is not there is said by name."""
    with pytest.raises(ExportError, match=r"Can't read .*gone as .*No such file"):
        list(read_ids(tmp_path / "gone", format_))


def test_a_parquet_file_of_others_is_refused(tmp_path: Path) -> None:
    """A table without our columns is no part of an export."""
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    with pytest.raises(ExportError, match="source_index"):
        list(read_ids(tmp_path / "other.parquet", "parquet"))


def test_lines_are_the_bytes_as_sent() -> None:
    """JSON Lines as sent are the records, whatever they hold, provider data too where it was kept."""
    calls = calls_of(b'{"id":"1","x":0.10,"call_metadata":{"k":1}}', b'{"id":"2","transcript":5}')
    assert written("jsonl", calls) == (
        b'{"id":"1","x":0.10,"call_metadata":{"k":1}}\n{"id":"2","transcript":5}\n'
    )


@pytest.mark.parametrize(("format_", "normalised"), LAYOUTS[1:])
def test_a_call_built_by_hand_is_refused(format_: str, normalised: bool) -> None:
    """Only what the server sent is exported; a call made by hand is an error, not an empty row."""
    writer = open_writer(format_, io.BytesIO(), normalised=normalised)
    with pytest.raises(ValueError, match="Call 1 was not read from the server"):
        write_and_close(writer, CallExecution(id="1"))


def test_an_unknown_format_is_refused() -> None:
    """The error lists the formats there are."""
    with pytest.raises(ValueError, match="'jsonl', 'csv', 'parquet', not 'xlsx'"):
        open_writer("xlsx", io.BytesIO())


@pytest.mark.parametrize(
    ("format_", "compression", "module", "requirement"),
    [("parquet", None, "pyarrow", "pyarrow>=17"), ("csv", ".zst", "zstd", "backports.zstd>=1")],
)
def test_a_missing_library_is_said_with_how_to_install_it(
    format_: str, compression: str | None, module: str, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lacks an optional library is told how to get it, before anything is read."""
    for name in [name for name in sys.modules if module in name.split(".")]:
        monkeypatch.delitem(sys.modules, name)
    for package in ("pyarrow", "backports", "compression"):
        if module == "pyarrow" or package != "pyarrow":
            monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=re.escape(f"pip install '{requirement}'")):
        check_installed(format_, compression)


@pytest.mark.parametrize(("format_", "compression"), [("jsonl", None), ("csv", ".gz"), ("parquet", ".zst")])
def test_what_is_installed_is_not_complained_about(format_: str, compression: str | None) -> None:
    """With the libraries there, and for what needs none, nothing is said."""
    check_installed(format_, compression)


def test_nothing_optional_is_imported_early() -> None:
    """Importing the formats loads neither pyarrow nor zstd, and does not need them."""
    program = (
        "import sys; sys.modules['pyarrow'] = sys.modules['backports'] = None\n"
        "from futureagi_async.export.formats import open_writer\n"
        "import io; open_writer('csv', io.BytesIO()); open_writer('jsonl', io.BytesIO())"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(("format_", "normalised"), LAYOUTS)
def test_a_full_disk_is_the_files_own_error(format_: str, normalised: bool) -> None:
    """Errors of writing reach the job as they are, and nothing is complained about later."""
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_and_close(open_writer(format_, file, normalised=normalised), call_of(status="a"))


SERVED = {"id": "1", "duration_seconds": 3}


def check_same(call: CallExecution) -> None:
    """Compare each part with the model's, errors and misfits too."""
    fields = fields_of(call)
    for name, read in (("transcript", turns_of), ("eval_outputs", evaluations_of)):
        misfits: dict[str, Any] = {}
        found = read(call, fields, misfits)
        if refuses(call, name):
            assert not found
            assert name in misfits  # the whole part, as sent
            continue
        expected = getattr(call, name)
        beside = {place: value for place, value in call.misfits.items() if place.startswith(f"{name}[")}
        assert values_of(misfits) == beside
        assert found == expected or (not found and not expected and (name == "eval_outputs" or found == ()))
        if name == "transcript":
            assert (found is None) == (expected is None)
            assert [turn.extra for turn in found or ()] == [turn.extra for turn in expected or ()]
    assert json.loads(extra_of(fields)) == call.extra


@given(row=ROWS)
def test_any_record_gives_what_the_model_gives(row: dict[str, Any]) -> None:
    """Transcript, evaluations and extra are the model's, for any keys and shapes, from any list."""
    for source in SOURCES:
        for call in calls_of(row, source=source):
            check_same(call)


@pytest.mark.parametrize("recording", RECORDED_PAGES)
def test_recorded_records_give_what_the_model_gives(recording: Recording) -> None:
    """The same for what the vendor's server answered."""
    for call in recorded_calls(recording):
        check_same(call)


@pytest.mark.parametrize(
    ("row", "source", "expected"),
    [
        ({**SERVED, "transcript": []}, EXECUTION, None),
        ({**SERVED, "transcript": []}, RUN, ()),
        ({"id": "1", "transcript": []}, EXECUTION, ()),
        ({"id": "1", "transcripts": [], "simulation_call_type": "text"}, VERSION, None),
        ({"id": "1", "transcripts": [], "simulation_call_type": "voice"}, VERSION, ()),
        ({"id": "1", "transcript": None}, RUN, None),
        ({"id": "1", "transcript": None, "transcripts": [{"content": "a"}]}, RUN, None),
        ({"id": "1"}, RUN, None),
    ],
)
def test_a_withheld_transcript_is_not_an_empty_one(row: Any, source: Any, expected: Any) -> None:
    """Whether an empty transcript means that nothing was said depends on the list, as in the model."""
    (call,) = calls_of(row, source=source)
    assert call.transcript == expected
    assert turns_of(call, fields_of(call), {}) == expected


def test_extra_keeps_every_byte_of_its_values() -> None:
    """Keys that fill no field keep their values as sent, digits and blanks; a percent sign harms nobody."""
    (call,) = calls_of(b'{"id":"1","100%":1.0e5,"\\u00e9":[1 ,2],"big":12345678901234567890123,"far":1e999}')
    assert extra_of(fields_of(call)) == (
        '{"100%":1.0e5,"big":12345678901234567890123,"far":1e999,"é":[1 ,2]}'.encode()
    )


@pytest.mark.parametrize(
    ("recordings", "names_any"),
    [
        (b"null", False),
        (b"{ }", False),
        (b'{"combined":null}', True),
        (b'{"combined":1e999}', True),
    ],
)
def test_recordings_that_a_record_names_stay_its_own(recordings: bytes, names_any: bool) -> None:
    """A detail's recordings are taken where the record names none, whatever values these have."""
    merged = merge(b'{"id":"1","recordings":%b}' % recordings, b'{"recordings":{"stereo":"s"}}')
    expected = recordings if names_any else b'{"stereo":"s"}'
    assert merged == b'{"id":"1","recordings":%b}' % expected


def test_json_of_tells_null_from_a_value() -> None:
    """A part that is null or missing has no JSON; an empty one has."""
    fields = fields_of(call_of(eval_metrics=None, recordings={}))
    assert json_of(fields, "eval_metrics") is None
    assert json_of(fields, "tool_outputs") is None
    assert json_of(fields, "recordings") == b"{}"


def test_a_detail_built_by_hand_is_refused() -> None:
    """A call that no server sent has no record; saying so beats writing an empty line."""
    with pytest.raises(ValueError, match="Call 1 was not read from the server"):
        fields_of(CallExecution(id="1"))


@pytest.mark.parametrize("place", [b'"status":"%b"', b'"odd":"%b"', b'"transcript":[{"content":"%b"}]'])
def test_half_a_surrogate_pair_gets_no_further_than_its_page(place: bytes) -> None:
    """Escaped, it makes the page unreadable; as bytes, which are no UTF-8, it fails its record."""
    escaped, bare = (b'{"id":"1",%b}' % (place % text) for text in (b"\\ud800 and more", b"\xed\xa0\x80"))
    with pytest.raises(DecodingError, match="Not valid JSON"):
        decode_list(b'{"count":1,"results":[%b]}' % escaped, RUN_TEST_CALLS)
    (failure,) = decode_records([Raw(bare)], 0, RUN, RUN_TEST_CALLS)
    assert isinstance(failure, RecordFailure)
    assert failure.raw == bare


def test_the_tests_encode_like_the_server() -> None:
    """Rows are written as raw UTF-8 without blanks, which the other tests rely on."""
    assert encoded({"a": "é"}) == '{"a":"é"}'.encode()
