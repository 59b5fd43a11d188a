"""What a sync decides: how a source is read, and what may be concluded from that."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from futureagi_async import RunTestCalls, SourceReport, TestExecutionCalls, column
from futureagi_async.errors import SyncError
from futureagi_async.sync.decisions import (
    Content,
    SourcePlan,
    SourceState,
    conclude,
    may_mark_deleted,
    plan_digest,
    plan_sync,
    without_moments,
)
from futureagi_async.sync.schema import SOURCES, source_id_of

SOURCE = RunTestCalls("00000000-0000-4000-8000-000000000001")
FILTERED = TestExecutionCalls(
    "00000000-0000-4000-8000-000000000002", search="parcel", filters=[column("overall_score").between(1, 5)]
)
NOW = datetime(2026, 1, 31, tzinfo=UTC)
PLAIN = Content(transcripts=False, provider_data=False)
FULL = Content(transcripts=True, provider_data=True)
MONTH = timedelta(days=30)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


STATE = SourceState(
    source=SOURCE,
    named=True,
    verdict="complete",
    reason="One page, read last.",
    complete_as_of=days_ago(1),
    full_read_at=days_ago(10),
    synced_at=days_ago(1),
    content=PLAIN,
)


@pytest.mark.parametrize(
    ("state", "full_every", "since"),
    [
        (None, MONTH, None),
        (STATE, MONTH, days_ago(1)),
        (STATE, None, days_ago(1)),
        (STATE, timedelta(days=10), None),
        (STATE, timedelta(0), None),
        (attrs.evolve(STATE, full_read_at=None), MONTH, None),
        (attrs.evolve(STATE, full_read_at=None), None, days_ago(1)),
        (attrs.evolve(STATE, complete_as_of=None), None, None),
        (attrs.evolve(STATE, verdict="incomplete"), MONTH, days_ago(1)),
        (attrs.evolve(STATE, full_read_at=days_ago(-5)), MONTH, days_ago(1)),
    ],
)
def test_since_when_a_source_is_read(
    state: SourceState | None, full_every: timedelta | None, since: datetime | None
) -> None:
    """All of a new one, and of one that is due or never was complete; of others what changed since."""
    states = [state] if state else []
    (plan,) = plan_sync([SOURCE], states, PLAIN, now=NOW, full_every=full_every)
    assert plan.since == since
    assert plan.mode == ("full" if since is None else "changes")


def test_more_is_read_in_full_and_less_is_refused() -> None:
    """Transcripts and provider data may be added to a database, and not left out again."""
    (plan,) = plan_sync([SOURCE], [STATE], FULL, now=NOW, full_every=None)
    assert (plan.since, plan.why) == (None, "More data was requested than its rows have.")
    after = conclude(plan, report(verdict="incomplete"), FULL, now=NOW, lacks_details=False)
    assert after.complete_as_of is None  # so that the next sync fills what this one could not
    for less in ("transcripts", "provider_data"):
        with pytest.raises(SyncError, match=f"pass .*{less}=True again"):
            plan_sync(
                [SOURCE],
                [attrs.evolve(STATE, content=FULL)],
                attrs.evolve(FULL, **{less: False}),
                now=NOW,
                full_every=None,
            )


def report(verdict: str = "complete", as_of: datetime | None = None) -> SourceReport:
    return SourceReport(
        source=SOURCE,
        verdict="complete" if verdict == "complete" else "incomplete",
        reason="So it is.",
        expected=3,
        received=3,
        complete_as_of=as_of,
    )


def planned(mode: str, before: SourceState | None = STATE) -> SourcePlan:
    since = before.complete_as_of if mode == "changes" and before else None
    return SourcePlan(source=SOURCE, since=since, why="", before=before)


@pytest.mark.parametrize(
    ("mode", "verdict", "as_of", "lacks_details", "moment", "full_read_at"),
    [
        ("changes", "complete", NOW, False, NOW, days_ago(10)),
        ("full", "complete", NOW, False, NOW, NOW),
        ("full", "complete", days_ago(2), False, days_ago(1), NOW),
        ("full", "complete", None, False, days_ago(1), NOW),
        ("full", "incomplete", NOW, False, days_ago(1), days_ago(10)),
        ("changes", "incomplete", None, False, days_ago(1), days_ago(10)),
        ("full", "complete", NOW, True, days_ago(1), days_ago(10)),
    ],
)
def test_only_a_complete_read_moves_the_moment(
    mode: str,
    verdict: str,
    as_of: datetime | None,
    moment: datetime | None,
    full_read_at: datetime | None,
    *,
    lacks_details: bool,
) -> None:
    """Neither an incomplete list, nor one that lacks transcripts; and no moment ever goes back."""
    plan, read = planned(mode), report(verdict, as_of)
    after = conclude(plan, read, PLAIN, now=NOW, lacks_details=lacks_details)
    assert (after.complete_as_of, after.full_read_at) == (moment, full_read_at)
    assert after.verdict == ("incomplete" if lacks_details else verdict)
    assert may_mark_deleted(plan, read) == (mode == "full" and verdict == "complete")


@pytest.mark.parametrize("source", [SOURCE, FILTERED], ids=["plain", "filtered"])
def test_a_state_is_read_from_its_row(source: RunTestCalls | TestExecutionCalls) -> None:
    """A row has every column of the table, and gives the same state again, filters included."""
    state = attrs.evolve(STATE, source=source)
    row = state.to_row()
    assert list(row) == list(SOURCES)
    assert row["source_id"] == source_id_of(source)
    assert SourceState.from_row(row) == state


def test_other_filters_are_another_source() -> None:
    """The key depends on all that names a source, and on nothing else."""
    ids = {
        source_id_of(each) for each in (SOURCE, RunTestCalls(SOURCE.run_test_id, status="failed"), FILTERED)
    }
    assert len(ids) == 3
    assert source_id_of(RunTestCalls(SOURCE.run_test_id.upper())) == source_id_of(SOURCE)


def test_what_was_left_is_known_by_what_it_read() -> None:
    """Two syncs may share what was read only if they read the same, since the same moments."""
    plans = [planned("changes")]
    digests = {
        plan_digest(plans, PLAIN, 100),
        plan_digest(plans, PLAIN, 60),
        plan_digest(plans, FULL, 100),
        plan_digest([planned("full")], PLAIN, 100),
        plan_digest([planned("changes", attrs.evolve(STATE, complete_as_of=NOW))], PLAIN, 100),
    }
    assert len(digests) == 5
    assert plan_digest([planned("changes")], PLAIN, 100) in digests


def test_states_without_moments() -> None:
    """A source that must be filled anew is read in full."""
    (plan,) = plan_sync([SOURCE], without_moments([STATE]), PLAIN, now=NOW, full_every=None)
    assert plan.mode == "full"
