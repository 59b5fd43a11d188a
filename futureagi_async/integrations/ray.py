"""Ray: an export by the machines of a cluster, as tasks that share one budget; then the calls as a dataset.

::

    from futureagi_async.integrations.ray import export_calls, read_export

    report = export_calls(sources, "s3://lake/calls/2026-11-28/", requests_per_minute=600, fetchers=4)
    dataset = read_export(report)

Keys come from the environment in which Ray was started on each node. They are not pickled, and in no
``runtime_env``: the machine that calls this needs none. Each task reads a share of the lists into the staging
(`futureagi_async.export_share`); rows go through no object store.
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
    raise ModuleNotFoundError(f"{__name__} needs Ray: pip install 'ray[data]>=2.40'", name="ray") from error

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
"""A task gets so long to close its connections before its worker is killed."""
_MOST_NEWS: Final = 10_000

_STOPS: Final = (
    AuthenticationError,
    BudgetError,
    PermissionDeniedError,
    SessionMisuseError,
    TLSError,
    TypeError,
    ValueError,
)
"""What all other shares would meet, too: the export ends at once."""

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

    Sources are cut into shares; each is read by a task, and what was read waits in the staging until all is
    there. Then this process checks it and puts it into the target, the manifest last. Whatever ends it
    (Ctrl-C, a lost machine, this process killed), the same call again reads only the shares that were not
    finished. A task whose worker or machine is lost is run again, as is one that fails, up to ``attempts``
    times; a share that fails each time is in the report, with its sources incomplete, and loses no other.

    Connects to Ray as ``ray.init()`` does where that was not called before. Blocks; Ctrl-C, or cancelling the
    Ray task that this runs in, cancels the tasks and waits for their end.

    Raises what `futureagi_async.export_calls` raises; `ValueError` where a worker has no keys.

    Args:
        sources: What to read; none of them twice.
        target: A directory that this process sees, or ``s3://bucket/prefix/``, ``gs://`` or ``az://``.
        requests_per_minute: Sent in any minute by all tasks together, retries included. An actor counts.
        fetchers: Tasks at once.
        attempts: How often a share is tried, lost workers included.
        share_requests: About how many requests a share costs; see `futureagi_async.plan_shares`.
        counts: How many calls sources have, where that is known; planning asks nothing of those.
        staging: Where shares wait, seen by all workers and this process; by default beside the target, under
            its name and ``.shares``. It stays, so that the same call again costs nothing.
        task_options: Of Ray, for the tasks: ``num_cpus`` (1), ``resources``, ``scheduling_strategy``, ...
        format: ``"parquet"`` or ``"jsonl"``.
        transcripts: As for `futureagi_async.export_calls`, and so in what follows.
        resume: Leave a finished export in the target as it is.
        overwrite: Also replace what no export wrote.
        ordered: Needed if unchanged lists are to give the same bytes.
        normalised: JSON Lines in our documented names and units.
        columns: The columns to write.
        drop: Columns to leave out.
        redact: Replace phone numbers and customers' names; the key is ``FI_REDACT_KEY`` of the workers.
        partition: ``"source"`` or ``"date"``, for folders.
        part_rows: Records a part.
        page_size: Rows a request, about.
        include_provider_data: Keep what may hold other parties' keys.
        since: An earlier export, which the workers see, of which only changes are read.
        max_outage: How many seconds a task waits for a server that answers nothing any more.
        work_dir: For a target in a bucket, a directory of this machine for what is unfinished.
        base_url: Where the API is; by default ``FI_BASE_URL`` of the workers.
        max_in_flight: Requests of each task under way at once.
        timeouts: Of the tasks' sessions, as what follows.
        retry: How often failed requests are sent again.
        max_response_bytes: Largest decoded answer.
        trust_env: Use the proxy of the workers' environment.
        allow_insecure: Allow ``http://`` to other machines.
        strict: Raise for values of undocumented types.
        on_progress: Called in this process about once a second, with what all tasks have done.
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
        tells_progress=on_progress is not None,
        tells_events=bool(observers),
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
        told = _Told(coordinator, on_progress, observers) if on_progress or observers else None
        shares = cluster.plan(planning)
        receipts = cluster.export(shares, told)
    commit = partial(
        commit_shares, receipts, staging, target, resume=resume, overwrite=overwrite, work_dir=work_dir
    )
    with start_blocking_portal() as portal:  # a loop of its own, as a notebook's runs already
        return portal.call(partial(commit, on_progress=on_progress))


def read_export(report: ExportReport, *, evaluations: bool = False, **options: Any) -> "Dataset":
    """Return the calls of an export as a dataset, which opens the Parquet files where they lie.

    Raises `ValueError` for an export in another format.

    Args:
        report: Of `export_calls`, here or of the package.
        evaluations: Return the table of evaluations instead.
        options: For ``ray.data.read_parquet``: ``columns``, ``filesystem``, ...

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
    """Return what means the same in a worker, whose current directory is another."""
    text = os.fspath(place)
    return text if "://" in text else str(Path(text).absolute())


