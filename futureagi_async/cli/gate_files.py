"""Files with the result of a gate: Markdown for people, JUnit XML for CI servers. All texts are escaped."""

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from futureagi_async.cli.formatting import format_count, format_figure, one_line

if TYPE_CHECKING:
    from futureagi_async.analysis import CheckOutcome, RuleResult

_MARKDOWN: Final = re.compile(r"[\\`*{}\[\]<>#|~&@$!^]|(?<!\w)_|_(?!\w)|(?<=:)//|(?<=www)\.")
"""Characters that are markup within a line in Markdown or on GitHub: emphasis, tags, links, mentions."""
_NO_XML: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")


def verdict_words(outcome: "CheckOutcome") -> str:
    """Return the result of a check in one sentence."""
    rules, broken = len(outcome.results), len(outcome.broken)
    words = f"{broken:,} of {format_count(rules, 'rule')} broken" if broken else "no rule is broken"
    if outcome.completeness == "incomplete":
        return f"Not passed, because something is missing. Of the rest, {words}."
    return f"Not passed: {words}." if broken else f"Passed: {words}."


def to_markdown(outcome: "CheckOutcome") -> bytes:
    """Return the result as Markdown: a heading, a table of the rules, and the reasons of broken rules."""
    lines = [
        f"### {_literal(verdict_words(outcome))}",
        "",
        _literal(f"{outcome.label}: {format_count(outcome.calls, 'call')}, {outcome.completeness}."),
        "",
        *(f"* {outcome.completeness}: {_literal(reason)}" for reason in outcome.reasons),
        "",
        "| Rule | Figure | n | Baseline | |",
        "| --- | ---: | ---: | ---: | --- |",
        *map(_markdown_row, outcome.results),
        "",
    ]
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _markdown_row(result: "RuleResult") -> str:
    verdict = "holds" if result.passed else f"**broken**: {_literal(result.reason)}"
    cells = (
        _literal(str(result.rule)),
        format_figure(result.value) or "",
        f"{result.n:,}",
        format_figure(result.baseline) or "",
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _literal(text: str) -> str:
    """Return a text on one line, escaped so that Markdown shows it literally."""
    return _MARKDOWN.sub(lambda sign: "".join(f"&#{ord(each)};" for each in sign[0]), one_line(text))


def to_junit(outcome: "CheckOutcome") -> bytes:
    """Return the result as JUnit XML: one test case per rule, and one for completeness."""
    incomplete = outcome.completeness == "incomplete"
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(f"gate: {outcome.label}"),
        tests=str(len(outcome.results) + 1),
        failures=str(len(outcome.broken)),
        errors=str(int(incomplete)),
    )
    complete = ElementTree.SubElement(suite, "testcase", classname="gate", name="complete")
    if incomplete:
        error = ElementTree.SubElement(complete, "error", message="Something is missing.")
        error.text = _xml("\n".join(outcome.reasons))
    for result in outcome.results:
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name=_xml(str(result.rule)))
        if not result.passed:
            failure = ElementTree.SubElement(case, "failure", message=_xml(result.reason))
            failure.text = _xml(f"{result.rule}: {result.reason} n = {result.n:,}")
    written: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _xml(text: str) -> str:
    """Return a text without characters that XML 1.0 does not allow. The writer escapes the others."""
    return _NO_XML.sub("", "\n".join(map(one_line, text.splitlines())))
