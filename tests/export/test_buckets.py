"""Exports into buckets, against an S3 server on loopback: what is put when, and what goes wrong."""

import hashlib
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import anyio
import boto3
import pytest

from futureagi_async import ExportError, RunTestCalls, commit_shares, export_share, plan_shares, read_export
from futureagi_async.export import ExportProgress, ExportReport, export_calls, object_store, verify_export
from futureagi_async.export.object_store import Address, ObjectStore
from futureagi_async.testing import Motion, StandInServer
from tests.export.test_recordings import SOURCE, list_calls
from tests.support.audio_server import AudioServer
from tests.support.exports import (
    LONG,
    ServerClock,
    StopHereError,
    all_lists,
    export,
    interrupt,
    names_in,
    pages_asked,
    stop_after,
)
from tests.support.object_stores import BUCKET, KEYS, Fault, S3Server, UnreliableStore, s3_server, use_store
from tests.support.sessions import open_session
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

TARGET = f"s3://{BUCKET}/out/"
PART = re.compile(r"(?:_evaluations/)?(?:calls|evaluations)-\d{5}-([0-9a-f]{32})\.(?:jsonl|csv|parquet)")


@pytest.fixture(scope="module")
def running_store() -> Iterator[S3Server]:
    """Run one server for all tests here."""
    with s3_server() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return where what is unfinished is kept."""
    return tmp_path / "cache"


@pytest.fixture
def store(running_store: S3Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> S3Server:
    """Let this process find the server, whose bucket is empty."""
    use_store(monkeypatch, running_store, cache)
    running_store.clear()
    return running_store


@pytest.fixture
def unreliable(store: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnreliableStore]:
    """Put something in between that can fail; the client gives up sooner."""
    monkeypatch.setattr(object_store, "_RETRIES", 1)
    with UnreliableStore(store) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
        yield between


def content_of(path: Path | str) -> bytes:
    """Return what a local file holds."""
    return Path(path).read_bytes()


def left_in(cache: Path) -> list[Path]:
    """Return the files that are kept of unfinished exports."""
    return sorted(path for path in cache.rglob("*") if path.is_file())


def check_whole(store: S3Server, prefix: str = "out/") -> None:
    """Assert that what the manifest lists is there, and nothing else."""
    objects, manifest = store.objects(prefix), store.manifest(prefix)
    for part in manifest["parts"]:
        assert hashlib.sha256(objects[part["name"]]).hexdigest() == part["sha256"]
    assert objects.keys() == {"_manifest.json", *(part["name"] for part in manifest["parts"])}


@pytest.mark.parametrize("format_", ["parquet", *slow("jsonl", "csv")])
async def test_a_prefix_holds_parts_and_a_manifest(
    server: StandInServer, store: S3Server, cache: Path, tmp_path: Path, format_: str
) -> None:
    """Objects hold what the files of a local export do, under names of their content; nothing stays here."""
    local = await export(server, tmp_path / "out", format=format_, ordered=True)
    report = await export(server, TARGET, format=format_, ordered=True)
    objects = store.objects("out/")
    assert (report.path, report.manifest) == (TARGET, f"{TARGET}_manifest.json")
    assert report.files == tuple(f"{TARGET}{part['name']}" for part in store.manifest("out/")["parts"])
    uploaded = [objects[str(name).removeprefix(TARGET)] for name in report.files]
    assert uploaded == [content_of(path) for path in local.files]
    for name, content in objects.items():
        if name != "_manifest.json":
            named = PART.fullmatch(name)
            assert named is not None
            assert hashlib.sha256(content).hexdigest().startswith(named[1])
    check_whole(store)
    assert left_in(cache) == []
    checked = verify_export(TARGET)
    assert (checked.problems, checked.complete, checked.records) == ((), True, local.records)
    assert checked.directory == TARGET


@pytest.mark.slow
async def test_tables_of_a_prefix_are_those_of_a_directory(
    served: StandInServer, store: S3Server, tmp_path: Path
) -> None:
    """`read_export` gives the same tables in both formats, by the manifest's address, too."""
    for format_ in ("jsonl", "parquet"):
        await export(served, tmp_path / format_, format=format_, ordered=True)
        await export(served, f"s3://{BUCKET}/{format_}/", format=format_, ordered=True)
        here, there = read_export(tmp_path / format_), read_export(f"s3://{BUCKET}/{format_}/_manifest.json")
        assert here.calls.equals(there.calls)
        assert here.evaluations.equals(there.evaluations)
        assert there.complete
        few = read_export(f"s3://{BUCKET}/{format_}", columns=["id", "status"], evaluations=False)
        assert few.calls.equals(here.calls.select(["id", "status"]))


