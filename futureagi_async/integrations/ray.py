"""Ray: export with the machines of a cluster, as tasks that share one request budget; read the result back.

::

    from futureagi_async.integrations.ray import export_calls, read_export

    report = export_calls(sources, "s3://lake/calls/2026-11-28/", requests_per_minute=600, fetchers=4)
    dataset = read_export(report)

Keys come from the environment in which Ray was started on each node. They are never pickled and never put
into a ``runtime_env``; the machine that calls this needs no keys. Each task reads one share of the lists and
writes it to the staging directory (`futureagi_async.export_share`). Rows do not pass through Ray's object
store.
"""

import logging
import os
import platform
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import anyio
import attrs
from anyio.from_thread import start_blocking_portal

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs Ray (the extra [ray]): pip install 'ray[data]>=2.40'", name="ray"
    ) from error

from futureagi_async import (
    APIStatusError,
    AuthenticationError,
    BudgetError,
    CallSource,
    ExportError,
    ExportProgress,
    ExportReport,
    Lease,
    MinuteBudget,
    PermissionDeniedError,
    RetryPolicy,
    Session,
    SessionMisuseError,
    Share,
    ShareReceipt,
    Timeouts,
    TLSError,
    commit_shares,
    export_share,
    plan_shares,
)
from futureagi_async import read_export as read_tables
from futureagi_async.events import Event, Observer, VerdictReached
from futureagi_async.export import OnProgress, check_commit
from futureagi_async.options import check_count, check_kind

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["export_calls", "read_export"]

_log = logging.getLogger("futureagi_async")

_KEYS: Final = ("FI_API_KEY", "FI_SECRET_KEY")
_TICK_SECONDS: Final = 1.0
_CANCEL_SECONDS: Final = 15.0
"""Seconds that a cancelled task has to close its connections before its worker is killed."""
_MOST_UPDATES: Final = 10_000

_STOPS: Final = (
    AuthenticationError,
    BudgetError,
    PermissionDeniedError,
    SessionMisuseError,
    TLSError,
    TypeError,
    ValueError,
)
"""Errors that all other shares would get too: the export stops at once."""

T = TypeVar("T")


