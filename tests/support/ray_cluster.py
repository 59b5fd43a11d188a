"""A small Ray cluster on this machine, its processes, and exports that are drivers of their own.

``python -m tests.support.ray_cluster ADDRESS BASE_URL TARGET RUN_TEST_ID...`` is such a driver.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from futureagi_async import RunTestCalls
from futureagi_async.testing import StandInServer
from tests.support.commands import environment

SHARE, PLAN, BUDGET = "ray::futureagi share", "ray::futureagi plan", "ray::_Coordinator"
"""What the processes of tasks and of the actor are called while they work."""

RAY_SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
"""Nothing is written into whoever's home directory, and nobody is told."""

OPTIONS: dict[str, Any] = {"requests_per_minute": 6_000, "share_requests": 1, "max_outage": 0.0}


@contextmanager
def running_cluster(server_keys: tuple[str, str]) -> Iterator[str]:
    """Run a head node with two CPUs, whose workers have the keys that nobody else has; yield its address."""
    import ray

    keys = dict(zip(("FI_API_KEY", "FI_SECRET_KEY"), server_keys, strict=True))
    os.environ.update(keys, **RAY_SETTINGS)
    try:
        context = ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            logging_level="error",
        )
    finally:
        for name in keys:
            del os.environ[name]
    try:
        yield context.address_info["address"]
    finally:
        ray.shutdown()


def pids_of(title: str) -> list[int]:
    """Return the processes whose title begins so."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and (folder / "cmdline").read_text().startswith(title):
                found.append(int(folder.name))
        except (OSError, UnicodeDecodeError):  # it has just ended
            pass
    return found


def wait_until(condition: Callable[[], Any]) -> Any:
    """Wait for what other processes bring about, which take seconds to start; return what was waited for."""
    give_up_at = time.monotonic() + 90
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(0.01)
    return found


def kill_one(title: str) -> int:
    """Wait for a process of this title, and kill it as a crash does."""
    pid: int = wait_until(lambda: pids_of(title))[0]
    os.kill(pid, signal.SIGKILL)
    return pid


def start_driver(
    address: str, server: StandInServer, target: Path, run_test_ids: Sequence[str]
) -> subprocess.Popen[str]:
    """Start an export in a process of its own, which has no keys."""
    command = [sys.executable, "-m", __name__, address, server.base_url, str(target), *run_test_ids]
    return subprocess.Popen(
        command,
        env=environment() | {"PYTHONWARNINGS": "default"} | RAY_SETTINGS,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(
    address: str, server: StandInServer, folder: Path, code: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script that is connected to the cluster, whose workers find the server."""
    variables = {"env_vars": {"FI_BASE_URL": server.base_url}}
    connect = f"import ray; ray.init({address!r}, runtime_env={variables!r}, logging_level='error')\n"
    (folder / "script.py").write_text(connect + code)
    return subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=folder,
        env=environment() | {"PYTHONWARNINGS": "default"} | RAY_SETTINGS,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def main(address: str, base_url: str, target: str, *run_test_ids: str) -> None:
    """Be a driver."""
    import ray

    from futureagi_async.integrations.ray import export_calls

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests without
    ray.init(address=address, logging_level="error", log_to_driver=False)
    export_calls(map(RunTestCalls, run_test_ids), target, base_url=base_url, **OPTIONS)


if __name__ == "__main__":
    main(*sys.argv[1:])
