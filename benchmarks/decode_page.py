"""From a page's bytes to typed records: CPU and memory, beside orjson, msgspec, cattrs and pydantic.

Run ``python -m benchmarks.decode_page``. Every ratio is to orjson dicts unless it says otherwise.
"""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from benchmarks import ours, peers
from benchmarks.pages import DOCUMENTED, TEXT, VOICE, PageKind, make_page
from benchmarks.rounds import Figure, Timings, interleave, print_table, read_rounds

ROWS = 100
PAGES = 4
"""Different pages a round, so that no cache holds them all."""

RIVALS: dict[str, Callable[[bytes], Any]] = {
    "orjson dicts": peers.decode_orjson,
    "ours": ours.decode,
    "ours, transcripts touched": ours.decode_and_touch_transcripts,
    "ours, evaluations touched": ours.decode_and_touch_evaluations,
    "ours, nested parts touched": ours.decode_and_touch,
    "ours, nested parts and extras touched": ours.decode_and_touch_all,
    "msgspec structs": peers.decode_msgspec,
    "cattrs, untuned": peers.decode_cattrs,
    "pydantic": peers.decode_pydantic,
}


@attrs.define(frozen=True)
class Goals:
    """What a kind of page may cost, times orjson dicts."""

    scalars: float
    transcripts: float | None = None
    evaluations: float | None = None
    touched: float | None = None


GOALS = {
    VOICE.name: Goals(0.6, 1.2, 1.1, 1.3),
    TEXT.name: Goals(0.6, touched=1.5),
    DOCUMENTED.name: Goals(0.7),
}
AGAINST_PYDANTIC = 0.25
MEMORY = 0.7


def time_decoding(bodies: list[bytes], rounds: int) -> Timings:
    """Decode all bodies with each rival, in every round."""

    def work(decode: Callable[[bytes], Any]) -> None:
        for body in bodies:
            decode(body)

    return interleave({name: partial(work, decode) for name, decode in RIVALS.items()}, rounds=rounds)


def retained_bytes(decode: Callable[[bytes], Any], bodies: list[bytes]) -> float:
    """Return how much memory a record holds that is kept, its page's body being dropped."""
    decode(bodies[0])
    gc.collect()
    tracemalloc.start()
    kept = [decode(bytes(bytearray(body))) for body in bodies]
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / (len(kept) * ROWS)


def figures(kind: PageKind, rounds: int) -> Iterator[Figure]:
    """Measure one kind of page."""
    bodies = [make_page(kind, rows=ROWS, seed=seed) for seed in range(PAGES)]
    timings, goals = time_decoding(bodies, rounds), GOALS[kind.name]
    limits = {
        "ours": goals.scalars,
        "ours, transcripts touched": goals.transcripts,
        "ours, evaluations touched": goals.evaluations,
        "ours, nested parts touched": goals.touched,
    }
    for name in RIVALS:
        each = timings.microseconds(name, units=PAGES * ROWS)
        measure = f"{name} ({each:.0f} µs a record)"
        yield Figure(measure, timings.ratio(name, "orjson dicts"), limits.get(name))
    yield Figure("ours against pydantic", timings.ratio("ours", "pydantic"), AGAINST_PYDANTIC)
    dicts = retained_bytes(peers.decode_orjson, bodies)
    for name in RIVALS:
        limit = MEMORY if name == "ours" else None
        size = retained_bytes(RIVALS[name], bodies)
        yield Figure(f"memory, {name} ({size / 1000:.1f} kB a record)", size / dicts, limit)


def main() -> None:
    """Print a table for each kind of page."""
    rounds = read_rounds(__doc__, default=15)
    for kind in (VOICE, TEXT, DOCUMENTED):
        size = len(make_page(kind)) / ROWS / 1000
        print_table(f"page of {ROWS}, {kind.name}, {size:.1f} kB a record", figures(kind, rounds))


if __name__ == "__main__":
    main()