def export_calls(
    sources: Iterable[CallSource] | CallSource,
    target: str | os.PathLike[str],
    *,
    requests_per_minute: int,
    fetchers: int = 2,
    attempts: int = 3,
    share_requests: int = 500,
    counts: Mapping[CallSource, int] | None = None,
    staging: str | os.PathLike[str] | None = None,
    task_options: Mapping[str, Any] | None = None,
    format: str = "parquet",  # noqa: A002 - the word users look for
    transcripts: bool = False,
    resume: bool = True,
    overwrite: bool = False,
    ordered: bool = False,
    normalised: bool = False,
    columns: Iterable[str] | None = None,
    drop: Iterable[str] = (),
    redact: bool = False,
    partition: Literal["source", "date"] | None = None,
    part_rows: int = 50_000,
    page_size: int = 100,
    include_provider_data: bool = False,
    since: str | os.PathLike[str] | None = None,
    max_outage: float = 900.0,
    work_dir: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    max_in_flight: int = 16,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
    max_response_bytes: int | None = None,
    trust_env: bool = False,
    allow_insecure: bool = False,
    strict: bool = False,
    on_progress: OnProgress | None = None,
    observers: Sequence[Observer] = (),
) -> ExportReport:
    """Export as `futureagi_async.export_calls` does, by tasks of a Ray cluster, and return the same report.

    The sources are divided into shares. One task reads each share, and writes it to the staging directory.
    When all shares are there, this process checks them and publishes them in the target, the manifest last.

    After an interruption (Ctrl-C, a lost machine, a killed process), the same call reads only the unfinished
    shares. A task that fails, or whose worker or machine is lost, is retried up to ``attempts`` times. If a
    share still fails, the other shares are not affected; the report has its error, and says that its sources
    are incomplete.

    The function calls ``ray.init()`` if that was not done before. It blocks. Ctrl-C, or cancelling the Ray
    task that runs it, cancels the tasks and waits until they end.

    Raises what `futureagi_async.export_calls` raises, and `ValueError` if a worker has no keys.

    Args:
        sources: The lists to read, without duplicates.
        target: A directory that this process can write, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``.
        requests_per_minute: Maximum number of requests of all tasks in any minute, retries included. An
            actor counts them.
        fetchers: Maximum number of concurrent tasks.
        attempts: Maximum number of attempts per share, lost workers included.
        share_requests: Approximate number of requests per share; see `futureagi_async.plan_shares`.
        counts: The lengths of lists, if you know them. Planning then needs no request for these lists.
        staging: The staging directory, which all workers and this process must see. Default: next to the
            target, with the name of the target and ``.shares``. It is kept, so that the same call reads
            nothing again.
        task_options: Ray's options for the tasks: ``num_cpus`` (1), ``resources``, ``scheduling_strategy``...
        format: ``"parquet"`` or ``"jsonl"``.
        transcripts: As for `futureagi_async.export_calls`; also the following ones.
        resume: Keep a finished export in the target.
        overwrite: Also replace files that no export wrote.
        ordered: Needed if unchanged lists must give the same bytes.
        normalised: Write JSON Lines with documented names and units.
        columns: The columns to write.
        drop: Columns to leave out.
        redact: Replace phone numbers and customers' names. The workers need the key ``FI_REDACT_KEY``.
        partition: ``"source"`` or ``"date"``, for folders.
        part_rows: Records per part.
        page_size: Approximate number of rows per request.
        include_provider_data: Keep data that may contain other parties' keys.
        since: An earlier export that the workers can read. Only changes since then are exported.
        max_outage: How many seconds a task waits for a server that stopped answering.
        work_dir: For a target in a bucket: a local directory for unfinished files.
        base_url: URL of the API. Default: ``FI_BASE_URL`` of the workers.
        max_in_flight: Maximum number of concurrent requests per task.
        timeouts: Limits of the tasks' sessions; also the following ones.
        retry: How often failed requests are sent again, and after which pauses.
        max_response_bytes: Maximum size of a decompressed response.
        trust_env: Use the proxy of the workers' environment.
        allow_insecure: Allow ``http://`` to other machines.
        strict: Raise for values of undocumented types.
        on_progress: Called in this process about once per second, with the progress of all tasks.
        observers: Called in this process with each event of all tasks, about a second later.

    """
    budget = MinuteBudget(requests_per_minute, shared=True)
    check_count("fetchers", fetchers)
    check_count("attempts", attempts)
    check_count("share_requests", share_requests)
    staging = _absolute(staging) if staging is not None else _beside(target)
    check_commit(staging, target, format=format)
    options = {
        "base_url": base_url,
        "max_in_flight": max_in_flight,
        "timeouts": timeouts,
        "retry": retry,
        "max_response_bytes": max_response_bytes,
        "trust_env": trust_env,
        "allow_insecure": allow_insecure,
        "strict": strict,
    }
    job = _Job(
        staging=staging,
        session={name: value for name, value in options.items() if value is not None},
        max_outage=max_outage,
        reports_progress=on_progress is not None,
        reports_events=bool(observers),
    )
    planning = partial(
        plan_shares,
        sources=sources if isinstance(sources, CallSource) else list(sources),
        requests=share_requests,
        staging=staging,
        counts=counts,
        format=format,
        transcripts=transcripts,
        ordered=ordered,
        normalised=normalised,
        columns=_listed(columns),
        drop=_listed(drop),
        redact=redact,
        partition=partition,
        part_rows=part_rows,
        page_size=page_size,
        include_provider_data=include_provider_data,
        since=_absolute(since) if since is not None else None,
    )
    if not ray.is_initialized():
        ray.init()
    with _coordinator(budget.requests_per_minute) as coordinator:
        cluster = _Cluster(job, coordinator, fetchers, attempts, dict(task_options or {}))
        relay = _Relay(coordinator, on_progress, observers) if on_progress or observers else None
        shares = cluster.plan(planning)
        receipts = cluster.export(shares, relay)
    commit = partial(
        commit_shares, receipts, staging, target, resume=resume, overwrite=overwrite, work_dir=work_dir
    )
    with start_blocking_portal() as portal:  # a loop of its own, as a notebook's runs already
        return portal.call(partial(commit, on_progress=on_progress))


def read_export(report: ExportReport, *, evaluations: bool = False, **options: Any) -> "Dataset":
    """Return the calls of an export as a Ray dataset, which reads the Parquet files from their location.

    Raises `ValueError` for an export in another format.

    Args:
        report: The report of `export_calls`, from this module or from the package.
        evaluations: Return the table of evaluations instead.
        options: Options of ``ray.data.read_parquet``: ``columns``, ``filesystem``, ...

    """
    check_kind("report", report, ExportReport)
    if report.format != "parquet":
        raise ValueError(f"report must be of an export with format='parquet', not {report.format!r}.")
    import ray.data

    root = _absolute(report.path).rstrip("/") + "/"
    files = {path: path.removeprefix(root) for path in map(_absolute, report.files)}
    wanted = [path for path, name in files.items() if name.startswith("_evaluations/") == evaluations]
    if not wanted:
        tables = read_tables(report.path)
        return ray.data.from_arrow(tables.evaluations if evaluations else tables.calls)
    return ray.data.read_parquet(wanted, **{"partitioning": None, **options})


