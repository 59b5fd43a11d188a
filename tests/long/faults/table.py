"""The table of faults by outcome, and which of them were seen once a defence was taken out."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import anyio

from tests.long.faults.answer_rows import ANSWER_ROWS
from tests.long.faults.defences import DEFENCES, Defence
from tests.long.faults.life_rows import LIFE_ROWS
from tests.long.faults.scenes import Fault, PageResult
from tests.long.faults.wire_rows import WIRE_ROWS

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in [*WIRE_ROWS, *ANSWER_ROWS, *LIFE_ROWS]}
WITHOUT_SECONDS = 1.0
"""How long a fault may take where a defence is missing: hanging is one way to be seen."""


async def is_seen_without(defence: Defence, fault: Fault) -> bool:
    """Whether a fault does harm once a defence is taken out: another outcome, a foreign error, or a hang."""
    with defence.taken_out():
        try:
            with anyio.fail_after(WITHOUT_SECONDS):
                return await fault.scene() != fault.expected
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return True  # whatever escapes is the harm


def lines(
    faults: Sequence[Fault], seen: Mapping[str, PageResult], harmful: Mapping[str, list[str]]
) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| row | fault | outcome | tries | where it happens once | seen to fail without |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for fault in faults:
        got = seen[fault.name]
        outcome = got.outcome if got == fault.expected else f"**{got} instead of {fault.expected}**"
        tries = "" if got.tries is None else str(got.tries)
        without = "; ".join(harmful.get(fault.name, ["**nothing**"]))
        yield f"| {fault.row} | {fault.name} | {outcome} | {tries} | {got.once or ''} | {without} |"


def pairs(faults: Sequence[Fault]) -> list[tuple[Defence, Fault]]:
    """Return each defence with each of these faults that it stands against."""
    names = {fault.name: fault for fault in faults}
    return [(defence, names[name]) for defence in DEFENCES for name in defence.faults if name in names]
