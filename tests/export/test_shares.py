"""Exports in shares: what attempts stage, which receipts count, and what a commit makes of them."""

import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import (
    CallSource,
    ExportError,
    ExportReport,
    NotFoundError,
    RetryPolicy,
    RunTestCalls,
    Session,
    ShareReceipt,
    commit_shares,
    export_calls,
    export_share,
    plan_shares,
    read_export,
    verify_export,
)
from futureagi_async.export.shares import cut
from futureagi_async.testing import StandInServer
from tests.support.exports import all_lists, names_in, read_manifest
from tests.support.sessions import UNKNOWN_ID, open_session, rows_of
from tests.support.slow import slow

pytestmark = pytest.mark.anyio

KEY = "redaction-key-c4n4ry"


async def run(
    session: Session, sources: Sequence[CallSource], folder: Path, *, requests: int = 1, **options: Any
) -> ExportReport:
    """Plan, export each share, and commit."""
    shares = await plan_shares(session, sources, requests, **options)
    receipts = [await export_share(session, share, folder / "staging") for share in shares]
    return await commit_shares(receipts, folder / "staging", folder / "shared")


def comparable(manifest: Any) -> Any:
    """Return of a manifest what two exports of the same lists have in common, however they were read."""
    how = ("started_at", "finished_at", "digest", "parts", "bytes", "sources")
    kept = {key: value for key, value in manifest.items() if key not in how}
    told = ("source", "verdict", "records", "received", "expected", "misfits", "failures", "changed_since")
    return kept | {"sources": [{key: each[key] for key in told} for each in manifest["sources"]]}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "options",
    [
        {"format": "jsonl"},
        *slow({"format": "parquet"}),
        {"format": "jsonl", "normalised": True, "drop": ["transcript"], "partition": "date"},
    ],
)
async def test_a_commit_holds_what_one_export_holds(
    served: StandInServer, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Tables, digests of ids and all else but times and part names are those of a single export."""
    options = {**options, "ordered": True, "transcripts": True}
    async with open_session(served) as session:
        alone = await export_calls(session, all_lists(served), tmp_path / "alone", **options)
        report = await run(session, all_lists(served), tmp_path, **options)
    assert report.complete
    assert (report.records, report.format, report.transcripts_fetched) == (
        alone.records,
        alone.format,
        alone.transcripts_fetched,
    )
    checked = verify_export(tmp_path / "shared")
    assert (checked.problems, checked.complete) == ((), True)
    ours, theirs = (read_manifest(tmp_path / name) for name in ("shared", "alone"))
    assert comparable(ours) == comparable(theirs)
    assert ours.keys() == theirs.keys()
    tables, expected = read_export(tmp_path / "shared"), read_export(tmp_path / "alone")
    order = [("source_index", "ascending"), ("id", "ascending")]
    assert tables.calls.sort_by(order).equals(expected.calls.sort_by(order))
    assert tables.evaluations is not None
    assert expected.evaluations is not None
    assert tables.evaluations.num_rows == expected.evaluations.num_rows
    assert names_in(tmp_path / "shared") == {path.split("/")[0] for path in tree(tmp_path / "shared")}


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_parquet_bytes_of_each_source_are_those_of_one_export(
    server: StandInServer, tmp_path: Path
) -> None:
    """Where each source has files of its own, they are equal byte for byte."""
    options: dict[str, Any] = {"format": "parquet", "partition": "source", "ordered": True, "part_rows": 40}
    async with open_session(server) as session:
        await export_calls(session, all_lists(server), tmp_path / "alone", **options)
        await run(session, all_lists(server), tmp_path, **options)
    ours, theirs = tree(tmp_path / "shared"), tree(tmp_path / "alone")
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"_manifest.json"}
    assert sum(name.endswith(".parquet") for name in ours) > 8


async def test_it_is_taken_as_a_base_and_replaced(served: StandInServer, tmp_path: Path) -> None:
    """``since`` takes a commit, for one export and for shares, and these read only what has changed."""
    sources = all_lists(served)
    async with open_session(served) as session:
        await run(session, sources, tmp_path)
        more = await export_calls(session, sources, tmp_path / "more", since=tmp_path / "shared")
        shares = await plan_shares(session, sources, since=tmp_path / "shared")
        receipt = await export_share(session, shares[0], tmp_path / "changes")
        report = await commit_shares([receipt], tmp_path / "changes", tmp_path / "changed")
    assert len(shares) == 1
    assert report.changed_since == more.changed_since
    assert None not in report.changed_since
    assert report.records == more.records
    assert verify_export(tmp_path / "changed").problems == ()


async def test_planning_costs_one_small_request_a_list_or_none(served: StandInServer, tmp_path: Path) -> None:
    """Nothing is asked of lists whose counts are known, or that have receipts already."""
    sources = all_lists(served)
    async with open_session(served) as session:
        shares = await plan_shares(session, sources, 3)
        asked = [request.query["limit"] for request in served.requests]
        assert asked == ["5"] * len(sources)
        served.clear_requests()
        counts = dict.fromkeys(sources[:2], 150)
        await plan_shares(session, sources, 3, counts=counts)
        assert len(served.requests) == 1
        served.clear_requests()
        await plan_shares(session, sources[:2], 3, counts=counts)
        assert served.requests == []
        for share in shares[:-1]:
            await export_share(session, share, tmp_path)
        served.clear_requests()
        again = await plan_shares(session, sources, 10**6, staging=tmp_path)
    assert again == shares
    assert len(served.requests) == len(shares[-1].sources)


@given(
    costs=st.lists(st.integers(1, 9) | st.just(float("inf")), max_size=30),
    most=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 29), unique=True, max_size=8),
)
def test_shares_hold_every_source_once(costs: list[float], most: int, cuts: list[int]) -> None:
    """Whatever was cut before stays, and no share costs too much that has several new sources."""
    ends = sorted(each for each in cuts if each <= len(costs))
    kept = [range(a, b) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    spans = list(cut(costs, most, kept))
    assert [place for span in spans for place in span] == list(range(len(costs)))
    assert set(kept) <= set(spans)
    for span in set(spans) - set(kept):
        assert len(span) == 1 or sum(costs[span.start : span.stop]) <= most


async def test_the_first_receipt_counts(served: StandInServer, tmp_path: Path) -> None:
    """Attempts that race end with one receipt, and leave what one of them wrote; later ones read nothing."""
    receipts: list[ShareReceipt] = []
    async with open_session(served) as session:
        (share,) = await plan_shares(session, all_lists(served)[:1])

        async def attempt() -> None:
            receipts.append(await export_share(session, share, tmp_path))

        async with anyio.create_task_group() as attempts:
            for _ in range(3):
                attempts.start_soon(attempt)
        served.clear_requests()
        receipts.append(await export_share(session, pickle.loads(pickle.dumps(share)), tmp_path))
    assert served.requests == []
    assert len({receipt.attempt for receipt in receipts}) == 1
    assert receipts.count(receipts[0]) == 4
    assert names_in(tmp_path / "receipts") == {"000000-000001-0.json"}
    assert names_in(tmp_path / "attempts") == {receipts[0].attempt}
    assert verify_export(tmp_path / "attempts" / str(receipts[0].attempt)).problems == ()


async def test_an_incomplete_share_is_tried_again(served: StandInServer, tmp_path: Path) -> None:
    """Its receipt counts until a complete one is there, and then that one does, whoever comes later."""
    source, staging = all_lists(served)[2], tmp_path / "staging"
    async with open_session(served, retry=RetryPolicy(attempts=1)) as session:
        (share,) = await plan_shares(session, [source], transcripts=True)
        served.fail(f"/call-executions/{rows_of(served, source)[0]}/", status=500, times=2)
        first = await export_share(session, share, staging)
        second = await export_share(session, share, staging)
        assert [first.complete, second.complete] == [False, False]
        served.clear_faults()
        third = await export_share(session, share, staging)
        served.clear_requests()
        assert await export_share(session, share, staging) == third
        assert served.requests == []
        report = await commit_shares([first], staging, tmp_path / "out")
    assert len({receipt.attempt for receipt in (first, second, third)}) == 3
    assert names_in(staging / "receipts") == {f"000000-000001-{number}.json" for number in range(3)}
    assert third.complete
    assert report.complete
    assert report.fetch == third.fetch


async def test_a_share_that_fails_ends_alone(served: StandInServer, tmp_path: Path) -> None:
    """Others are committed, and the report names its sources; once it is exported, the rest is added."""
    bad = RunTestCalls(UNKNOWN_ID)
    good = all_lists(served)
    async with open_session(served) as session:
        shares = await plan_shares(session, [good[0], bad, *good[1:]], 500)
        assert [share.sources for share in shares] == [(good[0],), (bad,), tuple(good[1:])]
        staging, target = tmp_path / "staging", tmp_path / "shared"
        receipts = []
        for share in shares:
            try:
                receipts.append(await export_share(session, share, staging))
            except NotFoundError as error:
                receipts.append(share.failed(error))
        with pytest.raises(ValueError, match="missing for sources 1 to 1 of 0 to 3"):
            await commit_shares([receipts[0], receipts[2]], staging, target)
        report = await commit_shares(receipts, staging, target)
    assert not report.complete
    assert [each.verdict for each in report.fetch] == ["complete", "incomplete", "complete", "complete"]
    failed = report.fetch.sources[1]
    assert failed.source == bad
    assert failed.reason.startswith("not read, because its share failed: ")
    assert isinstance(failed.failures[0], NotFoundError)
    checked = verify_export(target)
    assert (checked.problems, checked.complete) == ((), False)
    assert read_export(target).calls.num_rows == report.records > 0


async def test_secrets_are_nowhere(
    served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither keys of the session nor the key of a redaction are in shares, receipts or the staging."""
    monkeypatch.setenv("FI_REDACT_KEY", KEY)
    async with open_session(served) as session:
        (share,) = await plan_shares(session, all_lists(served)[:1], redact=True)
        receipt = await export_share(session, share, tmp_path)
        monkeypatch.setenv("FI_REDACT_KEY", "another")
        with pytest.raises(ValueError, match="is not the key of the plan"):
            await export_share(session, share, tmp_path)
        assert await export_share(session, share, tmp_path, redact_key=KEY) == receipt
    texts = [
        pickle.dumps(share),
        pickle.dumps(receipt),
        repr((share, receipt)).encode(),
        *tree(tmp_path).values(),
    ]
    for secret in (KEY, served.api_key, served.secret_key):
        assert not any(secret.encode() in text for text in texts)


async def committed(served: StandInServer, folder: Path) -> tuple[list[ShareReceipt], ExportReport]:
    """Commit three shares of one list each."""
    async with open_session(served) as session:
        shares = await plan_shares(session, all_lists(served), 1)
        receipts = [await export_share(session, share, folder / "staging") for share in shares]
    return receipts, await commit_shares(receipts, folder / "staging", folder / "shared")


async def test_a_commit_again_changes_nothing(served: StandInServer, tmp_path: Path) -> None:
    """It says so; to another target the same staging is refused, as it is of an earlier run."""
    receipts, report = await committed(served, tmp_path)
    before = tree(tmp_path)
    again = await commit_shares(receipts, tmp_path / "staging", tmp_path / "shared")
    assert (again.already_finished, again.records, again.fetch) == (True, report.records, report.fetch)
    assert tree(tmp_path) == before
    with pytest.raises(ExportError, match=r"committed to another target.*committed\.json"):
        await commit_shares(receipts, tmp_path / "staging", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    shutil.rmtree(tmp_path / "shared")
    await commit_shares(receipts, tmp_path / "staging", tmp_path / "shared")
    assert verify_export(tmp_path / "shared").ok


async def test_orphans_are_removed_after_a_time(served: StandInServer, tmp_path: Path) -> None:
    """What no receipt names goes once it is old, and nothing else: nothing while one can't be read."""
    receipts, _ = await committed(served, tmp_path)
    attempts = tmp_path / "staging" / "attempts"
    orphan, other = attempts / f"000000-000001-{'0' * 16}", attempts / "notes"
    for folder in (orphan, other):
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "file").touch()
    await commit_shares(receipts, tmp_path / "staging", tmp_path / "shared")
    assert orphan.exists()
    for path in (orphan, *orphan.rglob("*")):
        os.utime(path, (0, 0))
    broken = tmp_path / "staging" / "receipts" / "000003-000001-0.json"
    broken.write_bytes(b"{")
    await commit_shares(receipts, tmp_path / "staging", tmp_path / "shared")
    assert orphan.exists()
    broken.unlink()
    await commit_shares(receipts, tmp_path / "staging", tmp_path / "shared")
    assert names_in(attempts) == {"notes", *(str(receipt.attempt) for receipt in receipts)}


async def test_damaged_parts_are_refused(served: StandInServer, tmp_path: Path) -> None:
    """What is not as its receipt says is named, with what to do, and nothing is placed."""
    async with open_session(served) as session:
        (share,) = await plan_shares(session, all_lists(served))
        receipt = await export_share(session, share, tmp_path / "staging")
        folder = tmp_path / "staging" / "attempts" / str(receipt.attempt)
        for name in (receipt.parts[0].name, "pairs.jsonl"):
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(content.replace(b"1", b"2", 1))
            with pytest.raises(ExportError, match=r"was changed: its SHA-256.*000000-000003-\*\.json"):
                await commit_shares([receipt], tmp_path / "staging", tmp_path / "out")
            (folder / name).unlink()
            with pytest.raises(ExportError, match="is missing"):
                await commit_shares([receipt], tmp_path / "staging", tmp_path / "out")
            assert not (tmp_path / "out").exists()
            (folder / name).write_bytes(content)
        path = tmp_path / "staging" / "receipts" / "000000-000003-0.json"
        text = path.read_text()
        for bad, said in (
            (text.replace('"resumed": 0', '"resumed": 1'), "Its digest"),
            ("{", "not the receipt"),
        ):
            path.write_text(bad)
            with pytest.raises(ExportError, match=said):
                await commit_shares([receipt], tmp_path / "staging", tmp_path / "out")
            with pytest.raises(ExportError, match=said):
                await export_share(session, share, tmp_path / "staging")
        for file in path.parent.iterdir():
            file.unlink()
        with pytest.raises(ExportError, match="has no receipt of share 000000-000003"):
            await commit_shares([receipt], tmp_path / "staging", tmp_path / "out")
        again = await export_share(session, share, tmp_path / "staging")
        assert (await commit_shares([again], tmp_path / "staging", tmp_path / "out")).complete


async def test_what_is_somebody_elses_is_refused(served: StandInServer, tmp_path: Path) -> None:
    """Stagings of other plans, finished exports of other parameters, and directories of other files."""
    receipts, _ = await committed(served, tmp_path)
    sources = all_lists(served)
    staging = tmp_path / "staging"
    async with open_session(served) as session:
        (other,) = await plan_shares(session, sources, ordered=True)
        served.clear_requests()
        with pytest.raises(ExportError, match="shares of another plan"):
            await export_share(session, other, staging)
        with pytest.raises(ExportError, match="shares of another plan"):
            await plan_shares(session, sources, transcripts=True, staging=staging)
        assert served.requests == []
        receipt = await export_share(session, other, tmp_path / "second")
        with pytest.raises(ExportError, match="shares of another plan"):
            await commit_shares([receipt], staging, tmp_path / "out")
        with pytest.raises(ExportError, match="has no shares"):
            await commit_shares([receipt], tmp_path / "third", tmp_path / "out")
        with pytest.raises(ExportError, match="finished export with other parameters: ordered"):
            await commit_shares([receipt], tmp_path / "second", tmp_path / "shared")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").touch()
        with pytest.raises(ExportError, match="but the directory has no manifest"):
            await commit_shares([receipt], tmp_path / "second", tmp_path / "mine")
        report = await commit_shares([receipt], tmp_path / "second", tmp_path / "shared", resume=False)
    assert report.complete
    assert read_manifest(tmp_path / "shared")["parameters"]["ordered"]
    with pytest.raises(ValueError, match="of one plan"):
        await commit_shares([*receipts, receipt], staging, tmp_path / "out")


async def test_wrong_arguments(served: StandInServer, tmp_path: Path) -> None:
    """Each is refused with one clear error, before any request."""
    sources = all_lists(served)
    async with open_session(served) as session:
        (share,) = await plan_shares(session, sources)
        receipt = await export_share(session, share, tmp_path / "staging")
        served.clear_requests()
        plans: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"sources": []}, ValueError, "at least one list"),
            ({"sources": [sources[0]] * 2}, ValueError, f"a list twice, but they name {sources[0]}"),
            ({"sources": [5]}, TypeError, "not int"),
            ({"requests": 0}, ValueError, "requests must be at least 1"),
            ({"requests": "5"}, TypeError, "requests must be an int"),
            ({"format": "csv"}, ValueError, "no share has all of them"),
            ({"format": "xml"}, ValueError, "format must be one of"),
            ({"counts": [5]}, TypeError, "counts must map"),
            ({"counts": {sources[0]: -1}}, ValueError, "A count must be at least 1"),
            ({"staging": ""}, ValueError, "staging must be a path"),
            ({"normalised": True}, ValueError, "normalised is for format 'jsonl'"),
            ({"columns": ["nope"]}, ValueError, "nope"),
            ({"partition": "hour"}, ValueError, "partition must be"),
            ({"page_size": 0}, ValueError, "page_size"),
            ({"since": tmp_path / "nothing"}, ExportError, "there is no manifest"),
        ]
        for options, kind, said in plans:
            with pytest.raises(kind, match=said):
                await plan_shares(**{"session": session, "sources": sources, **options})
        for given, staging, kind, said in (
            (receipt, tmp_path, TypeError, "share must be a Share, not ShareReceipt"),
            (share, "", ValueError, "staging must be a path"),
            (share, "http://x/y", ValueError, "staging must be a path on this machine"),
        ):
            with pytest.raises(kind, match=said):
                await export_share(session, given, staging)  # type: ignore[arg-type]  # the point of the test
        assert served.requests == []
    (tmp_path / "file").touch()
    commits: list[tuple[Any, Any, Any, type[Exception], str]] = [
        ([], "staging", "out", ValueError, "must have one receipt for each share"),
        (5, "staging", "out", TypeError, "receipts must be a list of ShareReceipt"),
        ([share], "staging", "out", TypeError, "must be a ShareReceipt, not Share"),
        ([receipt, receipt], "staging", "out", ValueError, "have source 0 twice"),
        ([receipt], "staging", "staging", ValueError, "must be separate"),
        ([receipt], "staging", "staging/out", ValueError, "must be separate"),
        ([receipt], "staging/in", "staging", ValueError, "must be separate"),
        ([receipt], "staging", "out.parquet", ValueError, "must be a directory or a prefix"),
        ([receipt], "staging", "file", ExportError, "not a directory"),
    ]
    for receipts, staging, target, kind, said in commits:
        with pytest.raises(kind, match=said):
            await commit_shares(receipts, tmp_path / staging, tmp_path / target)
    with pytest.raises(ValueError, match="orphans_after must be 0 seconds or more"):
        await commit_shares([receipt], tmp_path / "staging", tmp_path / "out", orphans_after=-1)
    assert not (tmp_path / "out").exists()
