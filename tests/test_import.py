"""What ``import futureagi_async`` costs: no optional library, no socket, little time."""

import json
import subprocess
import sys

import pytest

RUNS = 3
HEAVY = ("pyarrow", "rich", "cyclopts", "fastapi", "opentelemetry", "pytest", "hypothesis", "aiohttp.web")
REPORT = """
import json, sys
events = []
sys.addaudithook(lambda event, args: events.append(event))
from futureagi_async import Session, export_calls
noisy = [event for event in events if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork"))]
json.dump({"modules": list(sys.modules), "noisy": noisy}, sys.stdout)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python afresh, with warnings as errors."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=50)


def test_import_is_light_and_quiet() -> None:
    """The import loads no optional library, opens no socket, starts no process, and prints nothing."""
    finished = run("-c", REPORT)
    report = json.loads(finished.stdout)
    loaded = [
        name for name in report["modules"] if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)
    ]
    assert not loaded
    assert not report["noisy"]
    assert "futureagi_async.session" in report["modules"]
    assert not finished.stderr


def seconds_to_run(statement: str) -> float:
    """Measure one import's CPU in a fresh interpreter, with all it pulls in."""
    program = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    return float(run("-c", program).stdout)


@pytest.mark.timeout(120)
def test_import_takes_at_most_twice_as_long_as_aiohttp() -> None:
    """The quickest of some imports takes at most twice that of aiohttp, which it needs: against accidents."""
    theirs, ours = [], []
    for _ in range(RUNS):
        theirs.append(seconds_to_run("import aiohttp"))
        ours.append(seconds_to_run("from futureagi_async import Session"))
    assert min(ours) <= 2 * min(theirs), (ours, theirs)
