"""Exports with the calls' audio: downloaded once, told in the report, and verified with the rest."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from futureagi_async import RunTestCalls
from futureagi_async.export import export_calls, verify_export
from futureagi_async.testing import StandInServer
from tests.support.audio_server import CALL, OTHER, AudioServer
from tests.support.exports import interrupt, names_in
from tests.support.sessions import open_session, respond

SOURCE = RunTestCalls(uuid4())
MINE, THEIRS = f"{CALL}-combined.mp3", f"{OTHER}-combined.mp3"


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in."""
    with StandInServer() as running:
        yield running


def list_calls(served: StandInServer, audio: AudioServer) -> None:
    """Let the stand-in list two calls with audio, and one without."""
    rows = [
        {"id": CALL, "timestamp": "2026-01-05T12:00:02Z", "recordings": {"combined": audio.url("one")}},
        {"id": OTHER, "timestamp": "2026-01-05T12:00:01Z", "audio_url": audio.url("two")},
        {"id": str(uuid4()), "timestamp": "2026-01-05T12:00:00Z"},
    ]
    respond(
        served, SOURCE.run_test_id, {"count": 3, "next": None, "previous": None, "results": rows}, times=99
    )


@pytest.mark.anyio
async def test_audio_is_downloaded_and_verified(served: StandInServer, tmp_path: Path) -> None:
    """Every recording that a record names is in the folder; a changed or missing one is found later."""
    out = tmp_path / "out"
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        report = await export_calls(session, SOURCE, out, recordings=out / "audio", allow_private_hosts=True)
    assert report.complete
    assert sorted((file.path, file.bytes) for file in report.recordings) == [(MINE, 5), (THEIRS, 4)]
    assert names_in(out / "audio") == {MINE, THEIRS}
    manifest = json.loads((out / "_manifest.json").read_bytes())
    assert manifest["recordings_folder"] == "audio"
    told = {each["path"]: each["sha256"] for each in manifest["recordings"]}
    assert told[MINE] == hashlib.sha256(b"sound").hexdigest()
    assert audio.base_url.encode() not in (out / "_manifest.json").read_bytes()
    assert verify_export(out).ok
    (out / "audio" / MINE).write_bytes(b"noise")
    (out / "audio" / THEIRS).unlink()
    assert sorted(verify_export(out).problems) == [
        f"Recording {MINE} was changed: its SHA-256 does not match.",
        f"Recording {THEIRS} is missing.",
    ]


@pytest.mark.anyio
async def test_what_failed_is_told_and_tried_again(served: StandInServer, tmp_path: Path) -> None:
    """Hosts that may not be asked make the export incomplete; allowed, just those are downloaded."""
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        report = await export_calls(session, SOURCE, tmp_path / "out", recordings=tmp_path / "audio")
        assert [file.error is None for file in report.recordings] == [False, False]
        assert not report.complete
        assert not audio.requests
        assert verify_export(tmp_path / "out").complete is False
        report = await export_calls(
            session, SOURCE, tmp_path / "out", recordings=tmp_path / "audio", allow_private_hosts=True
        )
    assert report.complete
    assert len(report.recordings) == 2
    assert names_in(tmp_path / "audio") == {MINE, THEIRS}


@pytest.mark.anyio
async def test_an_interrupted_export_does_not_download_again(served: StandInServer, tmp_path: Path) -> None:
    """Recordings that are there are not asked for again."""
    options = {"recordings": tmp_path / "audio", "allow_private_hosts": True}
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        await interrupt(session, SOURCE, tmp_path / "out", after=2, phase="recordings", **options)
        asked = len(audio.requests)
        report = await export_calls(session, SOURCE, tmp_path / "out", **options)
        assert len(audio.requests) == asked == 2
    assert report.complete
    assert report.resumed == 1
