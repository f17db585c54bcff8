"""What a report says, section by section, from the records of a run and the artifacts that they point at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.records import (
    Artifact,
    Assessed,
    Evaluated,
    Prepared,
    Result,
    Shadow,
    Tuned,
    Validated,
)
from holdfast.reports import words
from holdfast.reports.document import Block, Code, Picture, Section, Table, Text

if TYPE_CHECKING:
    from holdfast.home import Home

_QUARANTINED_SHOWN = 50
_EXPECTED = ("dataset", "expectation", "rows against it", "severity", "result", "the first")
_QUARANTINE = ("dataset", "row", "id")


def learned_and_kept(evaluated: Evaluated, shadow: Shadow | None, home: Home) -> Section:
    """Return the table of tasks, the comparisons with the champion, and the picture."""
    lines = words.table(evaluated.target, evaluated.remembered)
    blocks: list[Block] = [Table(words.COLUMNS, [line.cells for line in lines], [line.mood for line in lines])]
    blocks.append(Text(words.LEGEND))
    blocks += [
        _champion(evaluated),
        *([Text(f"As its shadow: {words.shadow(shadow)}.")] if shadow else []),
        *_picture(home, evaluated.artifact, "forgetting.png", "Every task before and after"),
    ]
    return Section("What was learned, what was kept", blocks)


def _champion(evaluated: Evaluated) -> Text:
    rival = evaluated.champion
    if rival is None:
        return Text("There was no champion of this name to compare with.")
    return Text(
        f"Against the champion (version {rival.version}) on the target's {rival.n} test items: "
        f"{words.percent(rival.before)} then, {words.percent(rival.after)} now; "
        f"at {100 * rival.confidence:g}% confidence no worse than {words.points(-rival.bound)} points."
    )


def detail(evaluated: Evaluated, home: Home) -> Section:
    """Return macro F1, likelihood, McNemar's test, drift from the start model, and the target label by label."""
    summary = json.loads((home.store.open(evaluated.artifact) / "summary.json").read_text(encoding="utf-8"))
    tasks = [summary["target"], *summary["remembered"]]
    if "confusion" not in summary["target"]:
        return Section("In more detail", _answers(tasks, summary))
    columns = ("task", "compared with", "macro F1", "negative log-likelihood", "retained above chance", "McNemar p")
    blocks: list[Block] = [Table((*columns, "KL from start"), [_measures(task, summary["kl"]) for task in tasks])]
    overall = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in summary["overall"].items())
    alike = "not defined" if evaluated.cka is None else f"{evaluated.cka:.3f}"
    blocks.append(Text(f"Overall: {overall}; linear CKA of the encoders before and after {alike} (1: alike)."))
    blocks.append(Text("The target, label by label:"))
    blocks.append(Table(("label", "items", "right before", "right after"), _by_label(summary["target"]["confusion"])))
    return Section("In more detail", blocks)


def _answers(tasks: list[dict[str, Any]], summary: dict[str, Any]) -> list[Block]:
    """Return a decoder's metrics, likelihood of known answers, and drift from the start model, per task."""
    columns = ("task", "metric", "score", "negative log-likelihood per token", "entropy per token", "McNemar p")
    rows = []
    for task in tasks:
        entropy, p = task["entropy"], task["mcnemar_p"]
        rows.append(
            (
                task["name"],
                task["metric"],
                _with_interval(task["accuracy"]),
                _with_interval(task["nll"]),
                f"{entropy['before']:.3f} to {entropy['after']:.3f}",
                "-" if p is None else f"{p:.3g}",
                f"{summary['kl'][task['name']]:.4f}",
            )
        )
    said = "Likelihood, entropy and KL are over the tokens of the known answers, behind their prompts."
    return [Table((*columns, "KL from start"), rows), Text(said)]


