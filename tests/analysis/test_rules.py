"""Rules: how they are written, when they hold, and that doubt never passes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futureagi_async import EvalOutput
from futureagi_async.analysis import CheckOutcome, Rule, Summary, check, load_rules, summarise
from tests.support.figures import make_call, passing, report, scored

RNG = np.random.default_rng(3)
SUMMARY = summarise(
    [
        *scored([6.0, 7.0, 8.0, None]),
        *passing([True] * 9 + [False], first=10),
        make_call(30, status="failed", scenario="Other", overall_score=9.0),
    ],
    report=report(),
)


def outcome_of(*rules: str, summary: Summary = SUMMARY, **options: Any) -> CheckOutcome:
    """Check a summary."""
    return check(summary, rules, **options)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("overall_score.mean >= 7", Rule("overall_score.mean", ">=", 7)),
        ("  a.b<=-1.5e3 ", Rule("a.b", "<=", -1500)),
        ("eval.Goal Reached!.pass_rate > .5", Rule("eval.Goal Reached!.pass_rate", ">", 0.5)),
        ("a == 0", Rule("a", "==", 0)),
        ("a != 0", Rule("a", "!=", 0)),
        ("a >= baseline", Rule("a", ">=", 0, from_baseline=True)),
        ("a >= baseline - 0.3", Rule("a", ">=", -0.3, from_baseline=True)),
        ("a <= baseline+2", Rule("a", "<=", 2, from_baseline=True)),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    """A figure, a comparison, and a number or the baseline with an offset; the text of a rule is one, too."""
    assert Rule.parse(text) == rule
    assert Rule.parse(str(rule)) == rule


@given(
    st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    st.floats(-1e12, 1e12).map(lambda value: round(value, 3)),
    st.booleans(),
)
def test_rules_read_back_what_they_say(operator: str, value: float, from_baseline: bool) -> None:
    """Every rule's text gives the same rule."""
    rule = Rule("overall_score.mean", operator, value, from_baseline=from_baseline)
    assert Rule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text", ["", "a", ">= 7", "a >= ", "a => 7", "a >= seven", "a = 7", "a >= 7 8", "a >= nan"]
)
def test_other_texts_are_no_rules(text: str) -> None:
    """What is no rule is refused with an example."""
    with pytest.raises(ValueError, match=r"A rule is such as 'overall_score\.mean >= 7'"):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("", ">=", 1), ValueError),
        ((5, ">=", 1), TypeError),
        (("a", "=>", 1), ValueError),
        (("a", ">=", "1"), TypeError),
        (("a", ">=", True), TypeError),
        (("a", ">=", float("nan")), ValueError),
        (("a", ">=", float("inf")), ValueError),
    ],
)
def test_wrong_parts_are_refused(arguments: Sequence[Any], error: type[Exception]) -> None:
    """Each part of a rule is checked."""
    with pytest.raises(error):
        Rule(*arguments)
    with pytest.raises(TypeError):
        Rule.parse(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "value", "n"),
    [
        ("overall_score.mean >= 7.5", 7.5, 4),
        ("Overall Score.MEDIAN <= 7.5", 7.5, 4),
        ("overall_score.n == 4", 4, 15),
        ("overall_score.missing == 11", 11, 15),
        ("eval.polite.pass_rate >= 0.9", 0.9, 10),
        ("eval.e.pass_rate >= 0.9", 0.9, 10),
        ("eval.polite.failed == 0", 0, 10),
        ("status.failed <= 1", 1, 15),
        ("status.queued == 0", 0, 15),
        ("status.failed.share < 0.07", 1 / 15, 15),
        ("calls == 15", 15, 15),
        ("scenario.other.overall_score.mean == 9", 9, 1),
        ("scenario.refund.eval.polite.pass_rate >= 0.9", 0.9, 10),
    ],
)
def test_figures_have_addresses(rule: str, value: float, n: int) -> None:
    """Every figure can be named, in any case, evaluations by name or id; a status nobody has is zero."""
    outcome = outcome_of(rule)
    (result,) = outcome.results
    assert outcome.passed, result
    assert result.value == pytest.approx(value)
    assert result.n == n


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("overall_score.mean >= 8", "It is 7.5, and >= 8 is asked for."),
        ("overal_score.mean >= 1", "There is no such figure. Nearest: overall_score.mean"),
        ("eval.polte.pass_rate >= 0", "Nearest: eval.polite.pass_rate"),
        ("status.faild <= 0", "Nearest: status.failed"),
        ("ended_reason.silence <= 5", "There is no such figure."),
        ("csat_score.mean >= 0", "No call has it (n = 0)."),
        ("zzzzzz == 0", "There is no such figure."),
    ],
)
def test_rules_break_with_a_reason(rule: str, reason: str) -> None:
    """What is too low, does not exist, or has nothing behind it breaks, and the reason says which."""
    outcome = outcome_of(rule)
    assert not outcome.passed
    assert reason in outcome.broken[0].reason


