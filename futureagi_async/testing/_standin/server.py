"""The public class of the stand-in server: start and stop, data, motion and faults."""

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
"""The id of a run test or a test execution, or an `(agent_id, version_id)` pair."""


_DIALECTS = {"served": SERVED, "documented": DOCUMENTED}


_REACHED_AS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - all addresses of this machine


class StandInServer:
    """A real HTTP server on loopback that behaves like the vendor's server, with data from a seed.

    It runs on its own event loop in a thread, so both sync and async tests can use it::

        with StandInServer() as server: ...
        async with StandInServer(dialect="documented") as server: ...

    It serves calls with their details and KPIs, and the lists of run tests, test executions, agents and agent
    versions. A list of calls is named by its id, or by `(agent_id, version_id)`.

    You can add data (`add_run_test`, ...), delete it (`delete_execution`), and send other values
    (`alter_call`, `alter_kpis`) at any time. Lists can change while they are read (`move`), and test
    executions can run to their end (`run_execution`). To check what a reader got, use the history of the
    lists (`alive_throughout`, `alive_sometime`).

    A fault (`fail`, `stall`, `disconnect`, `respond`) affects requests whose path and query contain
    `path_contains`; by default all requests. It skips the first `after` of them, and then affects `times`
    requests. If several faults fit a request, the oldest one is used. Faults come before routing and the
    check of keys. `poison` breaks all answers that would have a call.

    Args:
        dialect: `"served"` answers like the vendor's server, `"documented"` like its documents.
        seed: the source of everything random. Equal seeds and requests give equal bytes.
        latency_seconds: the real time that every request waits. You can change the attribute at any time.
        api_key: the required value of `X-Api-Key`.
        secret_key: the required value of `X-Secret-Key`.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        demo: whether to create the sample data.
        request_seconds: the virtual time of each request. With 0, the clock is that of the machine.
        cost: the real time of answers, by requests and rows, on a number of workers. Default: none.

    """

    canary = CANARY
    """A part of every secret and phone number in the lists of run tests and agents. Don't store it."""

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
        # If the caller is cancelled, the thread must not continue.
        await asyncio.shield(asyncio.to_thread(self._background.stop))

    @property
    def base_url(self) -> str:
        """The URL, such as `http://127.0.0.1:<port>` or `http://[::1]:<port>`, without a slash at the end."""
        if not self._background.is_running:
            raise RuntimeError("the server has no address before it runs: use it inside its `with` block")
        host = _REACHED_AS.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._background.port}"

    @property
    def run_test_ids(self) -> tuple[str, ...]:
        """The ids of the sample run tests: voice ("Checkout flow"), text ("Refund chats"), and a small one.

        The small one has every status and missing values.
        """
        return self._samples.run_test_ids

    @property
    def agent_versions(self) -> tuple[tuple[str, str], ...]:
        """The sample agent versions as `(agent_id, version_id)`: two for voice, one for text."""
        return self._samples.agent_versions

    @property
    def test_execution_ids(self) -> tuple[str, ...]:
        """The ids of the sample test executions: of the voice, the text and the small run test."""
        return self._samples.test_execution_ids

    @property
    def latency_seconds(self) -> float:
        """The real seconds that every request waits before it is answered."""
        return self._site.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._site.latency_seconds = seconds

    @property
    def requests(self) -> list[ServedRequest]:
        """The newest served requests (up to 100,000), in the order in which they ended; a copy."""
        return self._site.log.read()

    def clear_requests(self) -> None:
        """Clear `requests`, and reset `peak_in_flight`."""
        self._site.log.clear()

    @property
    def in_flight(self) -> int:
        """The number of requests in progress."""
        return self._site.log.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The largest number of concurrent requests."""
        return self._site.log.peak_in_flight

    # Data: builders, and the rows of a complete read. You can call these at any time, from any thread.

    def add_run_test(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> str:
        """Add a run test with calls of every status and its own test executions, and return its id.

        Args:
            calls: the number of calls that the list counts.
            options: these keyword arguments.
                `kind`: `"voice"` (default) or `"text"`.
                `tie_size`: the number of neighbouring calls with the same sort key. Default: 1.
                `slim`: whether rows have only few small fields, for tests with many rows. Default: `False`.
                `snapshots`: the number of additional rerun snapshots. Default: 0.
                `deleted`: the number of soft-deleted calls. They are the newest calls; the list counts them
                but never sends them. Default: 0.
                `executions`: the number of calls in each test execution, oldest first. Default: one
                execution with all calls.
                `versions`: the number of agent versions, which alternate between calls. Default: 1.
                `name`: the name, which need not be unique; `agent_name`: the name of the agent.
                `source_type`: `"agent_definition"` (default), or `"prompt"`, which has no agent.

        """
        return self._build(Plan(calls=calls, **options)).run_test.id

    def add_test_execution(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> str:
        """Add a test execution and its run test, and return the id of the execution.

        The options are those of `add_run_test`, but soft-deleted calls are not in this list. With several
        executions, it is the oldest one.
        """
        return self._build(Plan(calls=calls, **options)).executions[0].id

    def add_agent_version(self, calls: int = 3000, **options: Unpack[PlanOptions]) -> tuple[str, str]:
        """Add an agent version whose calls are all completed and evaluated, and return agent and version id.

        The options are those of `add_run_test`, but soft-deleted calls and snapshots are not in this list.
        With several versions, it is the oldest one.
        """
        if options.get("source_type") == "prompt":
            raise ValueError("source_type 'prompt' has no agent, so it has no agent version")
        version = self._build(Plan(calls=calls, mixed=False, **options)).versions[0]
        return version.agent.id, version.id

    def delete_execution(self, test_execution_id: str, *, after_seconds: float = 0.0) -> None:
        """Soft-delete a test execution and its calls, in one statement that does not change their sort keys.

        Run-test lists still count these calls at their places, but don't send them. So there are short and
        empty pages in the middle of a list. Other lists no longer have them. Requests for the execution or
        the details of its calls get 404; in the served dialect, its list of calls gets 500. Rerun snapshots
        stay.

        Args:
            test_execution_id: the id of a sample execution, of `run_test_executions`, or of an added one.
            after_seconds: the virtual seconds until the deletion. It can also happen during a request.

        Raises:
            ValueError: there is no such execution, or `after_seconds` is given without a virtual clock.

        """
        if after_seconds < 0 or (after_seconds and not self.clock.is_virtual):
            raise ValueError(
                "after_seconds needs a virtual clock (request_seconds=0.05), and must not be negative"
            )
        with self._world.lock:
            execution, now = self._execution(test_execution_id), self.clock.monotonic()
            delete = partial(self._world.delete_execution, execution)
            if after_seconds:
                self._schedule.plan(now + after_seconds, delete)
            else:
                delete(now)

    def alter_call(self, call_id: str, fields: Mapping[str, Any]) -> None:
        """Send other values under some JSON keys of a call, in every answer that has these keys.

        Use it for values of undocumented types, such as `{"overall_score": "7.5", "session_id": 12345}`. It
        changes only the values that are sent, not the place of the call, filters or KPIs. Each call of this
        method first restores earlier altered values, so `{}` undoes it.

        Raises:
            ValueError: there is no such call, no answer has one of the keys, or a value is NaN (see
                `poison`).
            TypeError: a value can't be written as JSON.

        """
        with self._world.lock:
            call = self._call(call_id)
            call.altered = self._checked(fields, call)
            call.fragments.clear()

    def alter_kpis(self, test_execution_id: str, fields: Mapping[str, Any]) -> None:
        """Send other values under some JSON keys of the KPIs of a test execution, like `alter_call`."""
        with self._world.lock:
            execution = self._execution(test_execution_id)
            execution.altered = self._checked(fields, execution)

    def run_test_executions(self, run_test_id: str) -> list[str]:
        """Return the ids of the test executions of a run test that are not deleted, oldest first."""
        with self._world.lock:
            self._catch_up()
            if run_test_id not in self._world.run_tests:
                raise ValueError(f"the server has no run test {run_test_id!r}")
            family = self._world.families[run_test_id]
            return [execution.id for execution in family.executions if not execution.deleted]

    def run_test_rows(self, run_test_id: str) -> list[str]:
        """Return the ids of calls and snapshots that the list sends now, newest first."""
        return self._rows(run_test_id)

    def version_rows(self, agent_id: str, version_id: str) -> list[str]:
        """Return the ids of calls that the list of an agent version sends now, newest first."""
        return self._rows((agent_id, version_id))

    def test_execution_rows(self, test_execution_id: str) -> list[str]:
        """Return the ids of calls that the list of a test execution sends now, newest first."""
        return self._rows(test_execution_id)

    def call_execution_ids(self) -> list[str]:
        """Return the ids of all calls whose details can be read now."""
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
        """Return a copy of the altered values, if they are JSON under existing keys."""
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

    # Motion: lists that change while they are read, and the history of their contents.

    def move(self, list_name: ListName, motion: Motion) -> None:
        """Let a list change from now on.

        Only the virtual clock drives the changes, and served requests advance it. So equal requests get equal
        data. Changes happen before and between the statements of a request. A call changes in all its lists.
        Several motions of one list add up.

        Raises:
            ValueError: the server has no virtual clock, because it was created without `request_seconds`.

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
        """Start a test execution again: all its calls are pending, and then run to their end.

        It uses the server's clock, virtual or real.

        Raises:
            ValueError: there is no such execution, or it was deleted.

        """
        with self._world.lock:
            execution = self._execution(test_execution_id)
            runner = Runner(self._world, self._schedule, self.clock, execution, run)
            runner.start(self.clock.monotonic())

    def stop_motion(self) -> None:
        """Start no more changes. Changes that wait for their commit still become visible."""
        with self._world.lock:
            self._catch_up()
            for mover in self._movers:
                mover.stop()
            self._movers.clear()

    def alive_throughout(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list sent at every time from `start` to `end`, including both.

        A complete read must have all of them. The times are values of `clock.monotonic()`, such as `started`
        and `ended` of the entries in `requests`. `status` selects calls like the parameter or filter.
        """
        with self._world.lock:
            return alive_throughout(self._past(list_name, end), start, end, status)

    def alive_sometime(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list sent at some time from `start` to `end`.

        A read must not have any other id.
        """
        with self._world.lock:
            return alive_sometime(self._past(list_name, end), start, end, status)

    def _past(self, list_name: ListName, end: float) -> Listing:
        self._catch_up()
        if end > self.clock.monotonic():
            raise ValueError("end must not be in the future of the server's clock")
        return self._find(list_name)

    def _catch_up(self) -> None:
        """Apply all changes up to the present time of the clock."""
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

        `body` is text, bytes, or a value that is sent as JSON. By default, it is the body that a proxy (502
        to 504), a rate limiter (429) or the API would send.
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
        """Wait real `seconds` (by default forever) before the answer, or after some bytes of its body."""
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
        """Close the connection before the answer, or after some bytes of its body. `reset` sends an RST."""
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
        """Answer with exactly these bytes. They are not encoded, even with a `content_encoding`."""
        more = dict(headers or {}) | ({"Content-Encoding": content_encoding} if content_encoding else {})
        answer = Answer(status, body, content_type, more)
        self._faults.add(Replace(answer), path_contains, times=times, after=after)

    def poison(self, call_id: str) -> None:
        """Answer with 500 and HTML if an answer would have this call, like the server for NaN in a number.

        This affects its details and every page with it, until `clear_faults`. Other pages and the KPIs are
        answered. The call stays in its lists, and their history counts it as sent.

        Raises:
            ValueError: there is no such call.

        """
        with self._world.lock:
            call = self._call(call_id)
            call.poisoned = True
            call.fragments.clear()

    def clear_faults(self) -> None:
        """Remove all remaining faults, and repair all poisoned calls."""
        self._faults.clear()
        with self._world.lock:
            for call in self._world.calls.values():
                call.poisoned = False
