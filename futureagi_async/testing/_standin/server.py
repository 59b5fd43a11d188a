"""The stand-in server as its users hold it: starting and stopping, data, motion, faults."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from futureagi_async.testing._standin.background import BackgroundServer
from futureagi_async.testing._standin.clock import VirtualClock
from futureagi_async.testing._standin.data.builders import Plan, PlanOptions, Samples, build, build_samples
from futureagi_async.testing._standin.data.listing import alive_sometime, alive_throughout
from futureagi_async.testing._standin.data.records import World
from futureagi_async.testing._standin.motion import Mover, Schedule
from futureagi_async.testing._standin.runs import Run, Runner
from futureagi_async.testing._standin.web.answers import JSON, Answer
from futureagi_async.testing._standin.web.faults import (
    Disconnect,
    FaultScript,
    Replace,
    Stall,
    failure_answer,
)
from futureagi_async.testing._standin.web.site import Site
from futureagi_async.testing._standin.wire.dialect import DOCUMENTED, SERVED, DialectName, to_json
from futureagi_async.testing._standin.wire.discovery import CANARY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.records import Call, Family, TestExecution
    from futureagi_async.testing._standin.motion import Motion
    from futureagi_async.testing._standin.request_log import ServedRequest
    from futureagi_async.testing._standin.web.cost import ServerCost

ListName = str | tuple[str, str]
"""A run test's or a test execution's id, or an `(agent_id, version_id)` pair."""


_DIALECTS = {"served": SERVED, "documented": DOCUMENTED}


_REACHED_AS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - all addresses of this machine


class StandInServer:
    """A real HTTP server on loopback that behaves like the vendor's, with data that follows from a seed.

    It runs on an event loop of its own in a thread, so both kinds of tests can use it::

        with StandInServer() as server: ...
        async with StandInServer(dialect="documented") as server: ...

    It serves calls with their details and KPIs, and the lists in which ids are found: run tests, their test
    executions, agents and their versions. A list of calls is named by its id, or by `(agent_id, version_id)`.

    Data are added (`add_run_test`, ...), deleted (`delete_execution`) and sent with other values
    (`alter_call`, `alter_kpis`) at any moment; lists change by themselves while they are read (`move`), test
    executions run to their end (`run_execution`), and the lists' history (`alive_throughout`,
    `alive_sometime`) judges what a reader got.

    Faults (`fail`, `stall`, `disconnect`, `respond`) meet requests whose path and query contain
    `path_contains`; the default meets all. Each is used up by the next `times` such requests, after `after`
    of them went through. Where several are due, the one scripted first is used. They come before routing
    and keys. `poison` breaks whatever answers should hold a call.

    Args:
        dialect: `"served"`, what the vendor's server answers, or `"documented"`, what its documents promise.
        seed: everything random follows from it: equal seeds and requests give equal bytes.
        latency_seconds: real time every request waits; the attribute may be changed while running.
        api_key: what `X-Api-Key` must say.
        secret_key: what `X-Secret-Key` must say.
        host: the address to listen on.
        port: 0 takes a free one.
        demo: whether to make the sample data set.
        request_seconds: virtual seconds each request takes; with 0 the clock is the machine's.
        cost: real time that answering takes, by requests and rows, on a number of workers; by default none.

    """

    canary = CANARY
    """Part of every secret and phone number in the lists of run tests and agents: nothing to keep."""

    def __init__(
        self,
        *,
        dialect: DialectName = "served",
        seed: int = 0,
        latency_seconds: float = 0.0,
        api_key: str = "standin-api-key",
        secret_key: str = "standin-secret-key",  # noqa: S107 - opens nothing but this server
        host: str = "127.0.0.1",
        port: int = 0,
        demo: bool = True,
        request_seconds: float = 0.0,
        cost: ServerCost | None = None,
    ) -> None:
        if dialect not in _DIALECTS:
            raise ValueError(f"dialect must be 'served' or 'documented', not {dialect!r}")
        self.dialect: DialectName = dialect
        self.api_key = api_key
        self.secret_key = secret_key
        self.clock = VirtualClock(request_seconds)
        self._world = World(seed)
        self._samples = build_samples(self._world) if demo else Samples()
        self._faults = FaultScript()
        self._schedule = Schedule()
        self._movers: list[Mover] = []
        self._site = Site(
            self._world,
            _DIALECTS[dialect],
            self.clock,
            self._faults,
            keys=(api_key, secret_key),
            catch_up=self._catch_up,
            cost=cost,
        )
        self._site.latency_seconds = latency_seconds
        self._host = host
        self._background = BackgroundServer(self._site.handle, host, port)

    def __enter__(self) -> Self:
        self._background.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._background.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._background.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever cancels the caller must not leave the thread running behind its back.
        await asyncio.shield(asyncio.to_thread(self._background.stop))

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>` or `http://[::1]:<port>`, without a slash at the end."""
        if not self._background.is_running:
            raise RuntimeError("the server has no address before it runs: use it in a `with` block")
        host = _REACHED_AS.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._background.port}"

    @property
    def run_test_ids(self) -> tuple[str, ...]:
        """The sample run tests: voice ("Checkout flow"), text ("Refund chats"), and a small one.

        The small one has every status and missing values.
        """
        return self._samples.run_test_ids

    @property
    def agent_versions(self) -> tuple[tuple[str, str], ...]:
        """The sample agent versions as `(agent_id, version_id)`: two voice versions and a text version."""
        return self._samples.agent_versions

    @property
    def test_execution_ids(self) -> tuple[str, ...]:
        """The sample test executions: of the voice, the text and the small run test."""
        return self._samples.test_execution_ids

    @property
    def latency_seconds(self) -> float:
        """Real seconds every request waits before it is answered."""
        return self._site.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._site.latency_seconds = seconds

    @property
    def requests(self) -> list[ServedRequest]:
        """What was served, in the order in which it ended: a copy, up to 100,000 of the newest."""
        return self._site.log.read()

    def clear_requests(self) -> None:
        """Forget what was served, and begin `peak_in_flight` anew."""
        self._site.log.clear()

    @property
    def in_flight(self) -> int:
        """How many requests are being handled now."""
        return self._site.log.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The greatest number of requests handled at once."""
        return self._site.log.peak_in_flight

    # Data: builders, and what a perfect reader would get. They may be called at any moment, from any thread.

    def add_run_test(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> str:
        """Make a run test with calls of every status, in test executions of its own; return its id.

        Args:
            calls: how many calls take a place in the list.
            options: `kind`, whether they are `"voice"` (the default) or `"text"`; `tie_size`, how many
                neighbours share one sort key (1); `slim`, whether rows have few small fields, for tests
                that are about their number (`False`); `snapshots`, how many rerun snapshots come on top
                (0); `deleted`, how many of the calls are soft-deleted: counted, at the front, and never
                delivered (0); `executions`, how many calls each test execution has, oldest first (one has
                all); `versions`, how many versions of the agent take turns with the calls (1); `name`,
                which need not be unique, and `agent_name`; `source_type`, `"agent_definition"` (the
                default) or `"prompt"`, which has no agent.

        """
        return self._build(Plan(calls=calls, **options)).run_test.id

    def add_test_execution(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> str:
        """Make a test execution (and the run test it belongs to); return its id.

        The options are those of `add_run_test`, but soft-deleted calls are not in this list at all. Of
        several executions it is the oldest.
        """
        return self._build(Plan(calls=calls, **options)).executions[0].id

    def add_agent_version(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> tuple[str, str]:
        """Make an agent version whose calls are all completed and evaluated; return agent and version id.

        The options are those of `add_run_test`; neither soft-deleted calls nor snapshots are in this list.
        Of several versions it is the oldest.
        """
        if options.get("source_type") == "prompt":
            raise ValueError("a prompt has no agent, and so no agent version")
        version = self._build(Plan(calls=calls, mixed=False, **options)).versions[0]
        return version.agent.id, version.id

    def delete_execution(self, test_execution_id: str, *, after_seconds: float = 0.0) -> None:
        """Soft-delete a test execution and its calls, in one statement that leaves their sort keys alone.

        Run-test lists go on counting the calls, where they were, and do not deliver them: short and empty
        pages in the middle of a list. The other lists drop them, their details are not found, and neither
        is the execution: 404, but 500 for its calls in the served dialect. Rerun snapshots stay.

        Args:
            test_execution_id: a sample's, one of `run_test_executions`, or an added one.
            after_seconds: virtual seconds from now at which it happens, also within a request.

        Raises:
            ValueError: there is no such execution (any more), or time to come on a clock that is not virtual.

        """
        if after_seconds < 0 or (after_seconds and not self.clock.is_virtual):
            raise ValueError("after_seconds needs a virtual clock, and does not go back")
        with self._world.lock:
            execution, now = self._execution(test_execution_id), self.clock.monotonic()
            delete = partial(self._world.delete_execution, execution)
            if after_seconds:
                self._schedule.plan(now + after_seconds, delete)
            else:
                delete(now)

    def alter_call(self, call_id: str, fields: Mapping[str, Any]) -> None:
        """Send other values under some JSON keys of a call, in every answer with the call that has them.

        That is how values of undocumented types come: `{"overall_score": "7.5", "session_id": 12345}`. Only
        what is sent changes, not the call's place, nor what filters and KPIs make of it. Values that were
        altered before go back to what they were, so `{}` undoes it.

        Raises:
            ValueError: there is no such call, or no answer with it has one of the keys.
            TypeError: a value can't be written as JSON (and NaN is a `ValueError`: see `poison`).

        """
        with self._world.lock:
            call = self._call(call_id)
            call.altered = self._checked(fields, call)
            call.fragments.clear()

    def alter_kpis(self, test_execution_id: str, fields: Mapping[str, Any]) -> None:
        """Send other values under some JSON keys of a test execution's KPIs; otherwise as `alter_call`."""
        with self._world.lock:
            execution = self._execution(test_execution_id)
            execution.altered = self._checked(fields, execution)

    def run_test_executions(self, run_test_id: str) -> list[str]:
        """Return the ids of a run test's test executions that are not deleted now, oldest first."""
        with self._world.lock:
            self._catch_up()
            if run_test_id not in self._world.run_tests:
                raise ValueError(f"the server has no run test {run_test_id!r}")
            family = self._world.families[run_test_id]
            return [execution.id for execution in family.executions if not execution.deleted]

    def run_test_rows(self, run_test_id: str) -> list[str]:
        """Return the ids, calls and snapshots, that the list delivers now, newest first."""
        return self._rows(run_test_id)

    def version_rows(self, agent_id: str, version_id: str) -> list[str]:
        """Return the call ids that the list of an agent version delivers now, newest first."""
        return self._rows((agent_id, version_id))

    def test_execution_rows(self, test_execution_id: str) -> list[str]:
        """Return the call ids that the list of a test execution delivers now, newest first."""
        return self._rows(test_execution_id)

    def call_execution_ids(self) -> list[str]:
        """Return the ids of all calls that have a detail now."""
        with self._world.lock:
            self._catch_up()
            calls = self._world.calls.values()
            return [call.id for call in calls if call.state.exists and not call.state.deleted]

    def _rows(self, name: ListName) -> list[str]:
        with self._world.lock:
            self._catch_up()
            listing, rows = self._find(name), self._world.rows
            placed = [rows[serial] for _, serial in listing.entries(rows)]
            return [row.id for row in placed if listing.rule.delivers(row.state)]

    def _build(self, plan: Plan) -> Family:
        with self._world.lock:
            return build(self._world, plan)

    def _checked(self, fields: Mapping[str, Any], thing: Call | TestExecution) -> dict[str, Any]:
        """Return a copy of what was altered, if it is JSON under keys of the thing."""
        copied: dict[str, Any] = json.loads(to_json(dict(fields)))
        unknown = copied.keys() - _DIALECTS[self.dialect].keys_of(thing)
        if unknown:
            raise ValueError(f"no answer about {thing.id} has the keys {', '.join(sorted(unknown))}")
        return copied

    def _execution(self, test_execution_id: str) -> TestExecution:
        self._catch_up()
        execution = self._world.execution(test_execution_id)
        if execution is None:
            raise ValueError(f"the server has no test execution {test_execution_id!r}")
        return execution

    def _call(self, call_id: str) -> Call:
        call = self._world.calls.get(call_id)
        if call is None:
            raise ValueError(f"the server has no call {call_id!r}")
        return call

    def _find(self, name: ListName) -> Listing:
        try:
            return self._world.listing(name)
        except KeyError:
            raise ValueError(f"the server has no list {name!r}") from None

    # Motion: lists that change while they are read, and the history of what they held.

    def move(self, list_name: ListName, motion: Motion) -> None:
        """Set a list in motion, from now on.

        Its changes are driven by the virtual clock alone, which the requests served move on, so equal
        requests meet equal data. They happen before and between the statements of a request. A call that
        changes does so in all its lists. Several motions of one list add up.

        Raises:
            ValueError: the server was made without `request_seconds`, so that its clock is not virtual.

        """
        if not self.clock.is_virtual:
            raise ValueError("move() needs a virtual clock: StandInServer(request_seconds=0.05)")
        with self._world.lock:
            self._catch_up()
            listing = self._find(list_name)
            listing.gap_share = motion.gap_share
            mover = Mover(self._world, self._schedule, self.clock, listing, motion)
            mover.start(self.clock.monotonic())
            self._movers.append(mover)

    def run_execution(self, test_execution_id: str, run: Run = Run()) -> None:  # noqa: B008 - frozen
        """Let a test execution run from its beginning, from now on: all its calls are pending again.

        It goes on with the server's clock, which is the machine's or virtual.

        Raises:
            ValueError: there is no such execution (any more).

        """
        with self._world.lock:
            execution = self._execution(test_execution_id)
            runner = Runner(self._world, self._schedule, self.clock, execution, run)
            runner.start(self.clock.monotonic())

    def stop_motion(self) -> None:
        """Let no further change begin; those that wait for their commit still become visible."""
        with self._world.lock:
            self._catch_up()
            for mover in self._movers:
                mover.stop()
            self._movers.clear()

    def alive_throughout(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list delivered at every moment from `start` to `end`, both included.

        The moments are readings of `clock.monotonic()`, such as `started` and `ended` of the entries of
        `requests`. `status` narrows the list as the parameter or filter of that name does.
        """
        with self._world.lock:
            return alive_throughout(self._past(list_name, end), start, end, status)

    def alive_sometime(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list delivered at some moment from `start` to `end`.

        A reader must not have any other.
        """
        with self._world.lock:
            return alive_sometime(self._past(list_name, end), start, end, status)

    def _past(self, list_name: ListName, end: float) -> Listing:
        self._catch_up()
        if end > self.clock.monotonic():
            raise ValueError("that moment has not come yet")
        return self._find(list_name)

    def _catch_up(self) -> None:
        """Let the data become what it is at the clock's time."""
        self._schedule.run_until(self.clock.monotonic())

    # Faults

    def fail(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        after: int = 0,
    ) -> None:
        """Answer with an error status.

        `body`: text or bytes as they are, or a value sent as JSON; by default what a proxy (502 to 504),
        a limiter (429) or the API itself would say.
        """
        answer = failure_answer(self.dialect, status, headers, body)
        self._faults.add(Replace(answer), path_contains, times=times, after=after)

    def stall(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        seconds: float | None = None,
        after_bytes: int | None = None,
        after: int = 0,
    ) -> None:
        """Wait real `seconds` (for ever by default) before the answer, or after some bytes of its body."""
        self._faults.add(Stall(seconds, after_bytes), path_contains, times=times, after=after)

    def disconnect(
        self,
        path_contains: str = "",
        *,
        times: int = 1,
        after_bytes: int | None = None,
        reset: bool = False,
        after: int = 0,
    ) -> None:
        """Close the connection without an answer, or after some bytes of its body; `reset` sends an RST."""
        self._faults.add(Disconnect(after_bytes, reset), path_contains, times=times, after=after)

    def respond(
        self,
        path_contains: str = "",
        *,
        body: bytes,
        content_type: str = JSON,
        content_encoding: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Answer with exactly these bytes; they are not encoded, whatever `content_encoding` claims."""
        more = dict(headers or {}) | ({"Content-Encoding": content_encoding} if content_encoding else {})
        answer = Answer(status, body, content_type, more)
        self._faults.add(Replace(answer), path_contains, times=times, after=after)

    def poison(self, call_id: str) -> None:
        """Answer 500 in HTML whenever an answer should hold this call, as for NaN in a float column.

        So do its detail and every page of a list that it is on, until `clear_faults`; other pages, and the
        KPIs, are answered. A poisoned call stays on its lists, and counts as delivered in their history.

        Raises:
            ValueError: there is no such call.

        """
        with self._world.lock:
            call = self._call(call_id)
            call.poisoned = True
            call.fragments.clear()

    def clear_faults(self) -> None:
        """Forget every fault that was not used up, and heal every poisoned call."""
        self._faults.clear()
        with self._world.lock:
            for call in self._world.calls.values():
                call.poisoned = False