def _absolute(place: str | os.PathLike[str]) -> str:
    """Return an absolute path: a worker has another current directory."""
    text = os.fspath(place)
    return text if "://" in text else str(Path(text).absolute())


def _beside(target: str | os.PathLike[str]) -> str:
    """Return the default staging directory of a target."""
    text = _absolute(target).rstrip("/")
    _, is_address, key = text.partition("://")
    if is_address and "/" not in key:
        raise ValueError("Pass staging: it has no default if the target is a whole bucket.")
    return f"{text}.shares/"


def _listed(names: Iterable[str] | None) -> Any:
    """Return names that can be pickled. Other types are refused by the functions that use them."""
    return list(names) if isinstance(names, Iterator) else names


@attrs.define(frozen=True, kw_only=True)
class _Job:
    """The options of all tasks. Contains no keys."""

    staging: str
    session: Mapping[str, Any]
    max_outage: float
    reports_progress: bool
    reports_events: bool


@attrs.define(frozen=True)
class _Failure:
    """The error of a task."""

    error: Exception


@attrs.define(frozen=True)
class _Update:
    """What a task did since its last message."""

    share: str
    progress: ExportProgress | None
    events: tuple[Event, ...]


class _Coordinator:
    """The actor of an export: the request budget of all tasks, and their messages for the driver.

    If the actor is lost, Ray starts a new one. The new budget starts empty, and some messages are lost.
    """

    def __init__(self, requests_per_minute: int) -> None:
        self._budget = MinuteBudget(requests_per_minute, shared=True)
        self._updates: deque[_Update] = deque(maxlen=_MOST_UPDATES)

    async def lease(self, most: int) -> Lease:
        """See `RequestBudget`."""
        return await self._budget.lease(most)

    async def give_back(self, unused: int) -> None:
        """See `RequestBudget`."""
        await self._budget.give_back(unused)

    async def pause(self, seconds: float) -> None:
        """See `RequestBudget`."""
        await self._budget.pause(seconds)

    async def add_update(self, update: _Update) -> None:
        """Keep a message for the driver."""
        self._updates.append(update)

    async def take_updates(self) -> list[_Update]:
        """Return the messages since the last call."""
        updates = list(self._updates)
        self._updates.clear()
        return updates


@contextmanager
def _coordinator(requests_per_minute: int) -> Iterator[Any]:
    kind: Any = ray.remote(_Coordinator)
    actor = kind.options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote(requests_per_minute)
    try:
        yield actor
    finally:
        ray.kill(actor)


