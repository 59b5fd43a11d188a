"""Rules on the figures of a summary, and whether they hold: `Rule`, `check`."""

import math
import operator
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self

import attrs

from futureagi_async.analysis.texts import counted, slug
from futureagi_async.analysis.values import (
    Comparison,
    Completeness,
    Difference,
    Figure,
    Summary,
)
from futureagi_async.options import brief, check_kind

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RULE: Final = re.compile(
    rf"\s*(?P<figure>(?:\S.*?)?[^\s<>=!])\s*(?P<operator>>=|<=|==|!=|>|<)\s*"
    rf"(?:(?P<value>{_NUMBER})|baseline\s*(?P<offset>[+-]\s*(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?)\s*"
)
_EXAMPLES: Final = "'overall_score.mean >= 7' or 'overall_score.mean >= baseline - 0.3'"
_PARTS: Final = re.compile(r"(?i)\s*(eval|scenario)\s*\.")
_NEAREST: Final = 3


def _check_figure(_rule: object, _attribute: object, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"figure must be a str, not {brief(value)}.")
    if not value.strip():
        raise ValueError("figure must name a figure, such as overall_score.mean.")


def _check_operator(_rule: object, _attribute: object, value: str) -> None:
    if value not in _OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(_OPERATORS)}, not {brief(value)}.")


def _check_value(_rule: object, _attribute: object, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"value must be a number, not {brief(value)}.")
    if not math.isfinite(value):
        raise ValueError(f"value must be a finite number, not {value}.")


@attrs.frozen
class Rule:
    """What must hold of a figure, such as ``overall_score.mean >= 7``.

    A figure's name is written in any case, with any punctuation: ``eval.Goal Reached.pass_rate`` is
    ``eval.goal_reached.pass_rate``. `Summary.figures` yields all there are.
    """

    figure: str = attrs.field(validator=_check_figure)
    operator: str = attrs.field(validator=_check_operator)
    """``>=``, ``<=``, ``>``, ``<``, ``==`` or ``!=``."""
    value: float = attrs.field(validator=_check_value)
    from_baseline: bool = attrs.field(default=False, kw_only=True)
    """Whether ``value`` is added to the same figure of the baseline."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``FIGURE >= NUMBER``, or ``FIGURE >= baseline - NUMBER``; raises `ValueError` for others."""
        if not isinstance(text, str):
            raise TypeError(f"A rule is a text such as {_EXAMPLES}, not {brief(text)}.")
        found = _RULE.fullmatch(text)
        if found is None:
            raise ValueError(f"A rule is such as {_EXAMPLES}, not {brief(text)}.")
        number = found["value"] or (found["offset"] or "0").replace(" ", "")
        return cls(found["figure"], found["operator"], float(number), from_baseline=found["value"] is None)

    def __str__(self) -> str:
        if not self.from_baseline:
            return f"{self.figure} {self.operator} {self.value:.15g}"
        offset = f" {'-' if self.value < 0 else '+'} {abs(self.value):.15g}" if self.value else ""
        return f"{self.figure} {self.operator} baseline{offset}"


@attrs.frozen(kw_only=True)
class RuleResult:
    """Whether a rule holds, and why."""

    rule: Rule
    passed: bool
    reason: str
    """One sentence for people."""
    value: float | None = None
    """The figure; ``None`` where it does not exist, or nothing was there to make it of."""
    n: int = 0
    """How many values the figure is made of."""
    baseline: float | None = None
    """The baseline's figure, for a rule that needs it."""

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        others = ("passed", "value", "n", "baseline", "reason")
        return {"rule": str(self.rule), **{name: getattr(self, name) for name in others}}


