"""What an export shows while it runs: counted from events, drawn on a terminal, calm elsewhere."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from futureagi_async.cli.display import Display, PlainDisplay, make_display, render_progress
from futureagi_async.cli.progress import Progress, Rate
from futureagi_async.events import (
    OutageBegan,
    OutageEnded,
    PageArrived,
    ProbePlanned,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)
from futureagi_async.export import ExportProgress
from futureagi_async.testing import StandInServer
from tests.support.commands import COLOURS, COLUMNS, environment, names_in, plain, run_on_terminal


class Clock:
    """A clock that stands until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def run_tests(number: int) -> list[CallSource]:
    return [RunTestCalls(UUID(int=index << 96)) for index in range(number)]


def arrived(source: CallSource, records: int, count: int) -> PageArrived:
    return PageArrived(source=source, page=1, limit=100, records=records, count=count)


def done(source: CallSource, received: int, verdict: str = "complete") -> VerdictReached:
    return VerdictReached(source=source, verdict=verdict, reason="", received=received)  # type: ignore[arg-type]


def retried() -> RetryPlanned:
    return RetryPlanned(endpoint="/e/", path="/e/", attempt=1, error="InternalServerError", delay_seconds=1.0)


def answered(status: int) -> ResponseReceived:
    return ResponseReceived(
        endpoint="/e/", path="/e/", attempt=1, status=status, request_id=None, seconds=0.1, body_bytes=2
    )


def news(records: int, size: int = 0, phase: str = "reading", total: int | None = None) -> ExportProgress:
    return ExportProgress(phase=phase, records=records, bytes=size, total=total)  # type: ignore[arg-type]


def drawn(progress: Progress, rows: int = 10) -> list[str]:
    console = Console(file=StringIO(), width=COLUMNS, highlight=False)
    console.print(render_progress(progress, rows=rows))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def test_a_list_waits_is_read_checked_and_judged() -> None:
    """Each list goes through its states as its pages arrive."""
    (source,) = run_tests(1)
    progress = Progress([source])
    states = [progress.lines[source].state]
    for event in (arrived(source, 60, 100), arrived(source, 40, 100), done(source, 100, "incomplete")):
        progress.observe(event)
        states.append(progress.lines[source].state)
    assert states == ["waiting", "reading", "checking", "incomplete"]


def test_totals_are_sums() -> None:
    """Records expected, lists done, retries, pauses and throttled answers are added up over all lists."""
    one, other = run_tests(2)
    progress = Progress([one, other])
    progress.observe(arrived(one, 50, 50))
    assert "50 records" not in drawn(progress)[-2], "the other list has not told its length"
    progress.observe(arrived(other, 10, 30))
    progress.observe(done(one, 48))
    progress.observe(retried())
    progress.observe(SessionPaused(delay_seconds=2.0))
    progress.observe(SessionPaused(delay_seconds=3.0))
    progress.observe(RequestSent(endpoint="/e/", path="/e/", attempt=1))
    progress.observe(answered(429))
    progress.observe(answered(200))
    progress.write(news(58, 9000))
    assert (progress.expected, progress.lists_done, progress.retries) == (80, 1, 1)
    assert (progress.pauses, progress.paused_seconds) == (2, 5.0)
    assert progress.throttled == 1
    assert (progress.stage.records, progress.stage.bytes) == (58, 9000)


def test_a_list_that_failed_does_not_hide_the_total() -> None:
    """A list that ended without ever telling its length counts for nothing."""
    one, other = run_tests(2)
    progress = Progress([one, other])
    progress.observe(arrived(one, 50, 50))
    progress.observe(done(other, 0, "incomplete"))
    assert progress.expected == 50


def test_lists_that_an_earlier_run_was_done_with() -> None:
    """A list that is judged without being read again shows what was received of it."""
    one, other = run_tests(2)
    progress = Progress([one, other])
    progress.observe(done(one, 1_600))
    progress.observe(done(other, 0, "incomplete"))
    first, second = drawn(progress)[:2]
    assert re.fullmatch(r"run test 00000000  ━+ +1,600  complete", first)
    assert re.fullmatch(r"run test 00000001 +0  incomplete", second)