class _ActorBudget:
    """The budget of a task's session. If the actor is lost, Ray repeats the call with the new actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def lease(self, most: int) -> Lease:
        with _budget_errors():
            lease: Lease = await self._actor.lease.remote(most)
        return lease

    async def give_back(self, unused: int) -> None:
        with _budget_errors():
            await self._actor.give_back.remote(unused)

    async def pause(self, seconds: float) -> None:
        with _budget_errors():
            await self._actor.pause.remote(seconds)


@contextmanager
def _budget_errors() -> Iterator[None]:
    try:
        yield
    except RayError as error:  # its text is a page long
        raise BudgetError(f"The actor that holds the budget is lost ({type(error).__name__}).") from None


def _plan_task(plan: Callable[..., Any], job: _Job, coordinator: Any) -> object:
    """Plan in a worker, which has the keys."""
    return _read(lambda session, _: plan(session), job, coordinator, "")


def _export_task(share: Share, job: _Job, coordinator: Any) -> object:
    """Export a share in a worker."""

    async def read(session: Session, on_progress: OnProgress | None) -> ShareReceipt:
        return await export_share(
            session, share, job.staging, max_outage=job.max_outage, on_progress=on_progress
        )

    return _read(read, job, coordinator, share.id)


def _read(read: Callable[..., Any], job: _Job, coordinator: Any, share: str) -> object:
    """Return the result of ``read``, or its error. A cancelled task ends with KeyboardInterrupt."""
    reporter = _Reporter(coordinator, share)

    async def main() -> object:
        result: object = None
        async with (
            anyio.create_task_group() as tasks,
            Session(
                budget=_ActorBudget(coordinator),
                observers=(reporter.observe,) if job.reports_events else (),
                **job.session,
            ) as session,
        ):
            tasks.start_soon(reporter.run)
            result = await read(session, reporter.note if job.reports_progress else None)
            tasks.cancel_scope.cancel()
        return result

    try:
        _check_keys()
        return anyio.run(main)
    except Exception as error:  # noqa: BLE001 - the driver gets it, and decides
        return _Failure(_unwrapped(error))


def _unwrapped(error: Exception) -> Exception:
    return _unwrapped(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _check_keys() -> None:
    if missing := [name for name in _KEYS if not os.environ.get(name)]:
        raise ValueError(
            f"{' and '.join(missing)} not set in the environment of a Ray worker on {platform.node()}. Keys "
            "are never sent to workers: set both where Ray is started, on each node before 'ray start', or "
            "here before ray.init()."
        )


class _Reporter:
    """Sends the driver, once per second, what a task has done."""

    def __init__(self, coordinator: Any, share: str) -> None:
        self._coordinator = coordinator
        self._share = share
        self._progress: ExportProgress | None = None
        self._events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep an event. Verdicts are reported by receipts, because a failed share may be read again."""
        if not isinstance(event, VerdictReached):
            self._events.append(event)

    def note(self, progress: ExportProgress) -> None:
        """Keep the progress of the share."""
        self._progress = progress

    async def run(self) -> None:
        """Send messages until cancelled. A loop that wakes so often also notices a cancellation by Ray."""
        try:
            while True:
                await anyio.sleep(_TICK_SECONDS)
                self._tell()
        finally:
            self._tell()

    def _tell(self) -> None:
        if self._progress is None and not self._events:
            return
        update = _Update(self._share, self._progress, tuple(self._events))
        self._progress, self._events = None, []
        with suppress(RayError):
            self._coordinator.add_update.remote(update)


class _Relay:
    """Adds up the messages of all tasks for the callbacks of the driver."""

    def __init__(
        self, coordinator: Any, on_progress: OnProgress | None, observers: Sequence[Observer]
    ) -> None:
        self._coordinator = coordinator
        self._on_progress = on_progress
        self._observers = observers
        self._asked: Any = None
        self._running: dict[str, dict[str, ExportProgress]] = {}
        self._finished: set[str] = set()
        self._done = {
            "reading": ExportProgress(phase="reading", records=0, bytes=0),
            "transcripts": ExportProgress(phase="transcripts", records=0, bytes=0, total=0),
        }

    def poll(self, seconds: float = 0.0) -> None:
        """Pass on new messages, if they have arrived."""
        if self._asked is None:
            self._asked = self._coordinator.take_updates.remote()
        if ray.wait([self._asked], timeout=seconds)[0]:
            asked, self._asked = self._asked, None
            with suppress(RayError):
                self._pass_on(ray.get(asked))

    def forget(self, share: Share) -> None:
        """Discard the progress of a failed attempt."""
        self._running.pop(share.id, None)

    def finish(self, share: Share, receipt: ShareReceipt) -> None:
        """Report a finished share."""
        self.poll(_TICK_SECONDS)  # the request that was sent before the last update
        self.poll(_TICK_SECONDS)
        phases = self._running.pop(share.id, {})
        self._finished.add(share.id)  # its last update may arrive after this
        size = phases["reading"].bytes if "reading" in phases else receipt.bytes
        phases["reading"] = ExportProgress(phase="reading", records=receipt.records, bytes=size)
        for phase in self._done.keys() & phases.keys():
            self._done[phase] = _sum_of([self._done[phase], phases[phase]])
        for report in receipt.fetch:
            self._emit(
                VerdictReached(
                    source=report.source,
                    verdict=report.verdict,
                    reason=report.reason,
                    received=report.received,
                )
            )
        self._tell_progress()

    def _pass_on(self, updates: Sequence[_Update]) -> None:
        for each in updates:
            if each.progress is not None and each.share not in self._finished:
                self._running.setdefault(each.share, {})[each.progress.phase] = each.progress
            for event in each.events:
                self._emit(event)
        if updates:
            self._tell_progress()

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    def _tell_progress(self) -> None:
        if self._on_progress is None:
            return
        in_details = [next(reversed(phases)) == "transcripts" for phases in self._running.values()]
        phase: Literal["reading", "transcripts"] = (
            "transcripts" if in_details and all(in_details) else "reading"
        )
        running = [each[phase] for each in self._running.values() if phase in each]
        self._on_progress(_sum_of([self._done[phase], *running]))