@pytest.mark.slow
@pytest.mark.parametrize("partition", ["date", *slow("source")])
async def test_parts_in_folders(
    served: StandInServer, store: S3Server, tmp_path: Path, partition: str
) -> None:
    """Hive's folders are prefixes below the target: verified, read and replaced as in a directory."""
    options: dict[str, Any] = {"format": "parquet", "ordered": True, "partition": partition}
    await export(served, tmp_path / "out", **options)
    report = await export(served, TARGET, **options)
    assert all("=" in str(name) for name in report.files)
    assert verify_export(TARGET).problems == ()
    assert read_export(TARGET).calls.equals(read_export(tmp_path / "out").calls)
    assert (await export(served, TARGET, **options)).already_finished
    folder = str(report.files[0]).removeprefix(TARGET).rpartition("/")[0]
    stray = f"{folder}/calls-00099-{'0' * 32}.parquet"
    store.write(f"out/{stray}", b"")
    assert [problem.partition(" ")[0] for problem in verify_export(TARGET).problems] == [stray]
    store.client.delete_object(Bucket=BUCKET, Key=f"out/{stray}")
    await export(served, TARGET, **options, resume=False)
    check_whole(store)


async def test_columns_that_were_dropped_are_nowhere(served: StandInServer, store: S3Server) -> None:
    """What is left out is nowhere in the bucket: no part goes up before that was done."""
    options: dict[str, Any] = {"normalised": True, "drop": ["transcript"], "part_rows": 20}
    await export(served, TARGET, **options)
    assert store.manifest("out/")["parameters"]["left_out"] == ["transcript"]
    lines = [
        json.loads(line)
        for name, content in store.objects("out/").items()
        if PART.fullmatch(name)
        for line in content.splitlines()
    ]
    assert lines
    assert all("transcript" not in line for line in lines)


async def test_a_finished_export_is_left_as_it_is(
    served: StandInServer, store: S3Server, cache: Path
) -> None:
    """The same export again reads nothing and puts nothing, and says so; another one is refused."""
    first = await export(served, TARGET)
    before = store.objects()
    served.clear_requests()
    again = await export(served, TARGET)
    assert not served.requests
    assert again.already_finished
    assert (again.fetch, again.records, again.files) == (first.fetch, first.records, first.files)
    with pytest.raises(ExportError, match=r"finished export with other parameters: part_rows was 50"):
        await export(served, TARGET, part_rows=20)
    assert store.objects() == before
    assert left_in(cache) == []


@pytest.mark.slow
async def test_a_replaced_export_leaves_nothing(served: StandInServer, store: S3Server) -> None:
    """With ``resume=False`` the new manifest takes the old one's place, and then the old parts go."""
    await export(served, TARGET, format="parquet")
    old = set(store.names("out/"))
    report = await export(served, TARGET, resume=False, part_rows=1_000, format="parquet")
    assert not report.already_finished
    check_whole(store)
    assert old.intersection(store.names("out/")) == {"_manifest.json"}
    assert len(report.files) == 2
    assert verify_export(TARGET).ok


@pytest.mark.slow
async def test_names_in_a_replacement_are_never_the_old_ones(served: StandInServer, store: S3Server) -> None:
    """Even parts of equal content have other names, so that who removes the old ones harms no one."""
    await export(served, TARGET, ordered=True)
    old = {name for name in store.names("out/") if PART.fullmatch(name)}
    await export(served, TARGET, ordered=True, resume=False)
    new = {name for name in store.names("out/") if PART.fullmatch(name)}
    assert len(new) == len(old)
    assert not new & old
    check_whole(store)


async def test_an_interrupted_export_goes_on_here(store: S3Server, cache: Path) -> None:
    """What was read is kept in the cache, under a digest; the same call reads the rest, and nothing stays."""
    with StandInServer(demo=False) as served:
        source = RunTestCalls(served.add_run_test(LONG, slim=True))
        async with open_session(served, max_in_flight=1) as session:
            await interrupt(session, source, TARGET, after=4, part_rows=400)
            assert store.objects() == {}
            (log,) = (path for path in left_in(cache) if path.name == "objects.jsonl")
            assert json.loads(log.read_bytes().splitlines()[0])["target"] == TARGET
            asked = pages_asked(served)
            report = await export_calls(session, source, TARGET, part_rows=400)
            assert 0 < pages_asked(served) < asked + 12
    assert (report.resumed, report.records) == (1, LONG)
    check_whole(store)
    assert left_in(cache) == []


async def test_the_work_directory_can_be_named(
    served: StandInServer, store: S3Server, cache: Path, tmp_path: Path
) -> None:
    """``work_dir`` holds what is unfinished; the same target on another server is another export."""
    async with open_session(served) as session:
        for endpoint in (store.endpoint, store.endpoint.replace("127.0.0.1", "localhost")):
            os.environ["AWS_ENDPOINT_URL"] = endpoint  # which the fixture restores
            await interrupt(session, all_lists(served), TARGET, work_dir=tmp_path / "mine")
    assert len(names_in(tmp_path / "mine")) == 2
    assert left_in(cache) == []


