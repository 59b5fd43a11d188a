"""What an export shows while it runs: counted from events, drawn on a terminal, calm elsewhere."""

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from futureagi_async import AgentVersionCalls, CallSource, RunTestCalls, TestExecutionCalls
from futureagi_async.cli.display import Display, PlainDisplay, make_display, render_board
from futureagi_async.cli.progress import Meter, Tally
from futureagi_async.events import (
    PageArrived,
    RequestSent,
    ResponseReceived,
    RetryPlanned,
    SessionPaused,
    VerdictReached,
)
from futureagi_async.export import ExportProgress
from futureagi_async.testing import StandInServer
from tests.test_cli_support import (
    COLOURS,
    COLUMNS,
    environment,
    names_in,
    plain,
    run_on_terminal,
)


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


def progress(records: int, size: int = 0, phase: str = "reading", total: int | None = None) -> ExportProgress:
    return ExportProgress(phase=phase, records=records, bytes=size, total=total)  # type: ignore[arg-type]


def drawn(tally: Tally, rows: int = 10) -> list[str]:
    console = Console(file=StringIO(), width=COLUMNS, highlight=False)
    console.print(render_board(tally, rows=rows))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def test_a_list_waits_is_read_checked_and_judged() -> None:
    """Each list goes through its states as its pages arrive."""
    (source,) = run_tests(1)
    tally = Tally([source])
    states = [tally.lines[source].state]
    for event in (arrived(source, 60, 100), arrived(source, 40, 100), done(source, 100, "incomplete")):
        tally.observe(event)
        states.append(tally.lines[source].state)
    assert states == ["waiting", "reading", "checking", "incomplete"]


def test_totals_are_sums() -> None:
    """Records expected, lists done, retries, pauses and throttled answers are added up over all lists."""
    one, other = run_tests(2)
    tally = Tally([one, other])
    tally.observe(arrived(one, 50, 50))
    assert "50 records" not in drawn(tally)[-2], "the other list has not told its length"
    tally.observe(arrived(other, 10, 30))
    tally.observe(done(one, 48))
    tally.observe(retried())
    tally.observe(SessionPaused(delay_seconds=2.0))
    tally.observe(SessionPaused(delay_seconds=3.0))
    tally.observe(RequestSent(endpoint="/e/", path="/e/", attempt=1))
    tally.observe(answered(429))
    tally.observe(answered(200))
    tally.write(progress(58, 9000))
    assert (tally.expected, tally.lists_done, tally.retries) == (80, 1, 1)
    assert (tally.pauses, tally.paused_seconds) == (2, 5.0)
    assert tally.throttled == 1
    assert (tally.stage.records, tally.stage.bytes) == (58, 9000)


def test_a_list_that_failed_does_not_hide_the_total() -> None:
    """A list that ended without ever telling its length counts for nothing."""
    one, other = run_tests(2)
    tally = Tally([one, other])
    tally.observe(arrived(one, 50, 50))
    tally.observe(done(other, 0, "incomplete"))
    assert tally.expected == 50


def test_lists_that_an_earlier_run_was_done_with() -> None:
    """A list that is judged without being read again shows what was received of it."""
    one, other = run_tests(2)
    tally = Tally([one, other])
    tally.observe(done(one, 1_600))
    tally.observe(done(other, 0, "incomplete"))
    first, second = drawn(tally)[:2]
    assert re.fullmatch(r"run test 00000000 ━+ +1,600 complete", first)
    assert re.fullmatch(r"run test 00000001 +0 incomplete", second)


