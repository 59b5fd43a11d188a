"""Numbers and names, replaced by digests: nowhere as they were sent, and still to be joined."""

import hmac
import json
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from futureagi_async import ExportError, RunTestCalls, TestExecutionCalls, column, read_export, verify_export
from futureagi_async.export import export_calls
from futureagi_async.export.redaction import Redactor, make_redactor
from futureagi_async.testing import StandInServer
from tests.support import samples
from tests.support.audio_server import AudioServer
from tests.support.exports import JSON, ROWS, export, interrupt, read_manifest
from tests.support.sessions import open_session
from tests.support.slow import examples

KEY = "c4n4ry-redact-key-91ab"
FORMATS: Mapping[str, dict[str, Any]] = {
    "calls.parquet": {},
    "calls.csv": {},
    "calls.jsonl": {"normalised": True},
    "parquet": {"format": "parquet"},
    "lines": {"normalised": True},
}
REDACTOR = Redactor(KEY.encode())

NUMBER_IN_PATH = "15550100199"
NAME, NUMBER = "Zoë O'Neil", "+41 79 555 01 23"
PLACES: Mapping[str, Any] = {
    "customer_name": NAME,
    "customer_number": NUMBER,
    "phone_number": NUMBER,
    "customerName": [NAME],
    "caller-id": 41795550123,
    "Contact Phone 2": {"deep": [{"er": NUMBER}]},
    "customer": {"name": NAME, "number": NUMBER, "sipUri": f"sip:{NUMBER.replace(' ', '')}@example.com"},
    "scenario_columns": {
        "persona": {"value": {"name": NAME, "age": 40}, "visible": True, "column_name": "persona"},
        "Customer Name": {"value": NAME, "column_name": "Customer Name"},
        "phone": {"value": NUMBER, "visible": True},
        "customer": {"value": NAME},
        "x1": {"value": NAME, "column_name": "full name"},
    },
    "rerun_snapshots": [{"id": "s", "customer_number": NUMBER, "customer_name": {"a": NAME}}],
    "eval_metrics": {"e": {"input_data": {"caller_number": NUMBER, "first_name": NAME}, "value": 1}},
    "tool_outputs": {"t": {"value": {"to_number": NUMBER, "fullName": NAME}}},
    "provider": {"call": {"customer": {"number": NUMBER, "name": NAME}}},
}
"""Where a record may have a number or a name: each is told by its key, or by what it stands in."""
TEXTS: Mapping[str, str] = {
    "call_summary": f"{NAME} called from {NUMBER}. Then {NAME}, again.",
    "ended_reason": f"hung up: {NAME}",
    "audio_url": "https://audio.example/%2B41795550123/41795550123-a.wav",
    "odd": "call me at (0041) 79/555-01-23 or 41.79.555.01.23!",
}


def spellings() -> list[str]:
    """Return what must not be found of the name and the number, as JSON and Python show them."""
    return ["Neil", "79 555", "79555", "555 01", "555-01", "555.01"]


def check_hidden(shown: str) -> None:
    """Assert that neither of them is in a text."""
    for spelling in spellings():
        assert spelling not in shown, shown[max(0, shown.find(spelling) - 100) :][:200]


@settings(max_examples=examples(100))
@given(
    places=st.sets(st.sampled_from(sorted(PLACES)), min_size=1),
    texts=st.sets(st.sampled_from(sorted(TEXTS))),
    ascii_=st.booleans(),
    sample=st.sampled_from([samples.served_row, samples.served_version_row, samples.documented_row]),
)
def test_no_place_keeps_them(places: set[str], texts: set[str], ascii_: bool, sample: Any) -> None:
    """Whatever a record's dialect, escapes and keys: where they belong and in texts, they are replaced."""
    turns = [samples.served_turn(content=f"I am {NAME}."), samples.chat_turn(messages=[NUMBER])]
    named = {"customer_name": NAME, "customer_number": NUMBER}  # so that texts know what to look for
    row = sample(**{**{key: PLACES[key] for key in places}, **named, "transcript": turns})
    row |= {key: TEXTS[key] for key in texts}
    sent = json.dumps(row, ensure_ascii=ascii_).encode()
    redacted = REDACTOR.redact(sent)
    check_hidden(json.dumps(json.loads(redacted), ensure_ascii=False))
    made = json.loads(redacted)
    assert made["customer_name"] == REDACTOR.digest(NAME)
    assert made["customer_number"] == REDACTOR.digest(NUMBER)
    assert made["transcript"][0]["content"] == f"I am {REDACTOR.digest(NAME)}."
    assert made["id"] == row["id"]
    assert made["timestamp" if "timestamp" in row else "updated_at"]