def test_the_board_shows_each_list_and_the_totals() -> None:
    """Label, bar, figures and state stand in one line a list, the sums below."""
    sources: list[CallSource] = [
        RunTestCalls(UUID(int=1 << 96)),
        AgentVersionCalls(UUID(int=2), UUID(int=3 << 96)),
        TestExecutionCalls(UUID(int=4 << 96)),
    ]
    clock = Clock()
    progress = Progress(sources, clock)
    progress.observe(arrived(sources[0], 1000, 2000))
    progress.observe(arrived(sources[1], 1, 1))
    progress.observe(done(sources[1], 1))
    progress.observe(retried())
    progress.observe(SessionPaused(delay_seconds=5.0))
    progress.observe(answered(429))
    clock.seconds = 10.0
    progress.write(news(1001, 2_500_000))
    first, second, third, counts, speed = drawn(progress)
    assert re.fullmatch(r"run test 00000001        ━+╸? +1,000/2,000  reading", first)
    assert re.fullmatch(r"agent version 00000003   ━+ +1/1  complete", second)
    assert re.fullmatch(r"test execution 00000004 +waiting", third)
    assert counts == "1,001 records · 1 of 3 lists done"
    assert speed == "100/s · 2.5 MB · 1 retry · 1 throttled · 1 pause (5 s)"


def test_time_left_follows_from_the_last_seconds() -> None:
    """What is left is divided by the speed of late, of this run and this phase alone."""
    (source,) = run_tests(1)
    clock = Clock()
    progress = Progress([source], clock)
    assert progress.seconds_left is None, "nobody knows yet"
    progress.observe(arrived(source, 100, 10_000))
    clock.seconds = 1.0
    progress.write(news(5_100))
    assert (progress.rate, progress.seconds_left) == (100, 49), "an interrupted run had read 5,000"
    for second in range(2, 40):
        clock.seconds = float(second)
        progress.write(news(5_100 + 10 * (second - 1)))
    assert progress.rate == pytest.approx(10, rel=0.01), "it became slower"
    clock.seconds = 40.0
    progress.write(news(10_000))
    assert progress.seconds_left is None, "nothing is left"


def test_further_phases_have_their_own_lines() -> None:
    """Fetching, downloading and writing show how much is done of how much, below the lists."""
    (source,) = run_tests(1)
    clock = Clock()
    progress = Progress([source], clock)
    progress.observe(arrived(source, 50, 50))
    progress.observe(done(source, 50))
    progress.write(news(50))
    progress.write(news(10, 5_000, "transcripts", 40))
    clock.seconds = 10.0
    progress.write(news(20, 9_000, "transcripts", 40))
    lines = drawn(progress)
    assert re.fullmatch(r"transcripts +━+╸? +20/40  fetching", lines[1])
    assert lines[2:] == ["20 of 40 transcripts · 20 s left", "1/s · 9.0 kB"]
    progress.write(news(1, 9_000, "recordings"))
    progress.write(news(0, 0, "writing", 50))
    lines = drawn(progress)
    assert [line.split()[-1] for line in lines[:4]] == ["complete", "done", "done", "writing"]
    assert re.fullmatch(r"recordings +1  done", lines[2])
    assert lines[4] == "0 of 50 records"
    assert progress.stages["reading"].records == 50


def test_further_phases_take_room_from_lists() -> None:
    """The board stays as high as before: each line of a phase hides a list more."""
    progress = Progress(run_tests(40))
    before = len(drawn(progress, rows=10))
    for phase in ("transcripts", "recordings", "writing"):
        progress.write(news(0, 0, phase, 4))
        assert len(drawn(progress, rows=10)) == before


def test_the_speed_needs_little_memory() -> None:
    """However often progress is told, only some moments of the last seconds are remembered."""
    rate = Rate()
    for step in range(100_000):
        rate.note(step / 1000, step)
    assert rate.rate(100.0) == pytest.approx(1000, rel=0.02)
    assert len(rate._samples) < 100


@pytest.mark.parametrize("count", [0, 1_234_567])
def test_the_board_fits_80_columns(count: int) -> None:
    """Neither an empty list nor millions of records break a line."""
    sources: list[CallSource] = [
        TestExecutionCalls(UUID(int=1 << 96)),
        AgentVersionCalls(UUID(int=2), UUID(int=3 << 96)),
    ]
    progress = Progress(sources, Clock())
    for source in sources:
        progress.observe(arrived(source, count, count))
        progress.observe(done(source, count, "incomplete"))
    progress.write(news(2 * count, 10**13))
    lines = drawn(progress)
    assert len(lines) == 4
    assert all(len(line) <= COLUMNS for line in lines)
    assert lines[0].endswith(f" {count:,}/{count:,}  incomplete")


