"""The validate stage: check every dataset before a model is loaded, set bad rows aside, measure what can be forgotten.

Great Expectations tests the rules of `expectations`, per dataset. Rows that break a *quarantine* rule leave the dataset
and are kept, with their reasons, in `quarantine.jsonl`: of duplicates all but the first, of a text with two labels all
rows (which label is right cannot be known), of a leak into a test set the row outside the test set. Texts that differ
only in case, white space or Unicode form count as the same (`columns.same`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import bases
from holdfast import rows as dataset_rows
from holdfast.errors import BadInput
from holdfast.generation import encoding
from holdfast.records import DatasetVersion, Expectation, HeadInfo, Start, Validated
from holdfast.validation import columns, competence, evidence, expectations, finding, unlabelled
from holdfast.validation.expectations import Scope
from holdfast.validation.finding import Finding
from holdfast.validation.suite import Runner

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.spec import Learn, Remember

_CHUNK = 1000


def validate(
    datasets: dict[str, DatasetVersion],
    start: Start,
    learn: Learn,
    remember: Sequence[Remember],
    max_length: int,
    home: Home,
) -> Validated:
    """Return the datasets without their bad rows, the labels to learn, and the evidence (see `evidence`).

    Labels are those of the start model's head where it has `learn.head`, in its order, else those of `learn.train`,
    sorted. Raises `BadInput` for an unknown expectation; a remembered task without a head, at chance, or with a margin
    that its test set cannot establish; labels other than the head's; missing columns or wrong types; a dataset of
    which more than `learn.reject_at_most` is bad. Rows set aside are kept, and the message says where.
    """
    heads = {} if learn.generates else competence.heads(start, learn, remember)
    findings = _inspect(datasets, start, learn, remember, heads, max_length, home)
    for found in findings:
        _judge(found, findings, learn, home)
    labels = () if learn.generates else _labels(findings, start, learn)
    good = {found.scope.key: _version(found, home) for found in findings}
    competence.check_margins(good, remember)
    competences = competence.check(good, start, learn, remember, max_length, home)
    return Validated(
        datasets={key: good[key] for key in datasets},
        labels=labels,
        quarantined=sum(len(found.reasons) for found in findings),
        expectations=tuple(brief for found in findings for brief in _briefs(found)),
        competences=competences,
        artifact=evidence.put(findings, competences, home),
    )


def _inspect(
    datasets: Mapping[str, DatasetVersion],
    start: Start,
    learn: Learn,
    remember: Sequence[Remember],
    heads: Mapping[str, HeadInfo],
    max_length: int,
    home: Home,
) -> list[Finding]:
    """Return what is found in each dataset, `learn.train` first: its good rows say which labels are known."""
    rules = expectations.chosen(learn.expect, learn.generates)
    metrics = {"learn": learn.metric} | {f"remember.{task.name}": task.metric for task in remember}
    names = columns.PROMPT_AND_ANSWER if learn.generates else columns.TEXT_AND_LABEL
    order = sorted((key for key in datasets if key != unlabelled.KEY), key="learn.train".__ne__)
    rows = {key: dataset_rows.read(home, datasets[key]) for key in order}
    tests, runner = columns.places(rows.items(), names[0]), Runner()
    tokens: _Tokens | _Pairs = _Pairs(start, learn, remember, max_length) if learn.generates else _Tokens(start)
    learned: tuple[str, ...] = ()
    findings = []
    for key, own in rows.items():
        labels = learned if key.startswith("learn.") or learn.generates else heads[_task(key)].labels
        metric = metrics[key.rpartition(".")[0]]
        read = columns.GOOD_AND_BAD if metric == "pairs" else names
        scope = Scope(key, labels, tokens.room(key, max_length), read, metric)
        found = finding.inspect(datasets[key], own, rules, scope, tests, tokens, runner)
        if key == "learn.train" and not learn.generates:
            learned = _known(found)
        findings.append(found)
    if unlabelled.KEY in datasets:
        findings.append(unlabelled.inspect(datasets[unlabelled.KEY], columns.places(rows.items(), names[0]), home))
    return findings


class _Tokens:
    """Counts the tokens of texts as the start model's tokenizer makes them, special ones included."""

    def __init__(self, start: Start) -> None:
        self._tokenizer = bases.tokenizer(bases.locate(start.base))

    def room(self, key: str, max_length: int) -> int:
        """Return how many tokens of a text are read."""
        return min(max_length, int(self._tokenizer.model_max_length))

    def __call__(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for first in range(0, len(texts), _CHUNK):
            encoded = self._tokenizer(
                list(texts[first : first + _CHUNK]), truncation=False, verbose=False, return_attention_mask=False
            )
            counts += [len(ids) for ids in encoded["input_ids"]]
        return counts


class _Pairs:
    """Counts the tokens of prompts with their answers, or with the longest answer that may be generated.

    A row to train on must fit `max_length`, a row to be asked, and a text that is scored, the model's window.
    """

    def __init__(self, start: Start, learn: Learn, remember: Sequence[Remember], max_length: int) -> None:
        folder = bases.locate(start.base)
        self._encoder = encoding.Encoder(bases.tokenizer(folder))
        self._window = min(int(self._encoder.tokenizer.model_max_length), 1 << 30)
        self._metrics = {f"remember.{task.name}": task.metric for task in remember}
        self._longest = {task.name: task.max_new_tokens for task in remember} | {"": learn.max_new_tokens}
        self._asked, self._metric = 0, learn.metric

    def room(self, key: str, max_length: int) -> int:
        """Return how many tokens a row of a dataset may have, and remember which is counted next."""
        trained, self._metric = key.endswith(".train"), self._metrics.get(key.rpartition(".")[0])
        self._asked = 0 if trained else self._longest[_task(key) if key.startswith("remember.") else ""]
        return min(max_length, self._window) if trained else self._window

    def __call__(self, prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
        if self._metric in ("likelihood", "pairs"):  # of a pair the longer text counts; alone, a text stands twice
            texts = zip(prompts, answers, strict=True)
            return [max(len(self._encoder.text(text).input_ids) for text in {*both}) for both in texts]
        counts = []
        for prompt, answer in zip(prompts, answers, strict=True):
            pair = self._encoder.pair(prompt, answer)
            before = len(pair.input_ids) - pair.scored
            counts.append(before + max(pair.scored, self._asked))
        return counts


def _task(key: str) -> str:
    """Return the remembered task of a dataset's key, `remember.NAME.ROLE`."""
    return key.removeprefix("remember.").rpartition(".")[0]


def _known(train: Finding) -> tuple[str, ...]:
    return tuple(sorted({str(row.get("label")) for row in train.kept}))


def _judge(found: Finding, findings: Sequence[Finding], learn: Learn, home: Home) -> None:
    """Raise `BadInput` where a dataset breaks a rule that stops the run, or has too many bad rows."""
    if found.stop:
        raise _stopped(found, evidence.keep(findings, home))
    if found.share > learn.reject_at_most:
        raise _rejected(found, learn, evidence.keep(findings, home))
    if not found.kept:
        raise BadInput(f"{found.scope.key} has no good row left", file=found.version.ref)
    if found.scope.key == "learn.train" and not learn.generates and len(_known(found)) < 2:
        only = ", ".join(f"`{label}`" for label in _known(found))
        what = f"the good rows of learn.train have one label only, {only}"
        raise BadInput(what, file=found.version.ref, key="learn.label", expected="at least two labels")


def _stopped(found: Finding, folder: Path) -> BadInput:
    broken = found.stop
    assert broken is not None
    key, row = str(broken.arguments.get("column", "")), broken.rows[0] if broken.rows else None
    label = found.rows[0].get("label") if found.rows else None
    what = {
        "columns": f"{found.scope.key} has no column `{key}`",
        "some-rows": f"{found.scope.key} holds no rows",
        "two-labels": f"every row of {found.scope.key} has the same label, `{label}`: there is nothing to learn",
        "types": f"the {key} is not a string in {len(broken.rows)} of {len(found.rows)} rows of {found.scope.key}",
    }[broken.rule]
    return BadInput(
        what,
        file=found.version.ref,
        row=row,
        key=key or None,
        expected=_EXPECTED.get(broken.rule),
        remedy=f"Nothing was trained; details are in {folder}.",
    )


_EXPECTED = {"two-labels": "at least two labels", "types": "a string", "some-rows": "at least one row of data"}


def _rejected(found: Finding, learn: Learn, folder: Path) -> BadInput:
    number, reasons = next(iter(found.reasons.items()))
    parted = found.scope.key.startswith("learn.") and not (learn.valid and learn.test)
    name = f"row {number} of {found.scope.key}" + (f" (id {found.rows[number - 1]['id']})" if parted else "")
    return BadInput(
        f"{len(found.reasons)} of {len(found.rows)} rows are bad, {found.share:.1%} where `learn.reject_at_most` "
        f"allows {learn.reject_at_most:.1%}; the first is {name}: {'; '.join(reasons)}",
        file=found.version.ref,
        row=None if parted else number,  # of parts split off one file, only the ids lead back to it
        remedy=f"Nothing was trained. The bad rows and their reasons are in {folder / 'quarantine.jsonl'}: correct the "
        "data, or raise `learn.reject_at_most`.",
    )


def _labels(findings: Sequence[Finding], start: Start, learn: Learn) -> tuple[str, ...]:
    """Return the labels in the order of the head's logits; raise `BadInput` where the head's are others."""
    train = findings[0]
    known, head = _known(train), start.heads.get(learn.head)
    if head is None or set(head.labels) == set(known):
        return head.labels if head else known
    differing = {"only the data has": set(known) - set(head.labels), "only the head has": set(head.labels) - set(known)}
    said = "; ".join(f"{whose} {', '.join(sorted(labels))}" for whose, labels in differing.items() if labels)
    raise BadInput(
        f"the labels are not those of the start model's head `{learn.head}`: {said}",
        file=train.version.ref,
        row=next((n for n, row in enumerate(train.rows, 1) if row["label"] not in head.labels), None),
        key="learn.head",
        expected=", ".join(head.labels),
        remedy="Correct the labels, or give the head another name to make a new one.",
    )


def _version(found: Finding, home: Home) -> DatasetVersion:
    """Return the dataset version of the good rows: the very same where none was set aside."""
    return dataset_rows.version(home, found.kept, like=found.version) if found.reasons else found.version


def _briefs(found: Finding) -> Iterator[Expectation]:
    """Give the record of every rule: met when all its expectations are."""
    for name in dict.fromkeys(outcome.rule for outcome in found.outcomes):
        outcomes = [outcome for outcome in found.outcomes if outcome.rule == name]
        yield Expectation(
            dataset=found.scope.key,
            expectation=name,
            success=all(outcome.success for outcome in outcomes),
            unexpected=len({row for outcome in outcomes for row in outcome.rows}),
            severity=outcomes[0].severity,
            example=found.examples.get(name, ""),
        )
