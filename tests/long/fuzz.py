"""Bad input of every kind: whatever a server sends, only documented errors leave, and soon.

``python -m tests.long fuzz`` tries malformed JSON in every place, every prefix and suffix of real pages,
20,000 mutations of their bytes, 500 of the shape of each answer, and malformed HTTP. ``--share 0.05``
tries less. Everything follows from ``--seed``.
"""

import argparse
import asyncio
import json
import pickle
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any
from urllib.request import Request, urlopen

import attrs

from futureagi_async import (
    AgentVersionCalls,
    CallExecution,
    DecodingError,
    FutureAGIError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    Timeouts,
)
from futureagi_async.testing import StandInServer
from tests.long.faults.inputs import HTTP, KINDS, PLACES
from tests.support.sessions import UNKNOWN_ID, FakeClock, RawServer, answer, open_session, send

SECONDS_EACH = 1.0
MOST_MEMORY_GROWTH = 128 * 2**20
LIMIT = 2**20

Reading = Callable[[Session], Awaitable[object]]


async def read_page_of(session: Session, source: Any) -> object:
    """Read a page, with every part of every record."""
    page = await session.get_page(source)
    for call in page.calls:
        read_parts(call)
    for failure in page.failures:
        raise failure.error
    return page


def read_parts(call: CallExecution) -> None:
    """Read every part of a call, those too that are decoded when they are read."""
    for field in attrs.fields(CallExecution):
        part = getattr(call, field.name)
        for turn in part or () if field.name == "transcript" else ():
            assert turn.content is None or isinstance(turn.content, str)
            _ = turn.extra
        for snapshot in part or () if field.name == "rerun_snapshots" else ():
            read_parts(snapshot)


async def read_detail(session: Session) -> object:
    """Read a call, with every part."""
    call = await session.get_call_execution(UNKNOWN_ID)
    read_parts(call)
    return call


async def read_hastily(session: Session) -> object:
    """Read KPIs, but wait no longer than a moment for an answer that may never be whole."""
    return await session.with_options(timeouts=Timeouts(read=0.05)).get_kpis(UNKNOWN_ID)


READINGS: Mapping[str, Reading] = {
    "call": read_detail,
    "kpis": lambda session: session.get_kpis(UNKNOWN_ID),
    "run test": lambda session: read_page_of(session, RunTestCalls(UNKNOWN_ID)),
    "version": lambda session: read_page_of(session, AgentVersionCalls(UNKNOWN_ID, UNKNOWN_ID)),
    "test execution": lambda session: read_page_of(session, TestExecutionCalls(UNKNOWN_ID)),
    "groups": lambda session: session.get_groups(UNKNOWN_ID, row_groups=["scenario_a_dataset_b"]),
}


def check_error(error: FutureAGIError) -> None:
    """Assert that an error can be shown, stored and sent on."""
    str(error).encode()
    repr(error).encode()
    assert len(error.body or "") <= 2_000
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


class Fuzzer:
    """Feeds answers to a session, and counts what becomes of them."""

    def __init__(self, server: RawServer, session: Session) -> None:
        self._server = server
        self._session = session
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0

    async def feed(self, body: bytes, reading: Reading) -> str:
        """Answer with a body; return the class of the error, or "value"."""
        self._server.play_on(answer(body))
        return await self.outcome(reading)

    async def outcome(self, reading: Reading) -> str:
        """Read; any error but ours, and any that takes long, is raised."""
        began = time.perf_counter()
        try:
            await reading(self._session)
            kind = "value"
        except FutureAGIError as error:
            check_error(error)
            kind = type(error).__name__
        seconds = time.perf_counter() - began
        self.slowest = max(self.slowest, seconds)
        assert seconds < SECONDS_EACH, f"{kind} after {seconds:.1f} s"
        self.outcomes[kind] += 1
        return kind


async def feed_malformed_json(fuzzer: Fuzzer) -> None:
    """Malformed JSON of every kind in every place is refused, whoever reads it."""
    for place, around in PLACES.items():
        is_page = b"count" in around
        names = ("run test", "version", "test execution") if is_page else ("kpis", "call")
        for kind, cases in KINDS.items():
            for number, case in enumerate(cases):
                if place == "a record" and not case.strip():
                    continue  # a list may be empty
                if place == "an unknown key of the envelope" and (kind == "encodings" or b"e999" in case):
                    continue  # what nobody reads need be neither text nor small
                name = names[number % len(names)]
                got = await fuzzer.feed(around.replace(b"%s", case), READINGS[name])
                if b"e999" in case and place != "the body":
                    assert got in ("value", DecodingError.__name__)  # beyond floats: a misfit where it may be
                    continue
                assert got == DecodingError.__name__, (place, kind, case[:50], name, got)