async def test_only_changes_since_an_export_in_a_bucket(served: StandInServer, store: S3Server) -> None:
    """``since`` takes a prefix, or its manifest's address, wherever the new export goes."""
    source = RunTestCalls(served.run_test_ids[0])
    async with open_session(served) as session:
        await export_calls(session, source, f"s3://{BUCKET}/monday/")
        for number, since in enumerate((f"s3://{BUCKET}/monday", f"s3://{BUCKET}/monday/_manifest.json")):
            report = await export_calls(session, source, f"s3://{BUCKET}/tuesday{number}/", since=since)
            assert report.changed_since[0] is not None
            assert (
                store.manifest(f"tuesday{number}/")["since"]["manifest"]
                == store.manifest("monday/")["digest"]
            )
        with pytest.raises(ExportError, match=r"no _manifest\.json of an export"):
            await export_calls(session, source, TARGET, since=f"s3://{BUCKET}/sunday/")


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1])
async def test_recordings_go_into_the_bucket(
    served: StandInServer, store: S3Server, cache: Path, after: int
) -> None:
    """Audio is put below the target, gone on with, verified, and does not stay here."""
    audio_folder = f"{TARGET}audio/"
    options: dict[str, Any] = {"recordings": audio_folder, "allow_private_hosts": True}
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        if after:
            await interrupt(session, SOURCE, TARGET, after=after, phase="recordings", **options)
        report = await export_calls(session, SOURCE, TARGET, **options)
        assert len(audio.requests) <= 2 + after  # the other one may have been under way
    names = sorted(str(file.path) for file in report.recordings)
    assert sorted(store.names("out/audio/")) == names
    assert all(re.fullmatch(r"[0-9a-f-]{36}-combined-[0-9a-f]{32}\.mp3", name) for name in names)
    assert store.manifest("out/")["recordings_folder"] == "audio"
    assert report.complete
    assert verify_export(TARGET).ok
    assert left_in(cache) == []
    store.write(f"out/audio/{names[0]}", b"noise")
    store.client.delete_object(Bucket=BUCKET, Key=f"out/audio/{names[1]}")
    assert sorted(verify_export(TARGET).problems) == [
        f"Recording {names[0]} was changed: its SHA-256 does not match.",
        f"Recording {names[1]} is missing.",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("moves", [False, True])
async def test_full_parts_go_up_while_others_are_read(
    store: S3Server, unreliable: UnreliableStore, *, moves: bool
) -> None:
    """JSON Lines as sent are put as parts fill; where calls change, other parts take their place."""
    with StandInServer(demo=False, request_seconds=0.2) as served:
        run_test = served.add_run_test(LONG, slim=True)
        if moves:
            served.move(run_test, Motion(updates=8.0))
        put: list[int] = []

        def look(progress: ExportProgress) -> None:
            if progress.phase == "reading":
                put.append(sum(request.startswith("PUT ") for request in unreliable.requests))

        async with open_session(served, max_in_flight=1, clock=ServerClock(served)) as session:
            options: dict[str, Any] = {"part_rows": 100, "page_size": 50, "on_progress": look}
            report = await export_calls(session, RunTestCalls(run_test), TARGET, **options)
    assert put[-1] > 1
    assert (report.fetch.sources[0].updates > 0) is moves
    assert len(unreliable.puts()) > len(report.files) + 1 if moves else len(report.files) + 1
    check_whole(store)


async def test_recordings_of_a_replaced_export_go(served: StandInServer, store: S3Server) -> None:
    """They are among the objects that the old manifest lists."""
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        options: dict[str, Any] = {"recordings": f"{TARGET}audio", "allow_private_hosts": True}
        await export_calls(session, SOURCE, TARGET, **options)
        await export_calls(session, SOURCE, TARGET, resume=False)
    check_whole(store)


@pytest.mark.slow
async def test_what_was_changed_is_found(served: StandInServer, store: S3Server) -> None:
    """Parts that are missing, cut, exchanged or not listed are told by name, and a changed manifest."""
    report = await export(served, TARGET)
    names = [str(name).removeprefix(TARGET) for name in report.files]
    store.client.delete_object(Bucket=BUCKET, Key=f"out/{names[0]}")
    store.write(f"out/{names[1]}", store.read(f"out/{names[1]}")[:-9])
    content = store.read(f"out/{names[2]}")
    store.write(f"out/{names[2]}", content.replace(b"completed", b"COMPLETED", 1))
    store.write(f"out/calls-00009-{'0' * 32}.jsonl", b"{}\n")
    problems = verify_export(TARGET).problems
    assert f"{names[0]} is missing." in problems
    assert any(problem.startswith(f"{names[1]} has ") for problem in problems)
    assert f"{names[2]} was changed: its SHA-256 does not match." in problems
    assert any(problem.startswith("calls-00009-") for problem in problems)
    with pytest.raises(ExportError, match=rf"{names[0]} was changed or removed after the export"):
        await export(served, TARGET)
    with pytest.raises(ExportError, match=rf"{names[0]} was changed or removed after the export"):
        read_export(TARGET)
    text = store.read("out/_manifest.json")
    store.write("out/_manifest.json", text.replace(b'"records": ', b'"records": 1', 1))
    assert (
        "_manifest.json was changed: its digest does not match its content." in verify_export(TARGET).problems
    )
    with pytest.raises(ExportError, match=r"it was changed. Its digest does not match its content. Choose"):
        await export(served, TARGET)


@pytest.mark.slow
async def test_a_reader_is_told_of_an_export_that_was_replaced(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore
) -> None:
    """Who begins at a manifest reads its parts, or is told that there is another one: never half of each."""
    await export(served, TARGET)
    old, manifest = store.objects("out/"), store.read("out/_manifest.json")
    await export(served, TARGET, resume=False)
    new = store.objects("out/")
    store.write("out/_manifest.json", manifest)
    for name, content in old.items():
        store.write(f"out/{name}", content)

    def replace(request: str) -> None:
        if request.startswith("GET out/calls-00001"):
            for name in old:
                store.client.delete_object(Bucket=BUCKET, Key=f"out/{name}")
            store.write("out/_manifest.json", new["_manifest.json"])

    unreliable.fault = replace
    for read in (verify_export, read_export):
        store.write("out/_manifest.json", manifest)
        for name, content in old.items():
            store.write(f"out/{name}", content)
        with pytest.raises(ExportError, match=r"Another export replaced .* while it was read. Try again"):
            read(TARGET)


async def test_files_of_others_are_spared(served: StandInServer, store: S3Server) -> None:
    """A prefix with other objects is refused unless asked for; their names are not ours, and they stay."""
    store.write("out/notes.txt", b"mine")
    with pytest.raises(
        ExportError, match=r"s3://lake/out/notes\.txt already exists, but the prefix has no manifest"
    ):
        await export(served, TARGET)
    await export(served, TARGET, overwrite=True)
    assert store.objects("out/")["notes.txt"] == b"mine"
    store.write("app/_manifest.json", b'{"name": "an app"}')
    with pytest.raises(
        ExportError, match=r"app/_manifest\.json: it is not the manifest of an export.*Choose another prefix"
    ):
        await export(served, f"s3://{BUCKET}/app/")
    await export(served, f"s3://{BUCKET}/app/", overwrite=True)
    assert verify_export(f"s3://{BUCKET}/app/").ok
    store.write("hidden/.keep", b"")
    store.write("hidden/_SUCCESS", b"")
    store.write("hidden/sub/other.csv", b"")
    await export(served, f"s3://{BUCKET}/hidden/")


@pytest.mark.slow
async def test_the_whole_bucket_can_be_a_target(served: StandInServer, store: S3Server) -> None:
    """Without a prefix, objects are right in the bucket."""
    report = await export(served, f"s3://{BUCKET}", format="parquet")
    check_whole(store, "")
    assert report.path == f"s3://{BUCKET}/"
    assert verify_export(f"s3://{BUCKET}").ok
    assert (await export(served, f"s3://{BUCKET}/", format="parquet")).already_finished


async def test_the_second_of_two_writers_loses(
    served: StandInServer, store: S3Server, tmp_path: Path
) -> None:
    """The first one's export stands, whole and alone; the second is told so, and how to replace it."""
    async with open_session(served) as session:

        async def other() -> ExportReport:
            return await export_calls(session, all_lists(served), TARGET, work_dir=tmp_path / "other")

        await interrupt(session, all_lists(served), TARGET, part_rows=20)
        first = await other()
        with pytest.raises(
            ExportError, match=r"Another export replaced .* after this one began.*resume=False"
        ):
            await export_calls(session, all_lists(served), TARGET, part_rows=20)
        assert served_records(store) == first.records
        report = await export_calls(session, all_lists(served), TARGET, part_rows=20, resume=False)
        assert len(report.files) > len(first.files)
    check_whole(store)


def served_records(store: S3Server) -> int:
    """Check that an export is whole, and return how many records its manifest tells."""
    check_whole(store)
    return int(store.manifest("out/")["records"])


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True])
async def test_a_writer_that_comes_late_loses(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore, tmp_path: Path, *, before: bool
) -> None:
    """Where both have read everything, one manifest is put, and what the loser put is removed again."""
    if before:
        await export(served, TARGET, part_rows=1_000)
    resume = not before
    winner = threading.Event()
    arrived = threading.Event()

    def wait_for_the_other(request: str) -> Fault | None:
        if request == "PUT out/_manifest.json" and not arrived.is_set():
            arrived.set()
            return Fault(status=0, until=winner)
        return None

    unreliable.fault = wait_for_the_other
    async with open_session(served) as session, anyio.create_task_group() as tasks:

        async def lose() -> None:
            with pytest.raises(ExportError, match=r"finished while this one ran.*resume=False"):
                await export_calls(session, all_lists(served), TARGET, part_rows=20, resume=resume)

        tasks.start_soon(lose)
        await anyio.to_thread.run_sync(arrived.wait)
        report = await export_calls(
            session, all_lists(served), TARGET, part_rows=50, resume=resume, work_dir=tmp_path / "other"
        )
        winner.set()
    assert served_records(store) == report.records
    assert len(store.manifest("out/")["parts"]) == len(report.files) == 5