def test_the_board_shows_each_list_and_the_totals() -> None:
    """Label, bar, figures and state stand in one line a list, the sums below."""
    sources: list[CallSource] = [
        RunTestCalls(UUID(int=1 << 96)),
        AgentVersionCalls(UUID(int=2), UUID(int=3 << 96)),
        TestExecutionCalls(UUID(int=4 << 96)),
    ]
    clock = Clock()
    tally = Tally(sources, clock)
    tally.observe(arrived(sources[0], 1000, 2000))
    tally.observe(arrived(sources[1], 1, 1))
    tally.observe(done(sources[1], 1))
    tally.observe(retried())
    tally.observe(SessionPaused(delay_seconds=5.0))
    tally.observe(answered(429))
    clock.seconds = 10.0
    tally.write(progress(1001, 2_500_000))
    first, second, third, counts, speed = drawn(tally)
    assert re.fullmatch(r"run test 00000001       ━+╸? +1,000/2,000 reading", first)
    assert re.fullmatch(r"agent version 00000003  ━+ +1/1 complete", second)
    assert re.fullmatch(r"test execution 00000004 +waiting", third)
    assert counts == "1,001 records · 1 of 3 lists done"
    assert speed == "100/s · 2.5 MB · 1 retry · 1 throttled · 1 pause (5 s)"


def test_time_left_follows_from_the_last_seconds() -> None:
    """What is left is divided by the speed of late, of this run and this phase alone."""
    (source,) = run_tests(1)
    clock = Clock()
    tally = Tally([source], clock)
    assert tally.seconds_left is None, "nobody knows yet"
    tally.observe(arrived(source, 100, 10_000))
    clock.seconds = 1.0
    tally.write(progress(5_100))
    assert (tally.rate, tally.seconds_left) == (100, 49), "an interrupted run had read 5,000"
    for second in range(2, 40):
        clock.seconds = float(second)
        tally.write(progress(5_100 + 10 * (second - 1)))
    assert tally.rate == pytest.approx(10, rel=0.01), "it became slower"
    clock.seconds = 40.0
    tally.write(progress(10_000))
    assert tally.seconds_left is None, "nothing is left"


def test_further_phases_have_their_own_lines() -> None:
    """Fetching, downloading and writing show how much is done of how much, below the lists."""
    (source,) = run_tests(1)
    clock = Clock()
    tally = Tally([source], clock)
    tally.observe(arrived(source, 50, 50))
    tally.observe(done(source, 50))
    tally.write(progress(50))
    tally.write(progress(10, 5_000, "transcripts", 40))
    clock.seconds = 10.0
    tally.write(progress(20, 9_000, "transcripts", 40))
    lines = drawn(tally)
    assert re.fullmatch(r"transcripts +━+╸? +20/40 fetching", lines[1])
    assert lines[2:] == ["20 of 40 transcripts · 20 s left", "1/s · 9.0 kB"]
    tally.write(progress(1, 9_000, "recordings"))
    tally.write(progress(0, 0, "writing", 50))
    lines = drawn(tally)
    assert [line.split()[-1] for line in lines[:4]] == ["complete", "done", "done", "writing"]
    assert re.fullmatch(r"recordings +1 done", lines[2])
    assert lines[4] == "0 of 50 records"
    assert tally.stages["reading"].records == 50


def test_further_phases_take_room_from_lists() -> None:
    """The board stays as high as before: each line of a phase hides a list more."""
    tally = Tally(run_tests(40))
    before = len(drawn(tally, rows=10))
    for phase in ("transcripts", "recordings", "writing"):
        tally.write(progress(0, 0, phase, 4))
        assert len(drawn(tally, rows=10)) == before


def test_the_speed_needs_little_memory() -> None:
    """However often progress is told, only some moments of the last seconds are remembered."""
    meter = Meter()
    for step in range(100_000):
        meter.note(step / 1000, step)
    assert meter.rate(100.0) == pytest.approx(1000, rel=0.02)
    assert len(meter._samples) < 100


@pytest.mark.parametrize("count", [0, 1_234_567])
def test_the_board_fits_80_columns(count: int) -> None:
    """Neither an empty list nor millions of records break a line."""
    sources: list[CallSource] = [
        TestExecutionCalls(UUID(int=1 << 96)),
        AgentVersionCalls(UUID(int=2), UUID(int=3 << 96)),
    ]
    tally = Tally(sources, Clock())
    for source in sources:
        tally.observe(arrived(source, count, count))
        tally.observe(done(source, count, "incomplete"))
    tally.write(progress(2 * count, 10**13))
    lines = drawn(tally)
    assert len(lines) == 4
    assert all(len(line) <= COLUMNS for line in lines)
    assert lines[0].endswith(f" {count:,}/{count:,} incomplete")