def _beside(target: str | os.PathLike[str]) -> str:
    """Return the place of the staging beside a target."""
    text = _absolute(target).rstrip("/")
    _, is_address, key = text.partition("://")
    if is_address and "/" not in key:
        raise ValueError("staging must be given for a target that is a whole bucket.")
    return f"{text}.shares/"


def _listed(names: Iterable[str] | None) -> Any:
    """Return names that can be sent; what is no list of names is refused where they are used."""
    return list(names) if isinstance(names, Iterator) else names


@attrs.define(frozen=True, kw_only=True)
class _Job:
    """What every task is told; holds no keys."""

    staging: str
    session: Mapping[str, Any]
    max_outage: float
    tells_progress: bool
    tells_events: bool


@attrs.define(frozen=True)
class _Failure:
    """How a task ended without a result."""

    error: Exception


@attrs.define(frozen=True)
class _News:
    """What a task did since it told last."""

    share: str
    progress: ExportProgress | None
    events: tuple[Event, ...]


class _Coordinator:
    """The actor of an export: the budget of all tasks, and their news on the way to the driver.

    Ray starts it anew where it was lost. Then the budget begins empty, and some news are missed.
    """

    def __init__(self, requests_per_minute: int) -> None:
        self._budget = MinuteBudget(requests_per_minute, shared=True)
        self._news: deque[_News] = deque(maxlen=_MOST_NEWS)

    async def lease(self, most: int) -> Lease:
        """As of a `RequestBudget`."""
        return await self._budget.lease(most)

    async def give_back(self, unused: int) -> None:
        """As of a `RequestBudget`."""
        await self._budget.give_back(unused)

    async def pause(self, seconds: float) -> None:
        """As of a `RequestBudget`."""
        await self._budget.pause(seconds)

    async def tell(self, news: _News) -> None:
        """Keep news for the driver."""
        self._news.append(news)

    async def take_news(self) -> list[_News]:
        """Return what was told since the last time."""
        news = list(self._news)
        self._news.clear()
        return news


@contextmanager
def _coordinator(requests_per_minute: int) -> Iterator[Any]:
    kind: Any = ray.remote(_Coordinator)
    actor = kind.options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote(requests_per_minute)
    try:
        yield actor
    finally:
        ray.kill(actor)


class _ActorBudget:
    """The budget as a task's session sees it. A lost actor is waited for: Ray calls the next one again."""

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
    """Return what is read with a session, or how it failed; a cancelled task ends by KeyboardInterrupt."""
    reporter = _Reporter(coordinator, share)

    async def main() -> object:
        result: object = None
        async with (
            anyio.create_task_group() as tasks,
            Session(
                budget=_ActorBudget(coordinator),
                observers=(reporter.observe,) if job.tells_events else (),
                **job.session,
            ) as session,
        ):
            tasks.start_soon(reporter.run)
            result = await read(session, reporter.note if job.tells_progress else None)
            tasks.cancel_scope.cancel()
        return result

    try:
        _check_keys()
        return anyio.run(main)
    except Exception as error:  # noqa: BLE001 - the driver is told, and decides
        return _Failure(_unwrapped(error))