@pytest.mark.slow
async def test_every_put_may_fail(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore, cache: Path
) -> None:
    """Whichever put fails, and every later one, there is no manifest without its parts; then all goes on."""
    options: dict[str, Any] = {"format": "parquet", "ordered": True}
    await export(served, TARGET, **options)
    names, whole = unreliable.puts(), store.objects()
    assert names[-1] == "out/_manifest.json"
    assert set(names) == whole.keys()
    for key in whole:
        store.client.delete_object(Bucket=BUCKET, Key=key)
    for number in range(len(names)):
        done: list[str] = []

        def fail(request: str, number: int = number, done: list[str] = done) -> Fault | None:
            if not request.startswith("PUT "):
                return None
            done.append(request)
            return Fault(403, "AccessDenied") if len(done) > number else None

        unreliable.fault = fail
        with pytest.raises(
            ExportError,
            match=r"permission was denied \(403 AccessDenied\).*The records that were read are kept",
        ):
            await export(served, TARGET, **options)
        assert "out/_manifest.json" not in store.names()
    unreliable.fault = lambda _: None
    served.clear_requests()
    report = await export(served, TARGET, **options)
    assert report.resumed == len(names)
    assert store.objects().keys() == whole.keys()
    assert {name: content for name, content in store.objects().items() if "manifest" not in name} == {
        name: content for name, content in whole.items() if "manifest" not in name
    }
    assert left_in(cache) == []