def test_many_lists_leave_room_for_what_moves() -> None:
    """More lists than rows: those being read come first, those done last, the rest is counted."""
    sources = run_tests(40)
    progress = Progress(sources)
    for source in sources[:10]:
        progress.observe(arrived(source, 5, 5))
        progress.observe(done(source, 5))
    progress.observe(arrived(sources[30], 1, 5))
    lines = drawn(progress, rows=10)
    assert len(lines) == 13
    assert lines[0].startswith("run test 0000001e ")
    assert all(line.endswith("waiting") for line in lines[1:10])
    assert lines[10] == "and 30 lists more"


def test_plain_lines_come_now_and_then() -> None:
    """Off a terminal, progress is a line every few seconds, and pauses are told when they begin."""
    (source,) = run_tests(1)
    clock = Clock()
    progress = Progress([source], clock)
    console = Console(file=StringIO(), highlight=False)
    with PlainDisplay(progress, console) as display:
        for seconds, event in (
            (1, arrived(source, 1, 9)),
            (6, retried()),
            (7, retried()),
            (8, SessionPaused(delay_seconds=30.0)),
        ):
            clock.seconds = float(seconds)
            progress.observe(event)
            display.on_event(event)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Reading 1 list of calls.",
        "0 of 9 records, 0 of 1 list done, 0 bytes, 1 retry",
        "The server asked for a pause of 30 s.",
    ]


def out(seconds: float) -> OutageBegan:
    return OutageBegan(error="APIConnectionError", status=None, seconds=seconds, max_outage=900.0)


def back(seconds: float, *, answered: bool = True) -> OutageEnded:
    return OutageEnded(answered=answered, seconds=seconds, probes=3)


def at_noon(clock: Clock) -> Callable[[], datetime]:
    return lambda: datetime(2026, 1, 31, 12) + timedelta(seconds=clock.seconds)


def test_plain_lines_tell_of_outages() -> None:
    """Since when the server does not answer, when it is asked again, and that it answers; not too often."""
    (source,) = run_tests(1)
    clock = Clock()
    progress = Progress([source], clock, at_noon(clock))
    console = Console(file=StringIO(), highlight=False)
    with PlainDisplay(progress, console) as display:
        for seconds, event in (
            (1, arrived(source, 1, 9)),
            (4, out(2.0)),
            (4, ProbePlanned(delay_seconds=1.0)),
            (6, retried()),
            (6, ProbePlanned(delay_seconds=2.0)),
            (12, ProbePlanned(delay_seconds=8.0)),
            (20, ProbePlanned(delay_seconds=16.0)),
            (36, back(34.0)),
            (42, retried()),
            (43, out(1.0)),
            (43, ProbePlanned(delay_seconds=1.0)),
            (44, back(2.0, answered=False)),
        ):
            clock.seconds = float(seconds)
            progress.observe(event)
            display.on_event(event)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Reading 1 list of calls.",
        "The server does not answer since 12:00:02 (2 s), next try in 1 s.",
        "The server does not answer since 12:00:02 (10 s), next try in 8 s.",
        "The server does not answer since 12:00:02 (18 s), next try in 16 s.",
        "The server answers again after 34 s.",
        "0 of 9 records, 0 of 1 list done, 0 bytes, 2 retries, 1 outage (34 s)",
        "The server does not answer since 12:00:42 (1 s), next try in 1 s.",
    ]


def test_the_board_tells_of_an_outage() -> None:
    """A line above the totals counts the seconds up, and those to the next try down; then it is gone."""
    sources = run_tests(12)
    clock = Clock()
    progress = Progress(sources, clock, at_noon(clock))
    progress.observe(arrived(sources[0], 1, 9))
    before = drawn(progress)
    clock.seconds = 100.0
    progress.observe(out(40.0))
    assert drawn(progress)[-4:-2] == [
        "The server does not answer since 12:01:00 (40 s), trying now",
        "and 3 lists more",
    ]
    progress.observe(ProbePlanned(delay_seconds=30.0))
    clock.seconds = 110.0
    lines = drawn(progress)
    assert lines[-4] == "The server does not answer since 12:01:00 (50 s), next try in 20 s"
    assert len(lines) == len(before)
    clock.seconds = 131.0
    assert drawn(progress)[-4].endswith("(71 s), trying now")
    progress.observe(back(71.0))
    assert drawn(progress)[-1] == "0 bytes · 1 outage (71 s)"
    assert not any("No answer" in line for line in drawn(progress))