@attrs.frozen(kw_only=True, repr=False)
class CheckOutcome:
    """Whether all rules hold."""

    results: tuple[RuleResult, ...]
    """In the order of the rules."""
    completeness: Completeness
    """Of what was read, baseline included: the worse of both."""
    reasons: tuple[str, ...] = ()
    """Why it is incomplete or unknown."""
    label: str
    calls: int

    @property
    def passed(self) -> bool:
        """Whether all rules hold. On an incomplete read none does: what is missing could break it."""
        return self.completeness != "incomplete" and all(result.passed for result in self.results)

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that do not hold."""
        return tuple(result for result in self.results if not result.passed)

    def to_dict(self) -> dict[str, object]:
        """Return all of it, ready for JSON."""
        return {
            "passed": self.passed,
            "completeness": self.completeness,
            "reasons": list(self.reasons),
            "label": self.label,
            "calls": self.calls,
            "results": [result.to_dict() for result in self.results],
        }

    def __repr__(self) -> str:
        word = "passed" if self.passed else f"{len(self.broken)} of {len(self.results)} rules broken"
        return f"<CheckOutcome of {self.label}: {word}, {self.completeness}>"


def check(
    summary: Summary,
    rules: Iterable[Rule | str],
    baseline: Summary | None = None,
    *,
    min_calls: int = 1,
    significant: bool = False,
) -> CheckOutcome:
    """Say of each rule whether it holds.

    A rule breaks, too, where its figure does not exist (the reason names the nearest that do), where several
    evaluations have the name (the reason names them by id, which works), where nothing is there to make the
    figure of, and where that is less than ``min_calls`` values. An incomplete read never passes.

    Args:
        summary: From `summarise`.
        rules: Rules, or their texts.
        baseline: What rules with ``baseline`` compare with.
        min_calls: How many values each figure must be made of at least.
        significant: Break a rule on the baseline only where the difference is also beyond chance; see
            `compare`, which tells for means, medians, pass rates and shares.

    Raises `ValueError` for texts that are no rules, none at all, and rules on a baseline that is not there.

    """
    check_kind("summary", summary, Summary)
    if baseline is not None:
        check_kind("baseline", baseline, Summary)
    if isinstance(min_calls, bool) or not isinstance(min_calls, int):
        raise TypeError(f"min_calls must be a whole number, not {brief(min_calls)}.")
    if min_calls < 0:
        raise ValueError(f"min_calls must be at least 0, not {min_calls}.")
    parsed = check_rules(rules)
    if baseline is None and (relative := [rule for rule in parsed if rule.from_baseline]):
        raise ValueError(f"The rule {str(relative[0])!r} needs a baseline.")
    comparison = None
    if baseline is not None and significant and any(rule.from_baseline for rule in parsed):
        from futureagi_async.analysis.comparing import compare

        comparison = compare(baseline, summary)
    earlier = None if baseline is None else _Figures(baseline)
    work = _Check(_Figures(summary), earlier, min_calls, comparison)
    verdicts = [each.verdict for each in (summary, baseline) if each is not None]
    return CheckOutcome(
        results=tuple(map(work.result, parsed)),
        completeness=_worst([verdict.completeness for verdict in verdicts]),
        reasons=tuple(reason for verdict in verdicts for reason in verdict.reasons),
        label=summary.label,
        calls=summary.calls,
    )


def check_rules(rules: Iterable[Rule | str]) -> tuple[Rule, ...]:
    """Return rules, or raise `TypeError` or `ValueError` where some are none, or there are none."""
    if isinstance(rules, str | Rule) or not isinstance(rules, Iterable):
        raise TypeError(f"rules must be a list of rules, not {brief(rules)}.")
    parsed = tuple(rule if isinstance(rule, Rule) else Rule.parse(rule) for rule in rules)
    if not parsed:
        raise ValueError("rules must not be empty: nothing would be checked.")
    return parsed


def _worst(found: Iterable[Completeness]) -> Completeness:
    order: tuple[Completeness, ...] = ("complete", "unknown", "incomplete")
    return max(found, key=order.index)


class _Figures:
    """A summary's figures by address, in any case and punctuation."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._names: dict[str, list[Figure]] = {}
        self._has_scenarios = False
        self._add(summary.figures())

    def _add(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            self._names.setdefault(slug(figure.name), []).append(figure)
            if figure.evaluation_id is not None:
                by_id = _by_id(figure)
                if slug(by_id) != slug(figure.name):
                    self._names.setdefault(slug(by_id), []).append(figure)

    def find(self, name: str) -> list[Figure]:
        """Return the figures of this name; several where evaluations share it."""
        if slug(name).startswith("scenario") and not self._has_scenarios:
            self._has_scenarios = True
            for scenario in self._summary.scenarios:
                prefix = f"scenario.{slug(scenario.label)}."
                self._add(attrs.evolve(each, name=prefix + each.name) for each in scenario.figures())
        found = self._names.get(slug(name), [])
        return [each for each in found if each.name == name] or found

    def nearest(self, name: str) -> list[str]:
        """Return names that look like this one."""
        found = get_close_matches(slug(name), self._names, n=_NEAREST, cutoff=0.5)
        return [self._names[each][0].name for each in found]


def _by_id(figure: Figure) -> str:
    """Return an evaluation's figure's address with its id in place of its name."""
    before, eval_, rest = figure.name.partition("eval.")
    return f"{before}{eval_}{figure.evaluation_id}.{rest.partition('.')[2]}"


@attrs.frozen
class _Check:
    figures: _Figures
    baseline: _Figures | None
    min_calls: int
    comparison: Comparison | None

    def result(self, rule: Rule) -> RuleResult:
        """Return whether a rule holds."""
        found = self.figures.find(rule.figure)
        if len(found) != 1:
            return RuleResult(rule=rule, passed=False, reason=_not_one(rule.figure, found, self.figures))
        (figure,) = found
        limit, earlier = rule.value, None
        if self.baseline is not None and rule.from_baseline:
            (earlier, trouble) = self._earlier(rule, figure, self.baseline)
            if earlier is None:
                return self._broken(rule, figure, trouble)
            limit += earlier
        if figure.value is None:
            why = "It is beyond all doubles" if figure.n else "No call has it"
            return self._broken(rule, figure, f"{why} (n = {figure.n:,}).", earlier)
        if figure.n < self.min_calls:
            reason = f"It is made of {counted(figure.n, 'value')}, and {self.min_calls:,} are asked for."
            return self._broken(rule, figure, reason, earlier)
        return self._compared(rule, figure, limit, earlier)

    def _compared(self, rule: Rule, figure: Figure, limit: float, earlier: float | None) -> RuleResult:
        assert figure.value is not None
        holds = _OPERATORS[rule.operator](figure.value, limit)
        reason = f"It is {_shown(figure.value)}" + (
            "." if holds else f", and {rule.operator} {_shown(limit)} is asked for."
        )
        if not holds and earlier is not None and self.comparison is not None:
            difference = self._difference(figure, self.comparison)
            if difference is None:
                reason += " Whether chance explains that is not known for figures of its kind."
            elif not difference.beyond_chance:
                holds, reason = True, f"{reason} That is not beyond chance."
        return RuleResult(
            rule=rule, passed=holds, reason=reason, value=figure.value, n=figure.n, baseline=earlier
        )

    def _earlier(self, rule: Rule, figure: Figure, baseline: _Figures) -> tuple[float | None, str]:
        """Return the baseline's figure, or why there is none."""
        found = baseline.find(rule.figure)
        if not found:  # it may be named by an id that the baseline has not
            found = baseline.find(figure.name)
        if len(found) != 1:
            return None, f"In the baseline: {_not_one(rule.figure, found, baseline)}"
        if found[0].value is None:
            beyond = found[0].n > 0
            return None, f"In the baseline {'it is beyond all doubles' if beyond else 'no call has it'}."
        if found[0].n < self.min_calls:
            words = f"In the baseline it is made of {counted(found[0].n, 'value')}"
            return None, f"{words}, and {self.min_calls:,} are asked for."
        return found[0].value, ""

    @staticmethod
    def _broken(rule: Rule, figure: Figure, reason: str, earlier: float | None = None) -> RuleResult:
        return RuleResult(
            rule=rule, passed=False, reason=reason, value=figure.value, n=figure.n, baseline=earlier
        )

    @staticmethod
    def _difference(figure: Figure, comparison: Comparison) -> Difference | None:
        if figure.evaluation_id is None:
            return comparison.difference(figure.name)
        wanted = slug(_by_id(figure))
        same = (each for each in comparison.differences if each.evaluation_id == figure.evaluation_id)
        return next(
            (
                each
                for each in same
                if slug(_by_id(Figure(each.name, None, 0, "", each.evaluation_id))) == wanted
            ),
            None,
        )


def _not_one(name: str, found: list[Figure], figures: _Figures) -> str:
    """Say that a figure is not there, or there several times."""
    if found:
        candidates = [_by_id(each) if each.evaluation_id else each.name for each in found]
        return f"{len(found)} figures have this name; say which: {', '.join(candidates)}."
    if nearest := figures.nearest(name):
        return f"There is no such figure. Nearest: {', '.join(nearest)}."
    return "There is no such figure."


def _shown(value: float) -> str:
    return f"{value:.6g}"


@attrs.frozen
class RuleFile:
    """Rules from a TOML file, and how they are checked."""

    rules: tuple[Rule, ...]
    min_calls: int | None = None
    significant: bool | None = None


def load_rules(path: str | os.PathLike[str]) -> RuleFile:
    """Read ``rules = ["overall_score.mean >= 7", ...]``, ``min_calls`` and ``significant`` from a TOML file.

    Raises `ValueError` for anything else in it, `OSError` where it can't be read.
    """
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}.") from None
    unknown = found.keys() - {"rules", "min_calls", "significant"}
    if unknown:
        raise ValueError(
            f"{path} holds {', '.join(sorted(unknown))}: only rules, min_calls and significant are known."
        )
    return RuleFile(
        _rules_in(found.get("rules"), path),
        _checked(found, "min_calls", int, path),
        _checked(found, "significant", bool, path),
    )


def _rules_in(texts: object, path: object) -> tuple[Rule, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{path} must hold rules, a list of texts such as {_EXAMPLES}.")
    try:
        return check_rules(texts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _checked(found: Mapping[str, Any], name: str, kind: type, path: object) -> Any:
    value = found.get(name)
    if value is not None and type(value) is not kind:
        words = "a whole number" if kind is int else "true or false"
        raise ValueError(f"{path}: {name} must be {words}, not {brief(value)}.")
    return value