@pytest.mark.slow
async def test_lost_answers_are_no_failures(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore
) -> None:
    """A put that took effect, and whose answer was lost, is known as such when it is asked for again."""
    seen: set[str] = set()

    def lose(request: str) -> Fault | None:
        if request.startswith("PUT ") and request not in seen:
            seen.add(request)
            return Fault(500, "InternalError", done=True)
        return None

    unreliable.fault = lose
    await export(served, TARGET)
    assert "PUT out/_manifest.json" in seen
    check_whole(store)


@pytest.mark.slow
async def test_a_manifest_whose_answer_never_came_is_known(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore, cache: Path
) -> None:
    """Where an export failed after its manifest was put, the next one knows it as its own, and cleans up."""
    await export(served, TARGET, part_rows=1_000)
    blind = False

    def lose(request: str) -> Fault | None:
        nonlocal blind
        blind = blind or request == "PUT out/_manifest.json"
        return Fault(500, "InternalError", done=request.startswith("PUT")) if blind else None

    unreliable.fault = lose
    with pytest.raises(ExportError, match=r"failed, also after retries \(500 InternalError\)"):
        await export(served, TARGET, resume=False)
    assert len(store.names("out/")) > len(store.manifest("out/")["parts"]) + 1
    unreliable.fault = lambda _: None
    served.clear_requests()
    assert (await export(served, TARGET)).already_finished
    assert not served.requests
    check_whole(store)
    assert left_in(cache) == []


async def test_an_incomplete_export_is_replaced_by_the_next_run(
    served: StandInServer, store: S3Server, cache: Path
) -> None:
    """The first manifest says what is missing; the same export again replaces it once nothing is."""
    async with AudioServer(one=b"sound", two=b"more") as audio, open_session(served) as session:
        list_calls(served, audio)
        first = await export_calls(session, SOURCE, TARGET, recordings=f"{TARGET}audio")
        assert (first.complete, verify_export(TARGET).complete) == (False, False)
        assert left_in(cache)
        options: dict[str, Any] = {"recordings": f"{TARGET}audio", "allow_private_hosts": True}
        again = await export_calls(session, SOURCE, TARGET, **options)
    assert again.complete
    assert verify_export(TARGET).ok
    assert len([name for name in store.names("out/") if name.startswith("calls-")]) == 1
    assert left_in(cache) == []


