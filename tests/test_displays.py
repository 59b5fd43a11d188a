"""What a notebook and a prompt show: short, and safe whatever the server sent."""

from typing import Any

import pytest

from futureagi_async import CallsTable, ExecutionKPIs, FetchReport, RunTestCalls, SourceReport
from futureagi_async.analysis import compare, summarise
from futureagi_async.models.html import MAX_ROWS
from tests.support.exports import RUN, call_of, calls_of
from tests.support.figures import passing, scored

SCREEN = 24
"""Lines."""


def report_of(*verdicts: Any, **fields: Any) -> FetchReport:
    """Return a report on sources with these verdicts."""
    reports = [
        SourceReport(
            source=RUN, verdict=verdict, reason="It <b>stopped</b>.", expected=1_200, received=1_100, **fields
        )
        for verdict in verdicts
    ]
    return FetchReport(tuple(reports))


def test_a_report_is_a_few_lines() -> None:
    """A report says per source what came, and why it is not complete; of many, those that are not first."""
    report = report_of("complete", "incomplete")
    assert repr(report).splitlines() == [
        "<FetchReport: incomplete, 2,200 calls of 2 sources",
        f"  run test {RUN.run_test_id}, 1,100 of 1,200 received, complete",
        f"  run test {RUN.run_test_id}, 1,100 of 1,200 received, incomplete: It <b>stopped</b>.>",
    ]
    assert repr(report.sources[0]).startswith("<SourceReport: run test")
    many = repr(report_of(*["complete"] * 299, "incomplete"))
    assert len(many.splitlines()) == MAX_ROWS + 2 < SCREEN
    assert "incomplete: It" in many.splitlines()[1]
    assert many.endswith("  and 288 more, 288 of them complete>")
    assert repr(FetchReport(())) == "<FetchReport: complete, 0 calls of 0 sources>"


def test_a_report_in_a_notebook() -> None:
    """Its HTML is a table, escaped, and no longer than a screen."""
    html = report_of("incomplete", *["complete"] * 50)._repr_html_()
    assert html.count("<tr>") == MAX_ROWS + 1
    assert "It &lt;b&gt;stopped" in html
    assert "<td>1,100</td>" in html
    assert "and 39 more, 39 of them complete" in html


def test_what_was_searched_for_is_not_shown() -> None:
    """A search may be a customer's number: it stays out of what a prompt shows."""
    source = RunTestCalls(RUN.run_test_id, search="+41 44 668 18 00")
    report = FetchReport(
        (SourceReport(source=source, verdict="complete", reason="All.", expected=1, received=1),)
    )
    assert "668" not in repr(report) + report._repr_html_()


def test_key_figures_fit_on_a_screen() -> None:
    """Figures that are there, without those that are not; mappings by their first keys, or how many."""
    figures = {name: 12345.67 for name in ExecutionKPIs.__slots__ if name.startswith(("avg_", "agent_talk"))}
    kpis = ExecutionKPIs(
        **figures,
        scenario_graphs={str(number): {"nodes": ["x" * 100]} for number in range(40)},
        eval_averages={f"metric_{number}": 1.5 for number in range(40)},
        extra={"note": "x" * 10_000},
        raw=b"{}",
    )
    shown = repr(kpis)
    assert len(shown) < 1_000
    assert "failed_calls" not in shown
    assert "scenario_graphs=<40 keys>" in shown
    assert "'metric_5': 1.5, and 34 more}" in shown
    assert repr(ExecutionKPIs(total_calls=3)) == "<ExecutionKPIs: total_calls=3>"


def test_a_table_in_a_notebook() -> None:
    """Its HTML shows the first calls, escaped and clipped, and nothing of what was said or who called."""
    row = {
        "status": "<script>alert(1)</script>",
        "ended_reason": "x" * 500,
        "customer_name": "+41 44 668 18 00",
    }
    calls = calls_of(*({"id": str(number), **row} for number in range(40)))
    html = CallsTable.from_calls(calls)._repr_html_()
    assert html.count("<tr>") == MAX_ROWS + 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script" not in html
    assert "x" * 81 not in html
    assert "668" not in html
    assert "and 28 more calls" in html
    assert "40 calls, 0 evaluations, nothing says whether that is all" in html


@pytest.mark.parametrize("columns", [["duration"], ["transcript", "total_cost"]])
def test_a_table_of_few_columns_in_a_notebook(columns: list[str]) -> None:
    """Of the columns that there are, those are shown that are short; with none of them, how many calls."""
    html = CallsTable.from_calls([call_of(duration=5)], columns=columns)._repr_html_()
    assert ("<th>duration</th>" in html) == ("duration" in columns)
    assert "transcript" not in html
    assert html.startswith("<div><p>1 calls")


def test_a_summary_in_a_notebook() -> None:
    """Its HTML shows results of evaluations, then measures, each with its n; names are escaped."""
    summary = summarise([*passing([True, False], name="<b>Polite</b>"), *scored([6.0, 7.0], first=100)])
    html = summary._repr_html_()
    assert "<td>&lt;b&gt;Polite&lt;/b&gt;</td><td>passed</td><td>0.5</td><td>2</td>" in html
    assert "<td>overall_score</td><td>mean</td><td>6.5</td><td>2</td>" in html
    assert "4 calls, unknown" in html


def test_a_comparison_in_a_notebook() -> None:
    """Its HTML shows what differs beyond chance, and says where a read may lack calls."""
    scores = [6.0, 6.5, 7.0, 7.5] * 10
    html = compare(scored(scores), scored([score - 3 for score in scores], first=100))._repr_html_()
    assert "<td>overall score, mean</td><td>6.75</td><td>3.75</td><td>-3</td><td>" in html
    assert "At least one read is not known to be complete." in html