@settings(max_examples=examples(80))
@given(row=ROWS, more=st.dictionaries(st.sampled_from(sorted(PLACES)), JSON, max_size=3))
@example(row={"id": "1", "customer_name": {"a": [True, None, 1.5, "", -0.0]}}, more={})
def test_all_else_stays_as_it_was_sent(row: dict[str, Any], more: dict[str, Any]) -> None:
    """Any record comes out as JSON of the same shape; numbers that no key makes personal keep each digit."""
    sent = json.dumps({**row, "n": 12345678901234567890123, **more}, ensure_ascii=False).encode()
    made = REDACTOR.redact(sent)
    assert b'"n":' in made.replace(b'"n": ', b'"n":')
    assert b"12345678901234567890123" in made
    before, after = json.loads(sent), json.loads(made)
    assert before.keys() == after.keys()
    for key in ("overall_score", "is_snapshot", "duration_seconds"):
        if not isinstance(before.get(key), str | dict | list):
            assert after.get(key) == before.get(key)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+41 79 555 01 23", "0041795550123"),
        ("+1 (555) 010-0199", "1.555.010.0199"),
        ("tel:+15550100199", "15550100199"),
        ("sip:+15550100199@example.com", "+15550100199"),
        ("Anna  Schmidt", "anna schmidt "),
        ("Zoe\u0308", "Zoë"),
    ],
)
def test_one_value_has_one_digest(one: str, other: str) -> None:
    """However it is written; another value has another digest."""
    assert REDACTOR.digest(one) == REDACTOR.digest(other)
    assert REDACTOR.digest(one) != REDACTOR.digest(f"{other}7")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("ring +41 79 555 01 23.", "ring N."),
        ("https://a.example:8080/2026/01/41795550123.mp3", "https://a.example:8080/2026/01/N.mp3"),
        ("on 15.01.2026 41795550123", "on 15.01.2026 N"),
        ("0041795550123, 2 times", "N, 2 times"),
        ("%2B41795550123&x=1", "N&x=1"),
        ("+15550100199 is another", "M is another"),
        ("+1 (555) 010-0199 / (041) 795 550 123", "M / (0N"),
        ("4179555012", "4179555012"),
        ("order 141795550123 of 5", "order 1N of 5"),
    ],
)
def test_numbers_in_texts(text: str, made: str) -> None:
    """The call's own number however it is written, and any international one; what stands beside it stays."""
    record = json.dumps({"phone_number": "+41795550123", "text": text}).encode()
    own, other = REDACTOR.digest("41795550123"), REDACTOR.digest("15550100199")
    assert json.loads(REDACTOR.redact(record))["text"] == made.replace("N", own).replace("M", other)


def test_anybody_with_the_key_can_make_a_digest() -> None:
    """It is HMAC-SHA256 of a number's digits, or of a name in lower case, as the documents say."""
    for value, message in (("+1 555 010 0199", "15550100199"), ("Anna Schmidt", "anna schmidt")):
        made = hmac.new(KEY.encode(), message.encode(), "sha256").hexdigest()[:32]
        assert REDACTOR.digest(value) == f"redacted-{made}"


@pytest.mark.parametrize(
    "kept",
    [
        {"recordings": {"customer": "https://audio.example/c.wav"}},
        {"status": "customer", "a": "Customer and user"},
        {"customer_name": "User", "role": "user", "text": "The User."},
        {"customer_name": "", "phone_number": None},
        {"customer_call_id": "prov-1", "customer_cost_cents": 5, "agent_name": "Support"},
        {"timestamp": "2026-02-01T10:05:00.250000+01:00", "n": "1+2 = 3, +5 %, 2026-01-05 10:00"},
        {"id": "41795550-1234-4123-8123-412345678901", "phone_number": "41795550123"},
    ],
)
def test_what_is_no_number_and_no_name_stays(kept: dict[str, Any]) -> None:
    """Words that stand for a customer, what belongs to one, times, sums and ids are left alone."""
    made = json.loads(REDACTOR.redact(json.dumps(kept).encode()))
    for key, value in kept.items():
        if key not in ("customer_name", "phone_number") or not value:
            assert made[key] == value