async def test_a_cancelled_upload_goes_on(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore, cache: Path
) -> None:
    """Cancelling does not wait for a slow store, and leaves what was read."""
    never = threading.Event()
    unreliable.fault = lambda request: Fault(status=0, until=never) if request.startswith("PUT ") else None
    with anyio.move_on_after(30) as scope:

        def stop(progress: ExportProgress) -> None:
            if progress.phase == "uploading":
                scope.cancel()

        async with open_session(served) as session:
            await export_calls(session, all_lists(served), TARGET, on_progress=stop)
    assert scope.cancelled_caught
    assert left_in(cache)
    never.set()
    unreliable.fault = lambda _: None
    served.clear_requests()
    async with open_session(served) as session:
        report = await export_calls(session, all_lists(served), TARGET)
    assert report.resumed == 1
    check_whole(store)


async def test_a_store_that_answers_too_slowly(store: S3Server, unreliable: UnreliableStore) -> None:
    """A request ends after its time, and says that the store is slow."""
    never = threading.Event()
    unreliable.fault = lambda _: Fault(status=0, until=never)
    slow = ObjectStore(Address("s3", BUCKET, "out"), retry_seconds=0.2)
    with pytest.raises(ExportError, match=r"can't be reached or answers too slowly. Check the network"):
        await anyio.to_thread.run_sync(slow.read, "_manifest.json", 100)
    never.set()


@pytest.mark.slow
async def test_large_objects_go_up_in_chunks_and_once(
    store: S3Server, unreliable: UnreliableStore, tmp_path: Path
) -> None:
    """They appear whole; a second time just their size is asked for, and another size is refused."""
    content = bytes(range(256)) * 4 * 17_000
    (tmp_path / "part").write_bytes(content)
    objects = ObjectStore(Address("s3", BUCKET, "out"))
    for _ in range(2):
        await objects.put_file("calls-00000-x.jsonl", tmp_path / "part")
    assert store.read("out/calls-00000-x.jsonl") == content
    assert len(unreliable.puts()) == 3
    for size in (len(content) - 1, 9):
        (tmp_path / "part").write_bytes(content[:size])
        with pytest.raises(ExportError, match=r"no export wrote it. Remove it, and run the export again"):
            await objects.put_file("calls-00000-x.jsonl", tmp_path / "part")


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Fault(503, "SlowDown"),
            r"failed, also after retries \(503 SlowDown\). Try again later",
        ),
        (Fault(500, "InternalError"), r"also after retries \(500 InternalError\)"),
        (Fault(429, "TooManyRequests"), r"also after retries \(429 TooManyRequests\)"),
        (
            Fault(403, "InvalidAccessKeyId"),
            r"refused \(403 InvalidAccessKeyId\). To correct them, set AWS_ACCESS",
        ),
        (Fault(403, "SignatureDoesNotMatch"), "credentials were refused"),
        (Fault(400, "ExpiredToken"), "credentials were refused"),
        (Fault(401, ""), "credentials were refused"),
        (
            Fault(403, "AccessDenied"),
            r"permission was denied \(403 AccessDenied\). Allow to list, read, w",
        ),
        (Fault(404, "NoSuchBucket"), r"there is no bucket 'lake'. Create it, or correct the name"),
        (Fault(400, "AuthorizationHeaderMalformed"), "is in another region. Set AWS_REGION"),
        (Fault(301, "PermanentRedirect"), "is in another region. Set AWS_REGION"),
        (Fault(418, "Teapot"), r"the store refused the request \(418 Teapot\)"),
    ],
)
async def test_what_a_store_answers_is_one_clear_error(
    served: StandInServer,
    store: S3Server,
    unreliable: UnreliableStore,
    cache: Path,
    fault: Fault,
    message: str,
) -> None:
    """Each says what to do, before anything was asked of the API, and without the text of the answer."""
    unreliable.fault = lambda _: fault
    with pytest.raises(
        ExportError, match=rf"^Can't read s3://lake/out/_manifest\.json: .*{message}"
    ) as raised:
        await export(served, TARGET)
    assert not served.requests
    assert left_in(cache) == []
    assert raised.value.__cause__ is None
    assert "c4n4ry" not in "".join(traceback.TracebackException.from_exception(raised.value).format())
    for read in (verify_export, read_export):
        with pytest.raises(ExportError, match=message):
            read(TARGET)


async def test_servers_that_check_keys(served: StandInServer, store: S3Server) -> None:
    """Moto's own refusals of an unknown key, and of one that may do nothing."""
    options = {"endpoint_url": store.endpoint, "region_name": "us-east-1"}
    iam = boto3.client("iam", **options)
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    set_checks(store, "0")
    try:
        with pytest.raises(ExportError, match=r"credentials were refused \(403 InvalidAccessKeyId\)"):
            await export(served, TARGET)
        os.environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]  # which the fixture restores
        os.environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
        with pytest.raises(ExportError, match=r"permission was denied \(403 AccessDenied\)"):
            await export(served, TARGET)
    finally:
        set_checks(store, "Infinity")


