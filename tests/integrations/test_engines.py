"""The page's scripts for Dask, Spark and Daft run as they stand, where their packages are installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from futureagi_async import verify_export
from futureagi_async.testing import StandInServer

PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"
ENGINES = ("dask.distributed", "pyspark.sql", "daft")
SCRIPTS = {
    engine: code
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for engine in ENGINES
    if re.search(rf"^(import|from) {re.escape(engine)}\b", code, re.MULTILINE)
}


def is_installed(engine: str) -> bool:
    """Whether a package is there, and what it needs besides."""
    package = engine.partition(".")[0]
    return importlib.util.find_spec(package) is not None and (package != "pyspark" or has_java())


def has_java() -> bool:
    """Whether Spark would find a Java."""
    return "JAVA_HOME" in os.environ or shutil.which("java") is not None


def test_each_engine_has_a_script() -> None:
    """The page has one for each, and no longer than a screen."""
    assert set(SCRIPTS) == set(ENGINES)
    assert max(len(code.splitlines()) for code in SCRIPTS.values()) <= 32


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_script_exports_as_it_stands(engine: str, served: StandInServer, tmp_path: Path) -> None:
    """It prints that everything was read, and leaves an export that is whole."""
    if not is_installed(engine):
        pytest.skip(f"{engine} is not installed (for Spark, Java neither): nox -s engines has it")
    script = tmp_path / "script.py"
    script.write_text(f"run_test_id = {served.run_test_ids[0]!r}\n{SCRIPTS[engine]}")
    keys = {
        "FI_API_KEY": served.api_key,
        "FI_SECRET_KEY": served.secret_key,
        "FI_BASE_URL": served.base_url,
        "PYSPARK_PYTHON": sys.executable,
    }
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | keys,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    records = len(served.run_test_rows(served.run_test_ids[0]))
    assert ran.stdout.splitlines()[-1].split() == ["True", str(records)]
    checked = verify_export(tmp_path / "calls")
    assert (checked.problems, checked.records) == ((), records)