def _measures(task: dict[str, Any], kl: dict[str, float]) -> tuple[str, ...]:
    f1, nll, retained = task["macro_f1"], task["nll"], task["retained"]
    drift = kl.get(task["name"])
    baseline = {"start": "the start model"}.get(task["baseline"], f"the {task['baseline']}")
    return (
        task["name"],
        baseline,
        _with_interval(f1),
        _with_interval(nll),
        "-" if retained is None else words.percent(retained),
        f"{task['mcnemar_p']:.3g}",
        "-" if drift is None else f"{drift:.4f}",
    )


def _with_interval(change: dict[str, Any]) -> str:
    low, high = change["interval"]
    return f"{change['before']:.3f} to {change['after']:.3f} (change {low:+.3f} to {high:+.3f})"


def _by_label(confusion: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for label, after in confusion["after"].items():
        before, items = confusion["before"][label], sum(after.values())
        rows.append((label, str(items), str(before.get(label, 0)), str(after.get(label, 0))))
    return rows


def selection(result: Result, assessed: Assessed, home: Home) -> Section:
    """Return what moved and the heat map of what mattered."""
    measured = Text(f"Importance: {assessed.measure}, on {assessed.examples} examples of each kind.")
    picture = _picture(home, assessed.artifact, "heatmap.png", "How much each part matters")
    if assessed.circuit is not None:
        picture += _circuit(assessed.circuit, home)
    return Section("What moved", [Text(f"Moved: {words.moved(result)}."), measured, *picture])


def _circuit(artifact: Artifact, home: Home) -> list[Block]:
    """Return what the circuit carries of its task, and its picture."""
    found = json.loads((home.store.open(artifact) / "circuit.json").read_text(encoding="utf-8"))
    heads, every = found["heads"], found["layers"] * found["heads_per_layer"]
    said = Text(
        f"The circuit of `{found['task']}`: {len(heads)} of {every} heads ({', '.join(heads)}), found on "
        f"{found['examples']} examples. On {found['held_out']} others it keeps "
        f"{words.percent(found['faithfulness'])} of the margin that all heads give, more than "
        f"{words.percent(found['beaten'])} of {len(found['random'])} random circuits of its size."
    )
    return [said, *_picture(home, artifact, "circuit.png", "The circuit, and how much of its task circuits carry")]


def tuning(tuned: Tuned, home: Home) -> Section:
    """Return the steps, the final loss and the loss curve."""
    done = Text(f"{tuned.steps} updates; loss {tuned.final_loss:.4f} at the end.")
    if not tuned.steps:
        return Section("Tuning", [Text("Nothing was tuned: versions were merged.")])
    found = json.loads((home.store.open(tuned.curve) / "curve.json").read_text(encoding="utf-8"))
    own = _own_words(found["targets"]) if found.get("targets") else []
    return Section("Tuning", [*own, done, *_work(found), *_picture(home, tuned.curve, "curve.png", "Loss per update")])


def _work(found: dict[str, Any]) -> list[Block]:
    """Return how much of the work was saved or wasted; nothing for versions from before that was noted."""
    if not found.get("prefix"):
        return []
    frozen, every = found["prefix"], found["tokens"] + found["padding"]
    kept = "Frozen layers were run once" if frozen["used"] else "No frozen layers were run once"
    padded = f"{100 * found['padding'] / max(1, every):.0f}% of the tokens computed in training were padding."
    return [Text(f"{kept}: {frozen['why']}. {padded}")]


def _own_words(log: dict[str, Any]) -> list[Block]:
    """Return where the answers that were learned come from, how likely and long they are, and what was refused why."""
    columns = ("answers learned", "share of rows", "NLL per token under the start model", "mean tokens")
    sources = {"all": log["targets"], **log["targets"]["by_source"], "gold, same rows": log["gold"]}
    shares = {"all": 1 - log["shares"]["dropped"], **log["shares"]}
    rows = [
        (name, words.percent(shares[name]) if name in shares else "-", f"{of['nll']:.3f}", f"{of['tokens']:.1f}")
        for name, of in sources.items()
    ]
    refused = [
        f"{source}: {', '.join(f'{reason} {count}' for reason, count in reasons.items())}"
        for source, reasons in log["refused"].items()
        if reasons
    ]
    said = f"Not taken, by reason ({'; '.join(refused)})." if refused else "Nothing that the model said was refused."
    return [Text(f"{words.own_words(log)}."), Table(columns, rows), Text(said)]


def validation(validated: Validated, home: Home) -> Section:
    """Return what was expected of the data, what was set aside and why, and how well the start model does each task."""
    expected = [
        (e.dataset, e.expectation, str(e.unexpected), e.severity, "met" if e.success else "not met", e.example)
        for e in validated.expectations
    ]
    moods = ["neutral" if e.success else "bad" for e in validated.expectations]
    blocks: list[Block] = [Table(_EXPECTED, expected, moods)]
    blocks += _quarantine(validated, home)
    if validated.competences:
        columns = ("remembered task", "start model on valid", "lower bound", "chance", "items")
        rows = [
            (c.name, words.score(c.accuracy), words.score(c.lower), words.score(c.chance), str(c.n))
            for c in validated.competences
        ]
        blocks.append(Table(columns, rows))
    return Section("Validation", blocks)


def _quarantine(validated: Validated, home: Home) -> list[Block]:
    """Return the rows set aside (the first of them) with their reasons, from the validation's artifact."""
    if not validated.quarantined:
        return [Text("No row was set aside.")]
    text = (home.store.open(validated.artifact) / "quarantine.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line][:_QUARANTINED_SHOWN]
    names = (*_QUARANTINE, *(("label", "text") if "text" in rows[0] else ("answer", "prompt")))
    shown = [(*(str(row[name]) for name in names), "; ".join(row["reasons"])) for row in rows]
    said = Text(f"Rows set aside: {validated.quarantined}; the first {len(shown)}:")
    return [said, Table((*names, "reasons"), shown)]


def data(prepared: Prepared, validated: Validated) -> Section:
    """Return every dataset version: where from, how many rows, used for what, and its digests."""
    rows = []
    for key, version in prepared.datasets.items():
        used = validated.datasets.get(key, version)
        labels = ", ".join(f"{label} {count}" for label, count in used.labels.items())
        revision = version.git_revision or "-"
        rows.append(
            (key, version.ref, f"{used.rows} of {version.rows}", labels, version.digest, version.dvc_md5, revision)
        )
    columns = ("used as", "dataset", "rows used", "labels", "SHA-256", "DVC md5", "git revision")
    return Section("Data", [Table(columns, rows)])


def lineage(result: Result) -> Section:
    """Return the start model, the code, and the whole method."""
    start, code = result.lineage.start, result.lineage.code
    facts = [("version", result.version), ("MLflow run", result.run_id), ("tracking", words.address(result.tracking))]
    facts += [(f"start: {name}", _inline(value)) for name, value in start.items()]
    facts += [(f"code: {name}", _inline(value)) for name, value in code.items() if name != "packages"]
    packages = [(name, str(version)) for name, version in code.get("packages", {}).items()]
    method = json.dumps(result.lineage.method, indent=2, sort_keys=True, ensure_ascii=False)
    blocks: list[Block] = [Table(("what", "value"), facts), Text("The method:"), Code(method)]
    if packages:
        blocks.append(Table(("package", "version"), packages))
    return Section("Lineage", blocks)


def stages(result: Result) -> Section:
    """Return the seconds per stage."""
    rows = [(s.name, f"{s.seconds:.1f}", "reused" if s.cached else "") for s in result.stages]
    rows.append(("together", f"{sum(s.seconds for s in result.stages):.1f}", ""))
    return Section("Seconds per stage", [Table(("stage", "seconds", ""), rows)])


def _inline(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _picture(home: Home, artifact: Artifact, name: str, caption: str) -> list[Block]:
    """Return the picture of an artifact after verifying its digest, or nothing where it holds none of that name."""
    path: Path = home.store.open(artifact) / name
    return [Picture(caption, path.read_bytes())] if path.is_file() else []