def set_checks(store: S3Server, unchecked: str) -> None:
    """Say how many requests moto does not check."""
    headers = {"Content-Type": "text/plain"}
    urlopen(Request(f"{store.endpoint}/moto-api/reset-auth", unchecked.encode(), headers)).close()


async def test_buckets_that_are_not_there(served: StandInServer, store: S3Server) -> None:
    """Wrong names are told before anything is read."""
    for use in (export(served, "s3://nowhere/out/"), export(served, TARGET, since="s3://nowhere/out/")):
        with pytest.raises(
            ExportError, match=r"there is no bucket 'nowhere'. Create it, or correct the name"
        ):
            await use
    with pytest.raises(ExportError, match="there is no bucket 'nowhere'"):
        verify_export("s3://nowhere/")
    assert verify_export(f"s3://{BUCKET}/nothing/").problems == (
        "There is no _manifest.json. If you exported to it, the export is not finished: run it again.",
    )


async def test_stores_that_are_not_reached(
    served: StandInServer, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port, and an endpoint without TLS that nobody allowed."""
    monkeypatch.setattr(object_store, "_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ExportError, match="can't be reached or answers too slowly"):
        await export(served, TARGET)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(ExportError, match=r"begins with http://. To allow that, set AWS_ALLOW_HTTP=true"):
        await export(served, TARGET)


_LOGS_OF_THE_TEST = ("boto", "urllib3", "werkzeug", "moto")
"""Of its server, and of the client that looks into that."""


async def test_keys_are_nowhere(
    served: StandInServer,
    store: S3Server,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No object, file, record of a log, report or representation holds the bucket's keys."""
    caplog.set_level(logging.DEBUG)
    told: list[object] = []
    async with open_session(served) as session:
        with pytest.raises(StopHereError):
            await export_calls(session, all_lists(served), TARGET, on_progress=stop_after(2))
        kept = [path.read_bytes() for path in left_in(cache)]
        report = await export_calls(session, all_lists(served), TARGET, on_progress=told.append)
    shown = [*kept, *store.objects().values(), report, told, verify_export(TARGET)]
    ours = [record for record in caplog.records if not record.name.startswith(_LOGS_OF_THE_TEST)]
    shown += [(record.getMessage(), vars(record)) for record in ours]
    shown += [ObjectStore(Address("s3", BUCKET, "out")), vars(ObjectStore(Address("s3", BUCKET, "out")))]
    assert kept
    for key in KEYS.values():
        assert all(key.encode() not in each for each in shown if isinstance(each, bytes))
        assert all(key not in repr(each) for each in shown)


async def test_profiles_are_read_where_boto3_is(
    served: StandInServer, store: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without keys in the environment, those of the profile that it names are used; a wrong name is told."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[nightly]\naws_access_key_id=A\naws_secret_access_key=B\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    assert (await export(served, TARGET)).complete
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(ExportError, match=r"AWS_PROFILE has no usable credentials \(ProfileNotFound\)"):
        await export(served, TARGET)


WRONG: dict[str, dict[str, Any]] = {
    "not a single object: use 's3://lake/x/' with format 'parquet'": {"target": "s3://lake/x.parquet"},
    r"use 's3://lake/a/x/' with format 'csv'": {"target": "s3://lake/a/x.csv.gz"},
    "target must end in": {"target": "gs://lake/a/x.json"},
    "without keys or parameters": {"target": "s3://key:c4n4ry@lake/x/"},
    "be az://bucket/prefix/ without keys": {"target": "az://lake/x/?sig=c4n4ry"},
    "must name a bucket, as in s3://bucket/prefix/: not 's3:///x/'": {"target": "s3:///x/"},
    "'x' is not the name of one: it needs 3 to 222 letters": {"target": "s3://x/y"},
    "'a b c' is not the name of one: it needs": {"target": "gs://a b c/y"},
    "prefix without empty parts": {"target": "s3://lake/a//x/"},
    r"prefix without": {"target": "s3://lake/../x/"},
    "recordings must be a local directory, or a folder directly below": {"recordings": "s3://lake/audio/"},
    "recordings can't be 's3://lake/out/_audio/'": {"recordings": "s3://lake/out/_audio/"},
    "recordings can't be 's3://pond/out/audio/'": {"recordings": "s3://pond/out/audio/"},
    "since must be s3://bucket/prefix/ without keys": {"since": "s3://lake/x?versionId=c4n4ry"},
    "work_dir must be a path": {"work_dir": ""},
    "work_dir must be a path on this machine": {"work_dir": "s3://lake/x"},
    "work_dir is only for targets in buckets": {"target": "out", "work_dir": "x"},
    "must be a str if it is an address": {"target": Path("s3://lake/x")},
    "https:// is not supported": {"target": "https://lake.s3.amazonaws.com/x/"},
}


@pytest.mark.parametrize("message", WRONG)
async def test_wrong_arguments(served: StandInServer, message: str) -> None:
    """Each is refused before anything happens, and repeats nothing secret."""
    arguments = {"target": TARGET, **WRONG[message]}
    async with open_session(served) as session:
        with pytest.raises(ValueError, match=message) as refused:
            await export_calls(session, all_lists(served), **arguments)
    assert "c4n4ry" not in str(refused.value)
    assert not served.requests


async def test_without_obstore(served: StandInServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named with the line that installs it, before any request."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ExportError, match=r"pip install 'obstore>=0\.8'"):
        await export(served, TARGET)
    with pytest.raises(ExportError, match=r"obstore>=0\.8"):
        verify_export(TARGET)
    assert not served.requests


@pytest.mark.slow
async def test_shares_of_a_bucket_become_an_export_in_it(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore, cache: Path, tmp_path: Path
) -> None:
    """The store itself copies the parts; a directory gets them, too; tables are those of one export."""
    staging, sources = f"s3://{BUCKET}/staging/", all_lists(served)
    local = await export(served, tmp_path / "alone", format="parquet", ordered=True)
    async with open_session(served) as session:
        shares = await plan_shares(session, sources, 1, staging=staging, ordered=True)
        receipts = [await export_share(session, share, staging) for share in shares]
        served.clear_requests()
        assert await plan_shares(session, sources, staging=staging, ordered=True) == shares
        assert [await export_share(session, share, staging) for share in shares] == receipts
        assert served.requests == []
    report = await commit_shares(receipts, staging, TARGET)
    assert (report.path, report.records, report.complete) == (TARGET, local.records, True)
    assert {f"{TARGET}{key.removeprefix('out/')}" for key in unreliable.copied} == set(report.files)
    assert verify_export(TARGET).problems == ()
    check_whole(store)
    assert left_in(cache) == []
    assert read_export(TARGET).calls.equals(read_export(tmp_path / "alone").calls)
    assert (await commit_shares(receipts, staging, TARGET)).already_finished
    for receipt in receipts:
        (folder,) = {name.split("/")[1] for name in store.objects("staging/") if receipt.share.id in name} - {
            f"{receipt.share.id}-0.json"
        }
        assert folder == receipt.attempt
    store.client.delete_object(Bucket=BUCKET, Key="staging/committed.json")
    here = await commit_shares(receipts, staging, tmp_path / "here")
    assert verify_export(tmp_path / "here").problems == ()
    assert here.records == report.records


@pytest.mark.slow
async def test_shares_of_a_directory_go_into_a_bucket(
    served: StandInServer, unreliable: UnreliableStore, store: S3Server, tmp_path: Path
) -> None:
    """A commit that the store interrupts goes on; the manifest is put last; the staging stays as it was."""
    staging = tmp_path / "staging"
    async with open_session(served) as session:
        shares = await plan_shares(session, all_lists(served), 1)
        receipts = [await export_share(session, share, staging) for share in shares]
    before = {path: path.read_bytes() for path in staging.rglob("*") if path.is_file()}
    unreliable.fault = lambda request: Fault() if request == "PUT out/_manifest.json" else None
    with pytest.raises(ExportError, match="the store failed"):
        await commit_shares(receipts, staging, TARGET)
    assert "_manifest.json" not in store.objects("out/")
    unreliable.fault = lambda _: None
    unreliable.puts()
    assert (await commit_shares(receipts, staging, TARGET)).complete
    assert unreliable.puts()[-1] == "out/_manifest.json"
    check_whole(store)
    (staging / "committed.json").unlink()
    assert {path: path.read_bytes() for path in staging.rglob("*") if path.is_file()} == before


@pytest.mark.slow
async def test_attempts_race_in_a_bucket(
    served: StandInServer, store: S3Server, unreliable: UnreliableStore
) -> None:
    """One receipt is put, also where its answer was lost, and objects of attempts that lost are removed."""
    staging, receipts = f"s3://{BUCKET}/staging/", []
    async with open_session(served) as session:
        (share,) = await plan_shares(session, all_lists(served)[:1])
        lost = iter([Fault(done=True)])
        unreliable.fault = lambda request: (
            next(lost, None) if request.startswith("PUT staging/receipts/") else None
        )

        async def attempt() -> None:
            receipts.append(await export_share(session, share, staging))

        async with anyio.create_task_group() as attempts:
            attempts.start_soon(attempt)
            attempts.start_soon(attempt)
    assert receipts[0] == receipts[1]
    objects = store.objects("staging/")
    folders = {name.split("/")[1] for name in objects if name.startswith("attempts/")}
    assert folders == {receipts[0].attempt}
    assert sum(name.startswith("receipts/") for name in objects) == 1