def _sum_of(progress: Sequence[ExportProgress]) -> ExportProgress:
    """Return the sum. The total is unknown if one of the totals is."""
    totals = [each.total for each in progress]
    return ExportProgress(
        phase=progress[0].phase,
        records=sum(each.records for each in progress),
        bytes=sum(each.bytes for each in progress),
        total=None if None in totals else sum(filter(None, totals)),
    )


@attrs.define(frozen=True)
class _Cluster:
    """Runs the tasks of an export: at most ``fetchers`` at once, at most ``attempts`` times each."""

    job: _Job
    coordinator: Any
    fetchers: int
    attempts: int
    task_options: Mapping[str, Any]

    def plan(self, planning: Callable[..., Any]) -> tuple[Share, ...]:
        """Divide the sources into shares."""
        task: Any = ray.remote(_plan_task)

        def start(_: None) -> Any:
            named = task.options(**self._options("futureagi plan"))
            return named.remote(planning, self.job, self.coordinator)

        ((_, outcome),) = self._run(start, [None], None)
        if isinstance(outcome, Exception):
            raise outcome
        shares: tuple[Share, ...] = outcome
        return shares

    def export(self, shares: Sequence[Share], relay: _Relay | None) -> list[ShareReceipt]:
        """Return a receipt for each share; also for a share that finally failed."""
        task: Any = ray.remote(_export_task)

        def start(share: Share) -> Any:
            named = task.options(**self._options(f"futureagi share {share.id}"))
            return named.remote(share, self.job, self.coordinator)

        receipts: list[ShareReceipt] = []
        with closing(self._run(start, shares, relay)) as outcomes:
            for share, outcome in outcomes:
                receipt = self._give_up(share, outcome) if isinstance(outcome, Exception) else outcome
                receipts.append(receipt)
                if relay is not None:
                    relay.finish(share, receipt)
        return receipts

    def _options(self, name: str) -> dict[str, Any]:
        return {**self.task_options, "name": name, "max_retries": 0}  # they are counted here

    def _give_up(self, share: Share, error: Exception) -> ShareReceipt:
        names = [str(source) for source in share.sources[:3]]
        if more := len(share.sources) - len(names):
            names.append(f"{more} more")
        _log.warning("Share %s failed (%s): %s", share.id, ", ".join(names), error)
        return share.failed(error)

    def _run(
        self, start: Callable[[T], Any], items: Sequence[T], relay: _Relay | None
    ) -> Generator[tuple[T, Any], None, None]:
        """Yield each item with its result or its last error. Closing the generator cancels the rest."""
        waiting = deque((item, 1) for item in items)
        running: dict[Any, tuple[T, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.fetchers:
                    item, attempt = waiting.popleft()
                    running[start(item)] = (item, attempt)
                done, _ = ray.wait(list(running), timeout=_TICK_SECONDS)
                if relay is not None:
                    relay.poll()
                for task in done:
                    item, attempt = running.pop(task)
                    outcome = self._outcome_of(task)
                    if isinstance(outcome, _STOPS):
                        raise outcome
                    if not isinstance(outcome, Exception) or self._is_final(outcome, attempt):
                        yield item, outcome
                    else:
                        waiting.append((item, attempt + 1))
                        if relay is not None and isinstance(item, Share):
                            relay.forget(item)
        finally:
            _cancel(list(running))

    def _is_final(self, error: Exception, attempt: int) -> bool:
        """Whether no further attempt follows: it would be useless, or the limit is reached."""
        return attempt >= self.attempts or (isinstance(error, APIStatusError) and not error.retryable)

    def _outcome_of(self, task: Any) -> Any:
        try:
            result = ray.get(task)
        except RayTaskError as error:
            return error.cause if isinstance(error.cause, Exception) else error
        except RayError as error:
            times = f"{self.attempts} times" if self.attempts > 1 else "once"
            return ExportError(f"Its worker was lost, tried {times} ({type(error).__name__}).")
        return result.error if isinstance(result, _Failure) else result


def _cancel(tasks: list[Any]) -> None:
    """End tasks: cancel them so that they can close connections, and then kill their workers."""
    left = tasks
    try:
        for task in tasks:
            ray.cancel(task)
        if tasks:
            _, left = ray.wait(tasks, num_returns=len(tasks), timeout=_CANCEL_SECONDS)
    finally:
        for task in left:
            ray.cancel(task, force=True)