@pytest.mark.parametrize("levels", [45, 55, 300])
@pytest.mark.parametrize("name", ["Ann", ""])
def test_what_is_nested_too_deeply_is_left_out(name: str, levels: int) -> None:
    """A hundred levels are looked into, with every Python; null stands for what is nested more deeply."""
    key = "customer_name" if name else "odd"
    deep = b'{"%b":"%b","a":[' % (key.encode(), name.encode())
    made = json.loads(REDACTOR.redact(b'{"id":"1","odd":' + deep * levels + b"1" + b"]}" * levels + b"}"))
    if levels > 50:
        assert made == {"id": "1", "odd": None}
    else:
        assert json.dumps(made).count(f'"{key}": "{REDACTOR.digest(name) if name else ""}"') == levels


@pytest.mark.quick(1)
@pytest.mark.anyio
@pytest.mark.parametrize("name", FORMATS)
async def test_an_export_without_numbers_and_names(
    server: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No file has one that the server sends, nor the key; lists can be joined by digests."""
    monkeypatch.setenv("FI_REDACT_KEY", KEY)
    columns = ["customer_name", "extra"]
    plain = await export(server, tmp_path / f"plain-{name}", columns=columns, **FORMATS[name])
    customers = {row for row in _customers(tmp_path / f"plain-{name}", plain) if row}
    assert customers
    report = await export(server, tmp_path / name, redact=True, **FORMATS[name])
    for path in (*report.files, *filter(None, [report.manifest])):
        data = path.read_bytes()
        assert KEY.encode() not in data
        assert not [each for each in customers if each.encode() in data]
    assert KEY not in repr(report) + str(report)
    assert report.redacted_with == REDACTOR.key_id
    digests = {row for row in _customers(tmp_path / name, report) if row}
    assert digests == set(map(REDACTOR.digest, customers))
    assert verify_export(tmp_path / name).ok


def _customers(path: Path, report: Any) -> list[str | None]:
    if path.suffix != ".csv":
        return list(read_export(path, columns=["customer_name"]).calls["customer_name"].to_pylist())
    from csv import DictReader

    rows = DictReader(report.files[0].read_text("utf-8-sig").splitlines())
    return [row["customer_name"].removeprefix("'") for row in rows]


@pytest.mark.anyio
async def test_two_keys_are_two_exports(served: StandInServer, tmp_path: Path) -> None:
    """The manifest tells them apart by an id; going on, or leaving as it is, with another key is refused."""
    source = RunTestCalls(served.add_run_test(1_100, slim=True))
    options: dict[str, Any] = {"redact": True, "format": "csv", "page_size": 60}
    async with open_session(served) as session:
        await interrupt(session, source, tmp_path / "out", redact_key=KEY, **options)
        with pytest.raises(
            ExportError, match=r"redacted_with was '[0-9a-f]{8}' and is now '[0-9a-f]{8}'"
        ) as caught:
            await export_calls(session, source, tmp_path / "out", redact_key=b"other", **options)
        report = await export_calls(session, source, tmp_path / "out", redact_key=KEY, **options)
        assert (report.resumed, report.complete) == (1, True)
        with pytest.raises(ExportError, match="redacted_with was"):
            await export_calls(session, source, tmp_path / "out", redact_key="other", **options)
        update = await export_calls(
            session, source, tmp_path / "new", since=tmp_path / "out", redact_key=KEY, **options
        )
    assert all(update.changed_since)
    assert read_manifest(tmp_path / "out")["parameters"]["redacted_with"] == REDACTOR.key_id
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.anyio
async def test_what_was_searched_for_is_redacted_too(served: StandInServer, tmp_path: Path) -> None:
    """A number that chooses calls is in the manifest as a digest; a later export still finds its list."""
    run = served.run_test_ids[1]
    execution = served.test_execution_ids[0]
    sources = [
        RunTestCalls(run, search="+41790"),
        TestExecutionCalls(execution, filters=[column("status").equals("completed")]),
    ]
    async with open_session(served) as session:
        options: dict[str, Any] = {"redact": True, "redact_key": KEY, "normalised": True}
        await export_calls(session, sources, tmp_path / "out", **options)
        update = await export_calls(session, sources, tmp_path / "new", since=tmp_path / "out", **options)
    assert all(update.changed_since)
    text = (tmp_path / "out" / "_manifest.json").read_text()
    assert "41790" not in text
    assert "completed" in text
    assert verify_export(tmp_path / "out").ok
    assert read_export(tmp_path / "out").report is not None


def test_filters_on_people_are_redacted() -> None:
    """Of filters on numbers and names, what they ask for is a digest; of others, international numbers."""
    source = {
        "kind": "test_execution",
        "filters": [
            {"column_id": "customer_name", "filter_config": {"filter_value": "Zoë"}},
            {"column_id": "persona.name", "filter_config": {"filter_value": ["Zoë", "Ann"]}},
            {"column_id": "scenario", "filter_config": {"filter_value": "call +41795550123"}},
            {"column_id": "duration", "filter_config": {"filter_value": [1, 2]}},
        ],
    }
    made = [each["filter_config"]["filter_value"] for each in REDACTOR.redact_source(source)["filters"]]
    zoe, ann, number = map(REDACTOR.digest, ("Zoë", "Ann", "+41795550123"))
    assert made == [zoe, [zoe, ann], f"call {number}", [1, 2]]


@pytest.mark.anyio
async def test_recordings_are_downloaded_all_the_same(served: StandInServer, tmp_path: Path) -> None:
    """Addresses of audio are replaced in the files only where a number is in them, and asked for as sent."""
    run = served.add_run_test(1)
    async with AudioServer(**{NUMBER_IN_PATH: b"audio"}) as audio, open_session(served) as session:
        (call,) = served.run_test_rows(run)
        named = {"combined": audio.url(NUMBER_IN_PATH)}
        served.alter_call(
            call, {"customer_name": f"+{NUMBER_IN_PATH}", "recordings": named, "audio_url": None}
        )
        report = await export_calls(
            session,
            RunTestCalls(run),
            tmp_path / "out",
            format="csv",
            redact=True,
            redact_key=KEY,
            recordings=tmp_path / "audio",
            allow_private_hosts=True,
        )
    assert [(file.call_id, file.error) for file in report.recordings] == [(call, None)]
    written = report.files[0].read_text()
    assert NUMBER_IN_PATH not in written
    assert f"/{REDACTOR.digest(NUMBER_IN_PATH)}" in written


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"redact": True}, ValueError, "redact=True needs a key: set FI_REDACT_KEY, or give redact_key"),
    ({"redact": True, "redact_key": " "}, ValueError, "needs a key"),
    ({"redact": True, "redact_key": 5}, TypeError, "redact_key must be str or bytes"),
    ({"redact_key": KEY}, ValueError, "redact_key needs redact=True"),
    ({"redact": KEY}, TypeError, "redact must be True or False"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("options", "error", "message"), WRONG)
async def test_a_wrong_key_is_told_before_any_request(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: Any,
    error: type[Exception],
    message: str,
) -> None:
    """One error, which shows no key."""
    monkeypatch.delenv("FI_REDACT_KEY", raising=False)
    with pytest.raises(error, match=message) as caught:
        await export(served, tmp_path / "calls.csv", **options)
    assert KEY not in str(caught.value)
    assert not served.requests


@pytest.mark.anyio
async def test_lines_as_sent_are_not_redacted(served: StandInServer, tmp_path: Path) -> None:
    """They are the server's own bytes: the error names what can be redacted."""
    with pytest.raises(ValueError, match="redact needs normalised=True"):
        await export(served, tmp_path / "calls.jsonl", redact=True, redact_key=KEY)


def test_a_redactor_shows_no_key() -> None:
    """Not in its repr, its attributes, its id, a traceback with variables, or a pickle."""
    redactor = make_redactor(True, None, {"FI_REDACT_KEY": KEY})
    assert redactor is not None
    assert KEY not in repr(redactor)
    assert redactor.key_id not in KEY
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(redactor)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        redactor.redact(b"no JSON")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(shown.format())