def test_names_of_several_evaluations_are_not_guessed() -> None:
    """A name that two evaluations have breaks the rule with both candidates, each of which works."""
    summary = summarise([*passing([True], id_="id-a"), *passing([False], first=5, id_="id-b")])
    result = outcome_of("eval.polite.pass_rate >= 0", summary=summary).broken[0]
    assert "say which: eval.id-a.pass_rate, eval.id-b.pass_rate." in result.reason
    assert outcome_of("eval.id-a.pass_rate >= 1", "eval.id-b.pass_rate <= 0", summary=summary).passed


def test_choices_are_told_apart_by_their_very_letters() -> None:
    """Words that differ in punctuation alone are found as they are written."""
    choices = [["A+"], ["A+"], ["A-"]]
    summary = summarise(
        [
            make_call(n, evaluations={"g": EvalOutput("g", "Grade", choice, "choices")})
            for n, choice in enumerate(choices)
        ]
    )
    assert outcome_of("eval.grade.share.A+ > 0.6", "eval.grade.share.A- < 0.4", summary=summary).passed
    assert (
        "2 figures have this name" in outcome_of("eval.grade.share.a > 0", summary=summary).broken[0].reason
    )


def test_a_figure_that_no_double_holds_breaks_a_rule() -> None:
    """The reason does not say that no call has it; nor does that of a baseline."""
    endless, usual = (
        summarise([make_call(n, overall_score=score) for n in range(9)]) for score in (1e308, 7.0)
    )
    (one,) = outcome_of("overall_score.mean >= 7", summary=endless).broken
    assert (one.value, one.reason) == (None, "It is beyond all doubles (n = 9).")
    outcome = check(usual, [Rule.parse("overall_score.mean >= baseline")], baseline=endless)
    assert outcome.broken[0].reason == "In the baseline it is beyond all doubles."


def test_pending_evaluations_do_not_pass() -> None:
    """An evaluation without any result breaks a rule on its results, whatever they would be."""
    pending = EvalOutput("p", "Pending", pending=True)
    summary = summarise([make_call(1, evaluations={"p": pending})])
    for figure in ("pass_rate", "mean"):
        result = outcome_of(f"eval.pending.{figure} >= 0", summary=summary).broken[0]
        assert result.reason == "No call has it (n = 0)."


def test_too_few_calls_break_a_rule() -> None:
    """Fewer values than asked for break a rule that holds otherwise; no calls break every rule."""
    assert outcome_of("overall_score.mean >= 7", min_calls=4).passed
    broken = outcome_of("overall_score.mean >= 7", min_calls=5).broken[0]
    assert broken.reason == "It is made of 4 values, and 5 are asked for."
    assert not outcome_of("status.failed <= 0", summary=summarise([])).passed


def test_incomplete_reads_never_pass() -> None:
    """Whatever the rules say; a read that nobody vouches for passes, and says so."""
    bad = summarise(scored([9.0]), report=report(complete=False, reason="Page 2 failed."))
    unknown = summarise(scored([9.0]))
    outcome = outcome_of("overall_score.mean >= 7", summary=bad)
    assert not outcome.passed
    assert not outcome.broken
    assert outcome.completeness == "incomplete"
    assert "Page 2 failed." in outcome.reasons[0]
    assert outcome_of("overall_score.mean >= 7", summary=unknown).completeness == "unknown"
    assert not outcome_of("overall_score.mean >= 7", baseline=bad).passed


def test_rules_on_a_baseline() -> None:
    """A drop within the limit holds, a larger one breaks, and what the baseline lacks breaks too."""
    before = summarise(scored([8.0, 8.0, 8.0, 8.0]), report=report())
    assert outcome_of("overall_score.mean >= baseline - 0.6", baseline=before).passed
    broken = outcome_of("overall_score.mean >= baseline - 0.4", baseline=before).broken[0]
    assert (broken.value, broken.baseline) == (7.5, 8.0)
    assert broken.reason == "It is 7.5, and >= 7.6 is asked for."
    lacking = outcome_of("eval.polite.pass_rate >= baseline", baseline=before).broken[0]
    assert lacking.reason.startswith("In the baseline: There is no such figure.")
    few = outcome_of("overall_score.mean >= baseline - 1", baseline=summarise(scored([8.0])), min_calls=2)
    assert few.broken[0].reason == "In the baseline it is made of 1 value, and 2 are asked for."
    with pytest.raises(ValueError, match="needs a baseline"):
        outcome_of("overall_score.mean >= baseline")


