"""Every fault of the table, and the command that prints it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.defences import DEFENCES
from tests.faults.table import FAULTS

ROOT = Path(__file__).parents[2]
EXPORTS = {35, 36, 37, 38}
"""Rows about the files of an export, which have tests of their own."""


@pytest.mark.anyio
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_does_no_harm(name: str) -> None:
    """What callers see, and how often the server was asked, is what the table says."""
    fault = FAULTS[name]
    assert await fault.play() == fault.expected


def test_every_row_is_played() -> None:
    """Rows 1 to 40, but for those about files; each fault has a defence that is taken out once."""
    assert {fault.row for fault in FAULTS.values()} == set(range(1, 41)) - EXPORTS
    assert {name for defence in DEFENCES for name in defence.faults} == set(FAULTS)


def test_the_command_sees_faults_where_a_defence_is_missing() -> None:
    """Of one row here, in a process of its own, as a missing defence may leave anything behind."""
    command = [sys.executable, "-m", "tests.faults", "--row", "11", "--row", "27"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 faults, 3 as expected, 3 seen without a defence" in done.stdout
    assert "| 11 | unknown encoding | DecodingError | 1 |" in done.stdout


def test_the_docs_hold_the_table() -> None:
    """Each fault stands there with what is seen of it."""
    page = (ROOT / "docs" / "faults.md").read_text()
    for fault in FAULTS.values():
        seen = fault.expected
        tries = "" if seen.tries is None else str(seen.tries)
        row = f"| {fault.row} | {fault.name} | {seen.outcome} | {tries} | {seen.once or ''} |"
        assert row in page
