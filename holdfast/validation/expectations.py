"""What is expected of data: rules by name, each a few Great Expectations expectations, a severity and a reason.

`NAMED` are those that `learn.expect` chooses from; `SCHEMA` and `ALWAYS` hold for every dataset, chosen or not, because
a run would fail later without them. A row that breaks a *quarantine* rule is set aside, a broken *stop* rule ends the
run, a broken *warn* rule is shown. Where answers are learned and not labels, the prompt counts as the text, the answer
takes the label's place, the rules about labels fall away, and a row that does not fit is set aside: an answer is never
cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from holdfast import tables
from holdfast.compatibility import LABELLED
from holdfast.errors import BadInput
from holdfast.validation.columns import ENDLESS, GOOD_AND_BAD, INVISIBLE, PROMPT_AND_ANSWER, TEXT_AND_LABEL

Severity = Literal["stop", "quarantine", "warn"]
Checks = list[tuple[str, dict[str, Any]]]  # the name of a Great Expectations class, and its arguments
_GONE = dict.fromkeys(map(ord, INVISIBLE))
_OUTLIER = 3.0  # Tukey's outer fences, see `columns.length_scores`


@dataclass(frozen=True)
class Scope:
    """What a rule may depend on: the dataset's key, the labels its rows may have, and how long a text may be.

    `labels` is empty for the dataset that defines the labels. `names` are the columns that are read. `metric` is how
    answers are judged, where answers are learned.
    """

    key: str
    labels: tuple[str, ...]
    max_length: int
    names: tuple[str, str] = TEXT_AND_LABEL
    metric: str | None = None

    @property
    def role(self) -> str:
        """`train`, `valid` or `test`."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True)
class Rule:
    """A named expectation: `checks(scope)` says what Great Expectations tests, `reason(row, scope)` why a row fails."""

    name: str
    severity: Severity
    checks: Callable[[Scope], Checks]
    reason: Callable[[dict[str, Any], Scope], str]


def _columns(scope: Scope) -> Checks:
    return [("ExpectColumnToExist", {"column": column}) for column in sorted({"id", *scope.names})]


def _some_rows(scope: Scope) -> Checks:
    return [("ExpectTableRowCountToBeBetween", {"min_value": 1})]


