"""Exports by the tasks of a real local Ray, over loopback: ``nox -s ray`` runs this."""

import logging
import os
import re
import signal
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from pyarrow import parquet

from futureagi_async import (
    AuthenticationError,
    CallSource,
    ExportProgress,
    ExportReport,
    InternalServerError,
    NotFoundError,
    RetryPolicy,
    RunTestCalls,
    verify_export,
)
from futureagi_async import export_calls as export_alone
from futureagi_async import read_export as read_tables
from futureagi_async.events import Event, PageArrived, VerdictReached
from futureagi_async.testing import StandInServer
from tests.support.exports import all_lists
from tests.support.ray_cluster import (
    BUDGET,
    OPTIONS,
    SHARE,
    kill_one,
    pids_of,
    run_script,
    running_cluster,
    start_driver,
    wait_until,
)
from tests.support.sessions import FOREVER, UNKNOWN_ID, make_session

pytestmark = [
    pytest.mark.skipif("RAY" not in os.environ, reason="starting Ray takes seconds: nox -s ray"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("default"),  # Ray has some of its own
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Run Ray; its workers have the keys of every stand-in, and this process has none."""
    with StandInServer(demo=False) as server:
        keys = server.api_key, server.secret_key
    with running_cluster(keys) as address:
        yield address


@pytest.fixture
def slow(cluster: str) -> Iterator[StandInServer]:
    """Run a stand-in that takes a while."""
    with StandInServer(latency_seconds=0.15) as server:
        yield server


def export(server: StandInServer, sources: Any, target: Path, **options: Any) -> ExportReport:
    """Export by Ray."""
    from futureagi_async.integrations.ray import export_calls

    return export_calls(sources, target, base_url=server.base_url, **{**OPTIONS, **options})


def add_lists(server: StandInServer, lists: int = 8, calls: int = 400) -> list[RunTestCalls]:
    """Add some lists of several pages."""
    return [RunTestCalls(server.add_run_test(calls, slim=True)) for _ in range(lists)]


def check_whole(report: ExportReport, server: StandInServer, sources: list[RunTestCalls]) -> None:
    """Assert that each call is there, once, and that the files are as they were written."""
    assert report.complete, report
    checked = verify_export(report.path)
    assert (checked.problems, checked.complete) == ((), True)
    ids = Counter(read_tables(report.path).calls["id"].to_pylist())
    assert ids == Counter(each for source in sources for each in server.run_test_rows(source.run_test_id))


def finished(target: Path) -> set[str]:
    """Return which shares have receipts."""
    folder = Path(f"{target}.shares", "receipts")
    return {path.name for path in folder.glob("*.json")} if folder.exists() else set()


def begun(target: Path, sources: list[RunTestCalls]) -> list[str]:
    """Return the attempts at the share of the first sources."""
    folder = Path(f"{target}.shares", "attempts")
    return [path.name for path in folder.glob(f"000000-{len(sources):06}-*")]


def requests_of(server: StandInServer) -> Counter[str]:
    """Count the requests of each run test; not those of planning."""
    return Counter(
        request.path.split("/")[3] for request in server.requests if request.query.get("limit") != "5"
    )


def test_it_is_what_one_process_exports(server: StandInServer, cluster: str, tmp_path: Path) -> None:
    """Ids, verdicts, and the Parquet files of each source byte by byte; this process has no keys."""
    sources: list[CallSource] = [*all_lists(server), *add_lists(server, 3, 250)]
    options = {"format": "parquet", "partition": "source", "ordered": True, "part_rows": 40}
    assert "FI_API_KEY" not in os.environ

    async def alone() -> ExportReport:
        async with make_session(server) as session:
            return await export_alone(session, sources, tmp_path / "alone", **options)

    expected = anyio.run(alone)
    report = export(server, sources, tmp_path / "out", transcripts=False, **options)
    assert report.complete
    assert [(each.source, each.received, each.verdict) for each in report.fetch] == [
        (each.source, each.received, each.verdict) for each in expected.fetch
    ]
    ours, theirs = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
        for folder in (tmp_path / "out", tmp_path / "alone")
    )
    assert len(theirs) > len(sources)
    assert ours == theirs


def test_the_same_call_again_reads_nothing(server: StandInServer, cluster: str, tmp_path: Path) -> None:
    """Each share has its receipt, and the target is finished."""
    sources = add_lists(server, 3, 150)
    export(server, sources, tmp_path / "out")
    server.clear_requests()
    assert export(server, sources, tmp_path / "out").already_finished
    assert server.requests == []


def test_the_calls_are_a_dataset(served: StandInServer, cluster: str, tmp_path: Path) -> None:
    """As in the tables: calls, evaluations, and of an empty list a dataset without rows."""
    from futureagi_async.integrations.ray import read_export

    report = export(served, all_lists(served), tmp_path / "out", partition="source")
    tables = read_tables(report.path)
    assert tables.evaluations is not None
    dataset = read_export(report)
    assert sorted(row["id"] for row in dataset.take_all()) == sorted(tables.calls["id"].to_pylist())
    assert set(tables.calls.column_names) == set(dataset.schema().names)
    assert read_export(report, evaluations=True).count() == tables.evaluations.num_rows > 0
    empty = export(served, RunTestCalls(served.add_run_test(0)), tmp_path / "empty")
    assert read_export(empty).count() == 0


def test_other_formats_are_no_dataset(served: StandInServer, cluster: str, tmp_path: Path) -> None:
    """Lines as sent have no columns that could be relied upon."""
    from futureagi_async.integrations.ray import read_export

    report = export(served, all_lists(served)[0], tmp_path / "out", format="jsonl")
    with pytest.raises(ValueError, match="format='parquet', not 'jsonl'"):
        read_export(report)


def test_a_killed_worker_costs_its_share(slow: StandInServer, tmp_path: Path) -> None:
    """Its share is read again, by another worker; nothing is lost, doubled, or read for the others."""
    sources = add_lists(slow)
    with ThreadPoolExecutor(1) as threads:
        exporting = threads.submit(export, slow, sources, tmp_path / "out")
        wait_until(lambda: finished(tmp_path / "out"))
        before = finished(tmp_path / "out")
        kill_one(SHARE)
        check_whole(exporting.result(), slow, sources)
    undisturbed = min(requests_of(slow).values())
    again = {run for run, requests in requests_of(slow).items() if requests > undisturbed + 1}
    assert len(again) <= 2
    assert len(before) < len(sources)


def test_a_killed_driver_goes_on_where_it_was(cluster: str, slow: StandInServer, tmp_path: Path) -> None:
    """Its tasks end with it; the same call again reads only shares without receipts."""
    sources = add_lists(slow)
    ids = [source.run_test_id for source in sources]
    with start_driver(cluster, slow, tmp_path / "out", ids) as driver:
        wait_until(lambda: len(finished(tmp_path / "out")) >= 2)
        driver.kill()
    wait_until(lambda: not pids_of(SHARE) and not pids_of(BUDGET) and not slow.in_flight)
    kept = {int(name[:6]) for name in finished(tmp_path / "out")}
    slow.clear_requests()
    check_whole(export(slow, sources, tmp_path / "out"), slow, sources)
    assert 2 <= len(kept) < len(sources)
    assert set(requests_of(slow)) == {each for place, each in enumerate(ids) if place not in kept}


def test_ctrl_c_ends_all_tasks(cluster: str, slow: StandInServer, tmp_path: Path) -> None:
    """When the driver is gone, nobody asks the server any more."""
    ids = [source.run_test_id for source in add_lists(slow)]
    with start_driver(cluster, slow, tmp_path / "out", ids) as driver:
        wait_until(lambda: finished(tmp_path / "out"))
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=60)
    assert driver.returncode != 0
    # Now and then the signal meets Ray's core where its own check then ends the driver.
    assert "KeyboardInterrupt" in errors or "task_manager.cc" in errors, errors
    asked = len(slow.requests)
    wait_until(lambda: not pids_of(SHARE) and not pids_of(BUDGET) and not slow.in_flight)
    time.sleep(1.5)  # what was left behind would ask again in this time
    assert len(slow.requests) <= asked + 2


def test_a_share_that_always_fails_ends_alone(
    server: StandInServer, cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried three times, named, and costs no other share anything."""
    sources = add_lists(server, 4, 250)
    poisonous = sources[1]
    server.fail(poisonous.run_test_id, status=500, times=FOREVER)
    with pytest.raises(InternalServerError):
        export(server, poisonous, tmp_path / "once", attempts=1, retry=RetryPolicy(attempts=1))
    asked = requests_of(server)[poisonous.run_test_id]
    server.clear_requests()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "futureagi_async"):
        report = export(server, sources, tmp_path / "out", retry=RetryPolicy(attempts=1))
    assert not report.complete
    verdicts = [each.verdict for each in report.fetch]
    assert verdicts == ["complete", "incomplete", "complete", "complete"]
    failed = report.fetch.sources[1]
    assert "its share failed" in failed.reason
    assert isinstance(failed.failures[0], InternalServerError)
    assert requests_of(server)[poisonous.run_test_id] == 3 * asked
    (warning,) = caplog.messages
    assert str(poisonous) in warning
    server.clear_faults()
    check_whole(export(server, sources, tmp_path / "out"), server, sources)


def test_a_list_that_is_not_there_is_tried_once(server: StandInServer, cluster: str, tmp_path: Path) -> None:
    """Another attempt would be told the same."""
    missing = RunTestCalls(UNKNOWN_ID)
    report = export(server, [missing, *add_lists(server, 2, 30)], tmp_path / "out")
    assert [each.verdict for each in report.fetch] == ["incomplete", "complete", "complete"]
    assert isinstance(report.fetch.sources[0].failures[0], NotFoundError)
    assert requests_of(server)[UNKNOWN_ID] <= 1


def test_a_share_that_kills_its_workers_ends_alone(slow: StandInServer, cluster: str, tmp_path: Path) -> None:
    """As one does that takes all memory: after its attempts its sources are incomplete."""
    sources = add_lists(slow, 3, 150)
    slow.stall(sources[0].run_test_id, times=FOREVER, seconds=30, after=1)
    with ThreadPoolExecutor(1) as threads:
        exporting = threads.submit(export, slow, sources, tmp_path / "out", attempts=2)
        wait_until(lambda: len(finished(tmp_path / "out")) == 2)
        for attempt in (1, 2):
            wait_until(lambda attempt=attempt: len(begun(tmp_path / "out", sources[:1])) == attempt)
            kill_one(SHARE)
        report = exporting.result()
    assert [each.verdict for each in report.fetch] == ["incomplete", "complete", "complete"]
    assert "worker was lost" in report.fetch.sources[0].reason


def test_where_all_shares_fail_the_first_error_is_raised(
    server: StandInServer, cluster: str, tmp_path: Path
) -> None:
    """There is nothing to put into the target."""
    with pytest.raises(NotFoundError):
        export(server, RunTestCalls(UNKNOWN_ID), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refused_keys_end_it_at_once(server: StandInServer, cluster: str, tmp_path: Path) -> None:
    """Other shares, and other attempts, would be refused, too."""
    server.fail(status=401, times=FOREVER)
    with pytest.raises(AuthenticationError):
        export(server, add_lists(server, 5, 20), tmp_path / "out")
    assert len(server.requests) <= 5


def test_keys_that_a_worker_lacks_are_one_clear_error(
    server: StandInServer, cluster: str, tmp_path: Path
) -> None:
    """It says what to set, and where."""
    lacking = {"runtime_env": {"env_vars": {"FI_SECRET_KEY": ""}}}
    with pytest.raises(ValueError, match=r"^FI_SECRET_KEY not set in the environment of a Ray worker on .*"):
        export(server, add_lists(server, 1, 20), tmp_path / "out", task_options=lacking)
    assert server.requests == []


@pytest.mark.parametrize(
    ("wrong", "kind", "match"),
    [
        ({"requests_per_minute": 0}, ValueError, "requests_per_minute"),
        ({"requests_per_minute": None}, TypeError, "requests_per_minute"),
        ({"fetchers": 0}, ValueError, "fetchers"),
        ({"attempts": "3"}, TypeError, "attempts"),
        ({"share_requests": 0}, ValueError, "share_requests"),
        ({"format": "csv"}, ValueError, "format can't be 'csv'"),
        ({"columns": "id"}, (TypeError, ValueError), "columns"),
        ({"sources": [5]}, TypeError, "source"),
        ({"sources": [RunTestCalls(UNKNOWN_ID)] * 2}, ValueError, "must not name a list twice"),
        ({"target": "calls.parquet"}, ValueError, "target must be a directory"),
        ({"target": "s3://bucket/"}, ValueError, "Pass staging: it has no default"),
        ({"staging": "out/staging", "target": "out"}, ValueError, "must be separate"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight"),
        ({"timeouts": 5}, TypeError, "timeouts"),
        ({"base_url": "ftp://example.org"}, ValueError, "base_url"),
    ],
)
def test_wrong_arguments(
    served: StandInServer,
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, Any],
    kind: type[Exception],
    match: str,
) -> None:
    """They are refused before any request, wherever they are used."""
    from futureagi_async.integrations.ray import export_calls

    monkeypatch.chdir(tmp_path)
    given = {"sources": [RunTestCalls(UNKNOWN_ID)], "target": tmp_path / "out", "base_url": served.base_url}
    with pytest.raises(kind, match=match):
        export_calls(**{**OPTIONS, **given, **wrong})
    assert served.requests == []


def test_the_driver_is_told_what_tasks_do(slow: StandInServer, tmp_path: Path) -> None:
    """Progress only grows while lists are read; each list has one verdict, and each page its event."""
    sources = add_lists(slow, 4, 400)
    progress, events = list[ExportProgress](), list[Event]()
    report = export(slow, sources, tmp_path / "out", on_progress=progress.append, observers=[events.append])
    read = [each.records for each in progress if each.phase == "reading"]
    assert read == sorted(read)
    assert read[-1] == report.records == 1600
    assert progress[-1].phase == "writing"
    verdicts = [event for event in events if isinstance(event, VerdictReached)]
    assert {event.source for event in verdicts} == set(sources)
    assert len(verdicts) == len(sources)
    assert {event.source for event in events if isinstance(event, PageArrived)} == set(sources)
    assert sum(event.records for event in events if isinstance(event, PageArrived)) >= 1600


def most_within(times: list[float], seconds: float) -> int:
    """Return how many of the times lie in the fullest such window."""
    times = sorted(times)
    return max(bisect_left(times, first + seconds) - index for index, first in enumerate(times))


def test_all_workers_together_keep_the_budget(cluster: str, tmp_path: Path) -> None:
    """By the server's own times: also with a lost budget, a lost worker, and a pause for all."""
    per_minute = 150
    with StandInServer(latency_seconds=0.05) as server:
        sources = add_lists(server, 60, 300)
        server.fail(status=429, headers={"Retry-After": "6"}, after=100)
        with ThreadPoolExecutor(1) as threads:
            exporting = threads.submit(
                export, server, sources, tmp_path / "out", requests_per_minute=per_minute, share_requests=5
            )
            wait_until(lambda: len(server.requests) > 75)
            kill_one(BUDGET)
            wait_until(lambda: len(server.requests) > 130)
            kill_one(SHARE)
            check_whole(exporting.result(), server, sources)
        times = [request.started for request in server.requests]
        (refused,) = (request.ended for request in server.requests if request.status == 429)
    assert max(times) - min(times) > 62
    assert per_minute / 2 <= most_within(times, 60) <= per_minute  # less, as nothing is sent for some seconds
    assert most_within(times, 10) <= per_minute / 6 + 5
    in_pause = [each for each in times if refused + 0.3 < each < refused + 6]
    assert in_pause == []


DOCS = Path(__file__).parents[2] / "docs"


def test_the_script_of_the_page_runs(cluster: str, served: StandInServer, tmp_path: Path) -> None:
    """Beside its cluster, which is the one of these tests."""
    (code,) = re.findall(
        r"^```python\n(import ray\n.*?)^```",
        (DOCS / "many-machines.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    before, its_own, after = code.partition("ray.init(num_cpus=2)")
    assert its_own
    ids = f"run_test_id = {served.run_test_ids[0]!r}\n"
    ran = run_script(cluster, served, tmp_path, f"{ids}{before}{after}")
    assert ran.returncode == 0, ran.stderr
    records = len(served.run_test_rows(served.run_test_ids[0]))
    assert ran.stdout.splitlines()[-1].split() == ["True", str(records)]


@pytest.fixture
def audio(tmp_path: Path) -> Iterator[str]:
    """Serve a file, and 404 for all others; yield the address of the folder."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "call.mp3").write_bytes(b"sound" * 100_000)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_example_scores_transcripts_and_downloads_audio(
    cluster: str, served: StandInServer, audio: str, tmp_path: Path
) -> None:
    """Each call has its score, each recording its file, or the reason why there is none."""
    run_test_id = served.add_run_test(20)
    ids = served.run_test_rows(run_test_id)
    for place, id_ in enumerate(ids):
        url = (
            f"{audio}/call.mp3?signature=s3cr3t" if place < 5 else f"{audio}/gone.mp3" if place < 8 else None
        )
        served.alter_call(id_, {"audio_url": url, "recording_url": url, "recordings": None})
    code = (DOCS / "examples" / "score_transcripts.py").read_text()
    ran = run_script(cluster, served, tmp_path, code, "lake", run_test_id)
    assert ran.returncode == 0, ran.stderr
    assert f"calls: {len(ids)} complete" in ran.stdout
    tables = read_tables(tmp_path / "lake").calls
    scores = parquet.read_table(tmp_path / "lake.scores").to_pylist()
    assert sorted(row["id"] for row in scores) == sorted(tables["id"].to_pylist())
    assert any(0 < row["listening"] <= 1 for row in scores)
    ended = Counter(row["audio"] for row in parquet.read_table(tmp_path / "lake.downloads").to_pylist())
    assert ended == {"failed: HTTPError": 3, **{f"{id_}.mp3": 1 for id_ in ids[:5]}}
    files = {path.name: path.stat().st_size for path in (tmp_path / "lake.audio").iterdir()}
    assert files == {f"{id_}.mp3": 500_000 for id_ in ids[:5]}