async def feed_malformed_http(fuzzer: Fuzzer, server: RawServer) -> None:
    """What is not HTTP, or cut, is one of our errors, and the next request is answered."""
    for name, data in HTTP.items():
        server.play_on(send(data))
        got = await fuzzer.outcome(read_hastily)
        assert got != "value", name
    assert await fuzzer.feed(b'{"total_calls": 1}', READINGS["kpis"]) == "value"


async def feed_cuts(fuzzer: Fuzzer, body: bytes, reading: Reading, share: float) -> None:
    """No part of an answer is taken for the whole."""
    step = max(1, round(1 / share))
    for place in range(step // 2, len(body), step):
        for part in (body[:place], body[place:]):
            if part.strip() and part != body:
                got = await fuzzer.feed(part, reading)
                assert got == DecodingError.__name__, (place, got)


def mutate_bytes(body: bytes, chance: random.Random) -> bytes:
    """Replace, insert, remove, swap or repeat some bytes."""
    mutated = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(mutated)), chance.randint(0, 3)
        put = bytes(chance.choices(b'{}[],:"\\0129.eE+-ntf \x00\xff\xc3u', k=chance.randint(0, 3)))
        mutated[place : place + length] = put or mutated[place : place + chance.randint(0, 40)] * 2
    return bytes(mutated)


STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**64, -(2**70), 0.5, -1e300, "", "x", "5", "null", "ü" * 300, "\x00",
    [], [None], [[]], {}, {"a": None}, {"id": 5}, [{}], "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z",
)  # fmt: skip


def mutate_shape(value: Any, chance: random.Random) -> Any:
    """Replace, remove, rename or add one value anywhere inside an answer."""
    whole = {"": deepcopy(value)}
    place: Any = whole
    key: Any = ""
    while isinstance(place[key], dict | list) and place[key] and chance.random() < 0.85:
        place = place[key]
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
    roll = chance.random()
    if roll < 0.6 or place is whole:
        place[key] = chance.choice(STRANGE)
    elif roll < 0.75:
        del place[key]
    elif isinstance(place, dict):
        place[chance.choice(["id", "status", "x", "", "count", "ünknown"])] = place.pop(key)
    else:
        place.insert(key, deepcopy(place[key]))
    return whole[""]


def samples(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield real answers of every kind, in both dialects."""
    for dialect in ("served", "documented"):
        with StandInServer(dialect=dialect, seed=seed) as server:
            execution, (agent, version) = server.test_execution_ids[0], server.agent_versions[0]
            paths = {
                "call": f"call-executions/{server.call_execution_ids()[0]}/",
                "kpis": f"test-executions/{execution}/kpis/",
                "run test": f"run-tests/{server.run_test_ids[0]}/call-executions/?page=1&limit=2",
                "version": f"agent-definitions/{agent}/versions/{version}/call-executions/?page=1&limit=2",
                "test execution": f"test-executions/{execution}/?page=1&limit=2",
            }
            keys = {"X-Api-Key": server.api_key, "X-Secret-Key": server.secret_key}
            for name, path in paths.items():
                with urlopen(
                    Request(f"{server.base_url}/simulate/{path}", headers=keys), timeout=10
                ) as reply:
                    yield name, reply.read()


async def fuzz(share: float, seed: int) -> Fuzzer:
    """Feed a share of everything."""
    chance, made = random.Random(seed), list(samples(seed))
    options: dict[str, Any] = {"clock": FakeClock(), "max_in_flight": 1, "max_response_bytes": LIMIT}
    async with RawServer(answer()) as server, open_session(server, **options) as session:
        fuzzer = Fuzzer(server, session)
        for name, body in made:
            assert await fuzzer.feed(body, READINGS[name]) == "value", name
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await feed_malformed_json(fuzzer)
        await feed_malformed_http(fuzzer, server)
        for name, body in made:
            if name in ("run test", "kpis"):
                await feed_cuts(fuzzer, body, READINGS[name], share)
        for _ in range(round(20_000 * share)):
            name, body = chance.choice(made)
            await fuzzer.feed(mutate_bytes(body, chance), READINGS[name])
        for name, body in made:
            value = json.loads(body)
            for _ in range(round(500 * share)):
                await fuzzer.feed(json.dumps(mutate_shape(value, chance)).encode(), READINGS[name])
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert grown < MOST_MEMORY_GROWTH, f"memory grew by {grown:,} bytes"
    return fuzzer


def main() -> int:
    """Fuzz, and say what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.long fuzz", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="how much of everything to try")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.perf_counter()
    done = asyncio.run(fuzz(given.share, given.seed))
    print(f"{sum(done.outcomes.values()):,} answers in {time.perf_counter() - began:.0f} s: ", end="")  # noqa: T201
    print(", ".join(f"{count:,} {kind}" for kind, count in done.outcomes.most_common()))  # noqa: T201
    print(f"the slowest took {done.slowest:.2f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