def test_plain_lines_tell_of_phases() -> None:
    """Off a terminal, each phase is named when it begins, also where no request is sent any more."""
    (source,) = run_tests(1)
    clock = Clock()
    progress = Progress([source], clock)
    console = Console(file=StringIO(), highlight=False)
    with PlainDisplay(progress, console) as display:
        for seconds, step in (
            (1, news(9)),
            (2, news(0, 0, "transcripts", 4)),
            (8, news(3, 2_000, "transcripts", 4)),
            (9, news(1, 0, "recordings")),
            (10, news(9, 0, "writing", 9)),
        ):
            clock.seconds = float(seconds)
            progress.write(step)
            display.advance()
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Reading 1 list of calls.",
        "Fetching transcripts.",
        "3 of 4 transcripts, 2 s left, 0/s, 2.0 kB",
        "Downloading recordings.",
        "Writing files.",
    ]


def test_the_display_suits_the_place() -> None:
    """Quiet shows nothing; a pipe gets plain lines."""
    progress, console = Progress(run_tests(1)), Console(file=StringIO())
    assert type(make_display(progress, console, quiet=True)) is Display
    assert type(make_display(progress, console, quiet=False)) is PlainDisplay


@pytest.fixture
def slow() -> Iterator[StandInServer]:
    """Run a stand-in slow enough for a bar to be seen."""
    with StandInServer(latency_seconds=0.15) as running:
        yield running


def export_arguments(server: StandInServer) -> list[str]:
    lists = [f"--run-test={id_}" for id_ in server.run_test_ids]
    return ["export", *lists, "--page-size", "40", "-o", "calls.jsonl"]


def test_a_terminal_sees_bars_then_the_summary(slow: StandInServer, tmp_path: Path) -> None:
    """Bars are drawn in place in colours, removed at the end, and the summary stays."""
    slow.fail(status=503, times=1)
    code, output = run_on_terminal(*export_arguments(slow), variables=environment(slow), folder=tmp_path)
    assert code == 0
    assert COLOURS.search(output)
    assert "\x1b[?25l" in output, "the cursor is hidden while bars are drawn"
    assert output.rindex("\x1b[?25h") < output.rindex("✓"), "and back for the summary"
    board, _, summary = plain(output).partition("✓ ")
    assert "━" in board
    assert " reading" in board
    assert "of 3 lists done" in board
    assert "1 retry" in board
    assert "━" not in summary
    assert re.search(r"\nWrote 387 records \(.*\) to calls\.jsonl: complete\. *\n$", summary)
    assert all(len(line) <= COLUMNS for line in plain(output).splitlines())
    assert names_in(tmp_path) == {"calls.jsonl"}


@pytest.mark.slow
def test_no_color_is_respected(slow: StandInServer, tmp_path: Path) -> None:
    """With NO_COLOR the bars move without colours."""
    code, output = run_on_terminal(
        *export_arguments(slow), variables=environment(slow, NO_COLOR="1"), folder=tmp_path
    )
    assert code == 0
    assert "━" in output
    assert not COLOURS.search(output)


@pytest.mark.slow
def test_a_dumb_terminal_gets_plain_lines(slow: StandInServer, tmp_path: Path) -> None:
    """A terminal that can't move its cursor is not asked to."""
    code, output = run_on_terminal(
        *export_arguments(slow), variables=environment(slow, TERM="dumb"), folder=tmp_path
    )
    assert code == 0
    assert "\x1b" not in output
    assert "Reading 3 lists of calls." in output


@pytest.mark.slow
def test_quiet_leaves_a_terminal_alone(slow: StandInServer, tmp_path: Path) -> None:
    """With --quiet a terminal gets nothing at all."""
    code, output = run_on_terminal(
        *export_arguments(slow), "--quiet", variables=environment(slow), folder=tmp_path
    )
    assert (code, output) == (0, "")