def _types(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeOfType", {"column": name, "type_": "str"}) for name in sorted({"id", *scope.names})]


def _wrong_type(row: dict[str, Any], scope: Scope) -> str:
    names = sorted({"id", *scope.names})
    name = next((name for name in names if not isinstance(row[name], str | None)), scope.names[0])
    return f"the {name} is a {type(row[name]).__name__}"


def _no_missing_values(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToNotBeNull", {"column": column}) for column in scope.names]


def _missing(row: dict[str, Any], scope: Scope) -> str:
    return f"the {scope.names[0] if row[scope.names[0]] is None else scope.names[1]} is missing"


def _two_labels(scope: Scope) -> Checks:
    many = ("ExpectColumnUniqueValueCountToBeBetween", {"column": "label", "min_value": 2})
    return [many] if scope.key == "learn.train" else []


def _no_endless_text(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeBetween", {"column": "characters", "max_value": ENDLESS})]


def _fits_the_model(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeBetween", {"column": "tokens", "max_value": scope.max_length})]


def _no_similar_labels(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeInSet", {"column": "nearly", "value_set": [""]})]


def _texts_differ(scope: Scope) -> Checks:
    apart = ("ExpectColumnValuesToBeInSet", {"column": "alike", "value_set": [""]})
    return [apart] if scope.names == GOOD_AND_BAD else []


def _answer_among_choices(scope: Scope) -> Checks:
    among = ("ExpectColumnValuesToBeInSet", {"column": "unanswerable", "value_set": [""]})
    return [among] if scope.metric == "choice" else []


def _distinct_ids(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeInSet", {"column": "id_again", "value_set": [""]})]


def _no_empty_text(scope: Scope) -> Checks:
    read = scope.names if scope.names in (PROMPT_AND_ANSWER, GOOD_AND_BAD) else scope.names[:1]
    return [("ExpectColumnValuesToMatchRegex", {"column": name, "regex": rf"[^\s{INVISIBLE}]"}) for name in read]


def _empty(row: dict[str, Any], scope: Scope) -> str:
    text, answer = scope.names
    return f"the {text if not str(row[text] or '').translate(_GONE).strip() else answer} is empty"


def _no_duplicates(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeInSet", {"column": "repeats", "value_set": [""]})]


def _no_conflicting_labels(scope: Scope) -> Checks:
    return [("ExpectColumnValuesToBeInSet", {"column": "contradicts", "value_set": [""]})]


def _known_labels(scope: Scope) -> Checks:
    known = ("ExpectColumnValuesToBeInSet", {"column": "label", "value_set": list(scope.labels)})
    return [known] if scope.labels else []


def _no_leak_into_test(scope: Scope) -> Checks:
    apart = ("ExpectColumnValuesToBeInSet", {"column": "leaks_into", "value_set": [""]})
    return [] if scope.role == "test" else [apart]


def _balanced_labels(scope: Scope) -> Checks:
    checks: Checks = [("ExpectColumnValuesToBeInSet", {"column": "rare_label", "value_set": [""]})]
    if scope.labels:
        values = {"column": "label", "value_set": list(scope.labels)}
        checks.append(("ExpectColumnDistinctValuesToContainSet", values))
    return checks


def _no_length_outliers(scope: Scope) -> Checks:
    bounds = {"column": "length_score", "min_value": -_OUTLIER, "max_value": _OUTLIER}
    return [("ExpectColumnValuesToBeBetween", bounds)]


def _nothing(row: dict[str, Any], scope: Scope) -> str:
    return "not as expected"


SCHEMA = (
    Rule("some-rows", "stop", _some_rows, _nothing),
    Rule("columns", "stop", _columns, _nothing),
)
ALWAYS = (
    Rule("types", "stop", _types, _wrong_type),
    Rule("two-labels", "stop", _two_labels, _nothing),
    Rule("no-missing-values", "quarantine", _no_missing_values, _missing),
    Rule(
        "no-endless-text",
        "quarantine",
        _no_endless_text,
        lambda row, scope: f"the {scope.names[0]} has {row['characters']} characters, more than {ENDLESS}",
    ),
    Rule(
        "known-labels",
        "quarantine",
        _known_labels,
        lambda row, scope: (
            f"the label `{row['label']}` is not known here: expected {tables.nearest(str(row['label']), scope.labels)}"
        ),
    ),
    Rule(
        "fits-the-model",
        "warn",
        _fits_the_model,
        lambda row, scope: f"{row['tokens']} tokens, of which the model reads {scope.max_length}",
    ),
    Rule(
        "no-similar-labels",
        "warn",
        _no_similar_labels,
        lambda row, scope: (
            f"the label {row['label']!r} differs from {row['nearly']!r} only in case or white space, and is another"
        ),
    ),
    Rule("distinct-ids", "warn", _distinct_ids, lambda row, scope: f"the id `{row['id']}` is also {row['id_again']}'s"),
)
NAMED = {
    rule.name: rule
    for rule in (
        Rule("no-empty-text", "quarantine", _no_empty_text, _empty),
        Rule(
            "no-duplicates",
            "quarantine",
            _no_duplicates,
            lambda row, scope: f"the same {scope.names[0]} and {scope.names[1]} as {row['repeats']}",
        ),
        Rule(
            "no-conflicting-labels",
            "quarantine",
            _no_conflicting_labels,
            lambda row, scope: f"the same text is labelled `{row['label']}` here and {row['contradicts']}",
        ),
        next(rule for rule in ALWAYS if rule.name == "known-labels"),
        Rule(
            "no-leak-into-test",
            "quarantine",
            _no_leak_into_test,
            lambda row, scope: f"the same {scope.names[0]} stands in {row['leaks_into']}",
        ),
        Rule(
            "balanced-labels",
            "warn",
            _balanced_labels,
            lambda row, scope: f"few rows are labelled `{row['rare_label']}`",
        ),
        Rule(
            "no-length-outliers",
            "warn",
            _no_length_outliers,
            lambda row, scope: f"the {scope.names[0]} has {row['characters']} characters, unlike the others",
        ),
    )
}


_OF_LABELS = {"two-labels", "no-similar-labels", *LABELLED}
_FITS = Rule(
    "fits-the-model",
    "quarantine",
    _fits_the_model,
    lambda row, scope: (
        f"{row['tokens']} tokens{'' if scope.names == GOOD_AND_BAD else ' with its answer'}, "
        f"and there is room for {scope.max_length}"
    ),
)
_DIFFER = Rule("texts-differ", "quarantine", _texts_differ, lambda row, scope: "the good and the bad text are the same")
_AMONG = Rule("answer-among-choices", "quarantine", _answer_among_choices, lambda row, scope: str(row["unanswerable"]))


def chosen(expect: Iterable[str], generates: bool = False) -> tuple[Rule, ...]:
    """Return the rules of a pipeline: those of `ALWAYS` and those it names, each once.

    Where it `generates`, those about labels are left out, and one about minimal pairs and one about choices are added.
    Raises `BadInput` for an unknown name, with the nearest known one.
    """
    expect = tuple(expect)
    for name in expect:
        if name not in NAMED:
            raise BadInput(
                f"no expectation named `{name}`", key="learn.expect", expected=tables.nearest(name, sorted(NAMED))
            )
    named = [NAMED[name] for name in dict.fromkeys(expect) if NAMED[name] not in ALWAYS]
    if not generates:
        return (*ALWAYS, *named)
    kept = [rule for rule in (*ALWAYS, *named) if rule.name not in _OF_LABELS]
    return (*(_FITS if rule.name == _FITS.name else rule for rule in kept), _DIFFER, _AMONG)
