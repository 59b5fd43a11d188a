"""Plays every fault, takes every defence out once, and prints the table; exit 1 where a fault did harm."""

import argparse
import asyncio
import logging
import sys
import threading
import warnings
from collections.abc import Sequence

from tests.long.faults.scenes import Fault, PageResult
from tests.long.faults.table import FAULTS, is_seen_without, lines, pairs


async def _play_all(faults: Sequence[Fault]) -> dict[str, PageResult]:
    return {fault.name: await fault.play() for fault in faults}


async def _find_harm(faults: Sequence[Fault]) -> dict[str, list[str]]:
    harmful: dict[str, list[str]] = {}
    for defence, fault in pairs(faults):
        if await is_seen_without(defence, fault):
            harmful.setdefault(fault.name, []).append(defence.name)
        else:
            print(f"not seen: {fault.name!r} without {defence.name!r}", file=sys.stderr)  # noqa: T201
    return harmful


def _hush() -> None:
    """Keep quiet about what a missing defence leaves behind."""
    warnings.simplefilter("ignore")
    threading.excepthook = lambda _: None
    logging.getLogger("asyncio").disabled = True


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.long faults", description=__doc__)
    parser.add_argument(
        "--row", type=int, action="append", help="only this row of the table; may be repeated"
    )
    rows = parser.parse_args().row
    faults = [fault for fault in FAULTS.values() if rows is None or fault.row in rows]
    seen = asyncio.run(_play_all(faults))
    _hush()
    harmful = asyncio.run(_find_harm(faults))
    print("\n".join(lines(faults, seen, harmful)))  # noqa: T201
    good = sum(seen[fault.name] == fault.expected for fault in faults)
    print(f"\n{len(faults)} faults, {good} as expected, {len(harmful)} seen without a defence")  # noqa: T201
    return 0 if good == len(harmful) == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