def test_many_lists_leave_room_for_what_moves() -> None:
    """More lists than rows: those being read come first, those done last, the rest is counted."""
    sources = run_tests(40)
    tally = Tally(sources)
    for source in sources[:10]:
        tally.observe(arrived(source, 5, 5))
        tally.observe(done(source, 5))
    tally.observe(arrived(sources[30], 1, 5))
    lines = drawn(tally, rows=10)
    assert len(lines) == 13
    assert lines[0].startswith("run test 0000001e ")
    assert all(line.endswith("waiting") for line in lines[1:10])
    assert lines[10] == "and 30 lists more"


def test_plain_lines_come_now_and_then() -> None:
    """Off a terminal, progress is a line every few seconds, and pauses are told when they begin."""
    (source,) = run_tests(1)
    clock = Clock()
    tally = Tally([source], clock)
    console = Console(file=StringIO(), highlight=False)
    with PlainDisplay(tally, console) as display:
        for seconds, event in (
            (1, arrived(source, 1, 9)),
            (6, retried()),
            (7, retried()),
            (8, SessionPaused(delay_seconds=30.0)),
        ):
            clock.seconds = float(seconds)
            tally.observe(event)
            display.tell(event)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Reading 1 list of calls.",
        "0 of 9 records, 0 of 1 list done, 0 bytes, 1 retry",
        "The server asked to wait 30 s.",
    ]


def test_plain_lines_tell_of_phases() -> None:
    """Off a terminal, each phase is named when it begins, also where no request is sent any more."""
    (source,) = run_tests(1)
    clock = Clock()
    tally = Tally([source], clock)
    console = Console(file=StringIO(), highlight=False)
    with PlainDisplay(tally, console) as display:
        for seconds, step in (
            (1, progress(9)),
            (2, progress(0, 0, "transcripts", 4)),
            (8, progress(3, 2_000, "transcripts", 4)),
            (9, progress(1, 0, "recordings")),
            (10, progress(9, 0, "writing", 9)),
        ):
            clock.seconds = float(seconds)
            tally.write(step)
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
    tally, console = Tally(run_tests(1)), Console(file=StringIO())
    assert type(make_display(tally, console, quiet=True)) is Display
    assert type(make_display(tally, console, quiet=False)) is PlainDisplay


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
    assert output.rindex("\x1b[?25h") < output.index("Expected"), "and back for the summary"
    board, _, summary = plain(output).partition("List ")
    assert "━" in board
    assert " reading" in board
    assert "of 3 lists done" in board
    assert "1 retry" in board
    assert "━" not in summary
    assert re.search(r"\nWrote 387 records \(.*\) to calls\.jsonl *\n$", summary)
    assert all(len(line) <= COLUMNS for line in plain(output).splitlines())
    assert names_in(tmp_path) == {"calls.jsonl"}


def test_no_color_is_respected(slow: StandInServer, tmp_path: Path) -> None:
    """With NO_COLOR the bars move without colours."""
    code, output = run_on_terminal(
        *export_arguments(slow), variables=environment(slow, NO_COLOR="1"), folder=tmp_path
    )
    assert code == 0
    assert "━" in output
    assert not COLOURS.search(output)


def test_a_dumb_terminal_gets_plain_lines(slow: StandInServer, tmp_path: Path) -> None:
    """A terminal that can't move its cursor is not asked to."""
    code, output = run_on_terminal(
        *export_arguments(slow), variables=environment(slow, TERM="dumb"), folder=tmp_path
    )
    assert code == 0
    assert "\x1b" not in output
    assert "Reading 3 lists of calls." in output


def test_quiet_leaves_a_terminal_alone(slow: StandInServer, tmp_path: Path) -> None:
    """With --quiet a terminal gets nothing at all."""
    code, output = run_on_terminal(
        *export_arguments(slow), "--quiet", variables=environment(slow), folder=tmp_path
    )
    assert (code, output) == (0, "")
