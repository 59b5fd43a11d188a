"""Lands calls, then computes on them: scores their transcripts with a model, and downloads their audio.

    python score_transcripts.py lake/2026-01-31 RUN_TEST_ID [RUN_TEST_ID ...]

The export is by Ray's tasks (``futureagi_async.integrations.ray``). What follows is Ray Data, on files
that do not move any more. Scores are Parquet beside the calls, to be joined by ``id``; of each recording
there is a line on how its download ended. The model here is a stand-in that counts characters: put your own
into `Listening`. Keys are taken from the environment of Ray's workers; no audio host is sent any.
"""

import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray

from futureagi_async import RunTestCalls
from futureagi_async.integrations.ray import export_calls, read_export

Batch = dict[str, np.ndarray[Any, Any]]

DOWNLOAD_SECONDS = 60
LARGEST_BYTES = 200 * 2**20


class Listening:
    """A model that is loaded once for each worker, and scores how much the agent let the other side speak."""

    def __call__(self, batch: Batch) -> Batch:
        """Return a score from 0 to 1 for each call, and none for calls without a word."""
        scores = [self.score(turns) for turns in batch["transcript"]]
        return {"id": batch["id"], "listening": np.array(scores, dtype=float)}

    def score(self, turns: Any) -> float:
        """Return the share of all characters that the agent did not say."""
        said = [(turn["role"], len(turn["content"])) for turn in turns] if turns is not None else []
        total = sum(length for _, length in said)
        return sum(length for role, length in said if role != "assistant") / total if total else float("nan")


def download(batch: Batch, folder: str) -> Batch:
    """Download the audio of each call; of two attempts at one file, both write the same."""
    ended = [
        download_one(id_, url, Path(folder)) for id_, url in zip(batch["id"], batch["audio_url"], strict=True)
    ]
    return {"id": batch["id"], "audio": np.array(ended, dtype=object)}


def download_one(call_id: str, url: str, folder: Path) -> str:
    """Return the file's name, or why there is none; half a file never has its name."""
    suffix = Path(url.split("?")[0]).suffix[:5]
    path = folder / f"{call_id}{suffix if suffix.removeprefix('.').isalnum() else ''}"
    if path.exists():
        return path.name
    part = folder / f"{path.name}.{ray.get_runtime_context().get_task_id()}.part"
    try:
        if not url.startswith(("https://", "http://")):
            return "no web address"
        answer = urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS)  # noqa: S310 - checked above
        with answer, part.open("wb") as file:
            while piece := answer.read(2**20):
                if file.tell() + len(piece) > LARGEST_BYTES:
                    return "too large"
                file.write(piece)
            if (length := answer.headers["Content-Length"]) and int(length) != file.tell():
                return "cut off"
        part.rename(path)
    except OSError as error:  # an answer of 404 is one, too
        return f"failed: {type(error).__name__}"
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return path.name


def main(target: str, *run_test_ids: str, requests_per_minute: int = 600) -> None:
    """Export, score, download, and print what came of it."""
    lake = Path(target).absolute()  # workers have another current directory
    audio = lake.with_name(f"{lake.name}.audio")
    audio.mkdir(parents=True, exist_ok=True)
    report = export_calls(
        [RunTestCalls(run_test_id) for run_test_id in run_test_ids],
        lake,
        requests_per_minute=requests_per_minute,
        transcripts=True,
    )
    print("calls:", report.records, "complete" if report.complete else "incomplete")
    calls: Any = read_export(report, columns=["id", "transcript", "audio_url"])
    scores = calls.map_batches(Listening, concurrency=1, batch_size=256)
    scores.write_parquet(f"{lake}.scores", mode="overwrite")
    print("listening:", round(scores.mean("listening", ignore_nulls=True) or 0.0, 3))
    voice = calls.drop_columns(["transcript"]).filter(lambda call: bool(call["audio_url"]))
    downloads = voice.map_batches(download, batch_size=16, fn_kwargs={"folder": str(audio)})
    downloads.write_parquet(f"{lake}.downloads", mode="overwrite")
    print("recordings:", len([path for path in audio.iterdir() if path.suffix != ".part"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