def test_evaluations_of_the_baseline_may_have_other_ids() -> None:
    """A rule by id finds the baseline's evaluation of the same name."""
    before = summarise(passing([True] * 4, id_="old"))
    after = summarise(passing([True, True, False, False], id_="new"))
    result = outcome_of("eval.new.pass_rate >= baseline - 0.6", summary=after, baseline=before).results[0]
    assert (result.passed, result.baseline) == (True, 1.0)


def test_chance_excuses_a_drop_where_that_is_asked_for() -> None:
    """With ``significant`` a drop breaks a rule only beyond chance; what can't be told breaks it."""
    scores = RNG.normal(7, 1, 40)
    before = summarise([*scored(scores), *passing([True] * 20, first=100)])
    chance = summarise([*scored(scores - 0.1), *passing([True] * 19 + [False], first=100)])
    real = summarise([*scored(scores - 2), *passing([False] * 20, first=100)])
    rules = ("overall_score.mean >= baseline", "eval.polite.pass_rate >= baseline")
    assert len(outcome_of(*rules, summary=chance, baseline=before).broken) == 2
    excused = outcome_of(*rules, summary=chance, baseline=before, significant=True)
    assert excused.passed
    assert "not beyond chance" in excused.results[0].reason
    assert len(outcome_of(*rules, summary=real, baseline=before, significant=True).broken) == 2
    unknown = outcome_of("overall_score.p95 >= baseline", summary=chance, baseline=before, significant=True)
    assert "is not known for figures of its kind" in unknown.broken[0].reason


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((5, ["a > 1"]), {}, TypeError),
        ((SUMMARY, []), {}, ValueError),
        ((SUMMARY, "a > 1"), {}, TypeError),
        ((SUMMARY, 5), {}, TypeError),
        ((SUMMARY, ["nonsense"]), {}, ValueError),
        ((SUMMARY, ["a > 1"]), {"baseline": 5}, TypeError),
        ((SUMMARY, ["a > 1"]), {"min_calls": -1}, ValueError),
        ((SUMMARY, ["a > 1"]), {"min_calls": 1.5}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(arguments: Sequence[Any], options: Any, error: type[Exception]) -> None:
    """What can't be checked is one clear error."""
    with pytest.raises(error):
        check(*arguments, **options)


def test_outcomes_are_plain_data() -> None:
    """An outcome as a dict, and in short."""
    outcome = outcome_of("overall_score.mean >= 8", "calls > 0")
    assert outcome.to_dict()["results"] == [
        {
            "rule": "overall_score.mean >= 8",
            "passed": False,
            "value": 7.5,
            "n": 4,
            "baseline": None,
            "reason": "It is 7.5, and >= 8 is asked for.",
        },
        {"rule": "calls > 0", "passed": True, "value": 15, "n": 15, "baseline": None, "reason": "It is 15."},
    ]
    assert repr(outcome).endswith(": 1 of 2 rules broken, complete>")


def test_files_of_rules(tmp_path: Path) -> None:
    """A TOML file holds rules, and how they are checked."""
    path = tmp_path / "gate.toml"
    path.write_text('rules = ["overall_score.mean >= 7"]\nmin_calls = 20\nsignificant = true\n')
    found = load_rules(path)
    assert found.rules == (Rule("overall_score.mean", ">=", 7),)
    assert (found.min_calls, found.significant) == (20, True)
    path.write_text('rules = ["a > 1"]')
    assert (load_rules(path).min_calls, load_rules(path).significant) == (None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rules = [", "no TOML"),
        ("", "must hold rules"),
        ("rules = []", "must not be empty"),
        ("rules = [5]", "must hold rules"),
        ('rules = ["nonsense"]', "A rule is such as"),
        ('rules = ["a > 1"]\nmin_call = 5', "holds min_call: only rules"),
        ('rules = ["a > 1"]\nmin_calls = true', "min_calls must be a whole number"),
        ('rules = ["a > 1"]\nsignificant = 1', "significant must be true or false"),
        ("\udc80", "no TOML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    """What is wrong with a file is said with its name."""
    path = tmp_path / "gate.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=f"gate.toml.*{reason}"):
        load_rules(path)
    with pytest.raises(FileNotFoundError):
        load_rules(tmp_path / "nowhere.toml")
