"""Analysis of calls: `summarise`, `compare`, and `check` of rules. Needs the extra ``[analysis]``.

::

    summary = summarise(result)              # a FetchResult, calls, a CallsTable, an export's directory
    comparison = compare("last-week", "this-week")
    outcome = check(summary, [Rule.parse("overall_score.mean >= 7")])
"""

from futureagi_async.analysis.comparing import compare
from futureagi_async.analysis.intervals import Interval
from futureagi_async.analysis.report import calls_in_report, check_report_installed, write_report
from futureagi_async.analysis.rules import CheckOutcome, Rule, RuleFile, RuleResult, check, load_rules
from futureagi_async.analysis.summarising import SummaryBuilder, summarise
from futureagi_async.analysis.values import (
    CallFigures,
    CallToLookAt,
    Comparison,
    Completeness,
    Counts,
    Difference,
    EvaluationSummary,
    Figure,
    MeasureSummary,
    ReadVerdict,
    ScenarioComparison,
    ScenarioSummary,
    Share,
    Summary,
)

__all__ = [
    "CallFigures",
    "CallToLookAt",
    "CheckOutcome",
    "Comparison",
    "Completeness",
    "Counts",
    "Difference",
    "EvaluationSummary",
    "Figure",
    "Interval",
    "MeasureSummary",
    "ReadVerdict",
    "Rule",
    "RuleFile",
    "RuleResult",
    "ScenarioComparison",
    "ScenarioSummary",
    "Share",
    "Summary",
    "SummaryBuilder",
    "calls_in_report",
    "check",
    "check_report_installed",
    "compare",
    "load_rules",
    "summarise",
    "write_report",
]
