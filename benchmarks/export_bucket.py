"""What an export into a bucket costs beside a local one, and beside the bare upload of its files.

Run ``python -m benchmarks.export_bucket`` on Linux, with moto installed. A list of the stand-in is exported
into a directory, the files are put by obstore alone, and the list is exported into a bucket: the same work,
of which reading, writing and uploading go on at once. The S3 server and the stand-in run in processes of
their own. The server takes so much a second (``--rate``, megabytes), as a network would; 0 is no limit.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs

from benchmarks.export_memory import peak_mebibytes
from futureagi_async import RunTestCalls, Session, export_calls
from futureagi_async.testing import StandInServer
from tests.support.object_stores import BUCKET, SlowNetwork, s3_server_process

SIZES = (10_000, 100_000)
FORMATS = ("jsonl", "parquet")
PART_ROWS = 10_000
GOAL = 1.2


@attrs.define(frozen=True)
class Turn:
    """What one process is to do."""

    keys: tuple[str, str, str]
    run_test: str
    target: str
    format: str
    folder: str
    """Whose files are to be put, where the target is not to be exported to."""


def files_in(folder: Path) -> list[Path]:
    """Return all files of an export."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def put_files(folder: Path) -> None:
    """Put the files of an export by obstore, three at once, as exports do."""
    import obstore
    from obstore.store import S3Store

    store, slots = S3Store(BUCKET), asyncio.Semaphore(3)

    async def put(path: Path) -> None:
        async with slots:
            await obstore.put_async(
                store, f"bare/{path.name}", path, chunk_size=8 * 1024**2, max_concurrency=3
            )

    async with asyncio.TaskGroup() as tasks:
        for path in files_in(folder):
            tasks.create_task(put(path))


async def take(turn: Turn) -> None:
    """Do it, and print seconds and memory."""
    async with Session(*turn.keys, max_in_flight=8) as session:
        began = time.perf_counter()
        if turn.folder:
            await put_files(Path(turn.folder))
        else:
            source, target = RunTestCalls(turn.run_test), turn.target
            report = await export_calls(session, source, target, format=turn.format, part_rows=PART_ROWS)
            assert report.complete
    print(json.dumps({"seconds": time.perf_counter() - began, "peak": peak_mebibytes()}))


def run(turn: Turn, environment: dict[str, str]) -> dict[str, float]:
    """Let a fresh process take a turn."""
    command = [sys.executable, "-m", "benchmarks.export_bucket", "--turn", json.dumps(attrs.asdict(turn))]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def measure(calls: int, format_: str, rate: float) -> tuple[dict[str, float], ...]:
    """Export a list into a directory, put its files, and export it into a bucket."""
    with (
        tempfile.TemporaryDirectory() as folder,
        StandInServer(demo=False) as server,
        s3_server_process() as store,
        SlowNetwork(store.endpoint, rate * 1e6) as network,
    ):
        keys = (server.api_key, server.secret_key, server.base_url)
        environment = os.environ | store.environment
        environment |= {"AWS_ENDPOINT_URL": network.endpoint, "XDG_CACHE_HOME": str(Path(folder, "cache"))}
        list_ = server.add_run_test(calls, slim=True)
        local = str(Path(folder, "out"))
        run(Turn(keys, list_, str(Path(folder, "first")), format_, ""), environment)  # rows are made up once
        turns = (
            Turn(keys, list_, local, format_, ""),
            Turn(keys, list_, "", format_, local),
            Turn(keys, list_, f"s3://{BUCKET}/out/", format_, ""),
        )
        return tuple(run(turn, environment) for turn in turns)


def main() -> None:
    """Print the table, or take a turn where one is given."""
    if "--turn" in sys.argv:
        asyncio.run(take(Turn(**json.loads(sys.argv[-1]))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rate", type=float, default=10.0, help="megabytes a second to the bucket; 0: no limit"
    )
    rate = parser.parse_args().rate
    print("| export | calls | local, s | bare upload, s | bucket, s | of both together | goal | peak, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for format_ in FORMATS:
        for calls in SIZES:
            local, bare, bucket = measure(calls, format_, rate)
            both = local["seconds"] + bare["seconds"]
            print(
                f"| {format_} | {calls:,} | {local['seconds']:.1f} | {bare['seconds']:.1f} | "
                f"{bucket['seconds']:.1f} | {bucket['seconds'] / both:.2f} | {GOAL} | {bucket['peak']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