def _unwrapped(error: Exception) -> Exception:
    return _unwrapped(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _check_keys() -> None:
    if missing := [name for name in _KEYS if not os.environ.get(name)]:
        raise ValueError(
            f"{' and '.join(missing)} not set in the environment of a Ray worker on {platform.node()}. It is "
            "never sent there: set both where Ray is started, on each node before 'ray start', or here "
            "before ray.init()."
        )


class _Reporter:
    """Tells the driver, each second, what a task has done."""

    def __init__(self, coordinator: Any, share: str) -> None:
        self._coordinator = coordinator
        self._share = share
        self._progress: ExportProgress | None = None
        self._events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep an event; verdicts are told by receipts, as a share that fails may be read again."""
        if not isinstance(event, VerdictReached):
            self._events.append(event)

    def note(self, progress: ExportProgress) -> None:
        """Keep how far the share is."""
        self._progress = progress

    async def run(self) -> None:
        """Tell until cancelled. A loop that wakes this often also notices when Ray cancels its task."""
        try:
            while True:
                await anyio.sleep(_TICK_SECONDS)
                self._tell()
        finally:
            self._tell()

    def _tell(self) -> None:
        if self._progress is None and not self._events:
            return
        news = _News(self._share, self._progress, tuple(self._events))
        self._progress, self._events = None, []
        with suppress(RayError):
            self._coordinator.tell.remote(news)


class _Told:
    """What the tasks tell, added up for the callbacks of the driver."""

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
        """Pass on what was told since the last time, if there is an answer by now."""
        if self._asked is None:
            self._asked = self._coordinator.take_news.remote()
        if ray.wait([self._asked], timeout=seconds)[0]:
            asked, self._asked = self._asked, None
            with suppress(RayError):
                self._pass_on(ray.get(asked))

    def forget(self, share: Share) -> None:
        """Count nothing of an attempt that failed."""
        self._running.pop(share.id, None)

    def finish(self, share: Share, receipt: ShareReceipt) -> None:
        """Tell of a share that is done."""
        self.poll(_TICK_SECONDS)  # what was asked for before it told the rest
        self.poll(_TICK_SECONDS)
        told = self._running.pop(share.id, {})
        self._finished.add(share.id)  # what it told last may arrive after this
        size = told["reading"].bytes if "reading" in told else receipt.bytes
        told["reading"] = ExportProgress(phase="reading", records=receipt.records, bytes=size)
        for phase in self._done.keys() & told.keys():
            self._done[phase] = _sum_of([self._done[phase], told[phase]])
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

    def _pass_on(self, news: Sequence[_News]) -> None:
        for each in news:
            if each.progress is not None and each.share not in self._finished:
                self._running.setdefault(each.share, {})[each.progress.phase] = each.progress
            for event in each.events:
                self._emit(event)
        if news:
            self._tell_progress()

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    def _tell_progress(self) -> None:
        if self._on_progress is None:
            return
        in_details = [next(reversed(told)) == "transcripts" for told in self._running.values()]
        phase: Literal["reading", "transcripts"] = (
            "transcripts" if in_details and all(in_details) else "reading"
        )
        told = [each[phase] for each in self._running.values() if phase in each]
        self._on_progress(_sum_of([self._done[phase], *told]))


def _sum_of(progress: Sequence[ExportProgress]) -> ExportProgress:
    """Add up; the total is unknown where one of them is."""
    totals = [each.total for each in progress]
    return ExportProgress(
        phase=progress[0].phase,
        records=sum(each.records for each in progress),
        bytes=sum(each.bytes for each in progress),
        total=None if None in totals else sum(filter(None, totals)),
    )


@attrs.define(frozen=True)
class _Cluster:
    """Runs an export's tasks, so many at once, each a bounded number of times."""

    job: _Job
    coordinator: Any
    fetchers: int
    attempts: int
    task_options: Mapping[str, Any]

    def plan(self, planning: Callable[..., Any]) -> tuple[Share, ...]:
        """Cut the sources into shares."""
        task: Any = ray.remote(_plan_task)

        def start(_: None) -> Any:
            named = task.options(**self._options("futureagi plan"))
            return named.remote(planning, self.job, self.coordinator)

        ((_, outcome),) = self._run(start, [None], None)
        if isinstance(outcome, Exception):
            raise outcome
        shares: tuple[Share, ...] = outcome
        return shares

    def export(self, shares: Sequence[Share], told: _Told | None) -> list[ShareReceipt]:
        """Return a receipt of each share, also of one that had to be given up."""
        task: Any = ray.remote(_export_task)

        def start(share: Share) -> Any:
            named = task.options(**self._options(f"futureagi share {share.id}"))
            return named.remote(share, self.job, self.coordinator)

        receipts: list[ShareReceipt] = []
        with closing(self._run(start, shares, told)) as outcomes:
            for share, outcome in outcomes:
                receipt = self._give_up(share, outcome) if isinstance(outcome, Exception) else outcome
                receipts.append(receipt)
                if told is not None:
                    told.finish(share, receipt)
        return receipts

    def _options(self, name: str) -> dict[str, Any]:
        return {**self.task_options, "name": name, "max_retries": 0}  # they are counted here

    def _give_up(self, share: Share, error: Exception) -> ShareReceipt:
        names = [str(source) for source in share.sources[:3]]
        if more := len(share.sources) - len(names):
            names.append(f"{more} more")
        _log.warning("Share %s is given up (%s): %s", share.id, ", ".join(names), error)
        return share.failed(error)

    def _run(
        self, start: Callable[[T], Any], items: Sequence[T], told: _Told | None
    ) -> Generator[tuple[T, Any], None, None]:
        """Yield each item with its result or the error of its last attempt; closing it cancels the rest."""
        waiting = deque((item, 1) for item in items)
        running: dict[Any, tuple[T, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.fetchers:
                    item, attempt = waiting.popleft()
                    running[start(item)] = (item, attempt)
                done, _ = ray.wait(list(running), timeout=_TICK_SECONDS)
                if told is not None:
                    told.poll()
                for task in done:
                    item, attempt = running.pop(task)
                    outcome = self._outcome_of(task)
                    if isinstance(outcome, _STOPS):
                        raise outcome
                    if not isinstance(outcome, Exception) or self._is_final(outcome, attempt):
                        yield item, outcome
                    else:
                        waiting.append((item, attempt + 1))
                        if told is not None and isinstance(item, Share):
                            told.forget(item)
        finally:
            _cancel(list(running))

    def _is_final(self, error: Exception, attempt: int) -> bool:
        """Whether trying again is of no use, or was tried often enough."""
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
    """End tasks: first so that they can close what they have open, then by ending their workers."""
    left = tasks
    try:
        for task in tasks:
            ray.cancel(task)
        if tasks:
            _, left = ray.wait(tasks, num_returns=len(tasks), timeout=_CANCEL_SECONDS)
    finally:
        for task in left:
            ray.cancel(task, force=True)
