"""The data docs as one self-contained page: no script, nothing loaded from anywhere, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2733; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100%; }
th, td { border-bottom: 1px solid #d8dee5; padding: .3rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
.met { color: #1a7f4b; } .stop { color: #b3261e; } .quarantine { color: #a05a00; } .warn { color: #7a6a00; }
"""
_LONGEST = 300
_MOST_ROWS = 500


def render(results: dict[str, Any], quarantined: Sequence[dict[str, Any]]) -> str:
    """Return the page of `results` (as `results.json` has them) and of the rows set aside."""
    parts = [
        "<h1>Data validation</h1>",
        _overview(results["datasets"]),
        *(_dataset(key, found) for key, found in results["datasets"].items()),
        _competences(results["competences"]),
        _quarantine(quarantined),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Data validation</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _overview(datasets: dict[str, Any]) -> str:
    rows = []
    for key, found in datasets.items():
        met = sum(outcome["success"] for outcome in found["expectations"])
        labels = ", ".join(f"{label} {count}" for label, count in found["labels"].items())
        rows.append([key, found["rows"], found["quarantined"], f"{met} of {len(found['expectations'])}", labels])
    return _table(["dataset", "rows", "set aside", "expectations met", "labels"], map(_cells, rows))


def _dataset(key: str, found: dict[str, Any]) -> str:
    rows = (_expectation(outcome) for outcome in found["expectations"])
    heading = ["name", "expectation", "result", "unexpected rows", "which or what"]
    return f"<h2>{escape(key)}</h2>\n" + _table(heading, rows)


def _expectation(outcome: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in outcome["arguments"].items())
    verdict = "met" if outcome["success"] else outcome["severity"]
    seen = _rows(outcome) if outcome["unexpected"] else "" if outcome["observed"] is None else outcome["observed"]
    cells = [outcome["name"], f"{outcome['expectation']}({arguments})"]
    shown = f'<td class="{verdict}">{verdict}</td>'
    return _cells(cells) + shown + _cells([outcome["unexpected"], seen])


def _rows(outcome: dict[str, Any]) -> str:
    listed = ", ".join(map(str, outcome["rows"]))
    return f"rows {listed}" + (", ..." if outcome["unexpected"] > len(outcome["rows"]) else "")


def _competences(competences: Sequence[dict[str, Any]]) -> str:
    if not competences:
        return ""
    rows = [[c["name"], *(f"{c[name]:.3f}" for name in ("accuracy", "lower", "chance")), c["n"]] for c in competences]
    heading = ["remembered task", "accuracy", "lower bound", "chance", "valid rows"]
    return "<h2>What the start model can do</h2>\n" + _table(heading, map(_cells, rows))


def _quarantine(quarantined: Sequence[dict[str, Any]]) -> str:
    if not quarantined:
        return "<h2>Rows set aside</h2>\n<p>None.</p>"
    rows = (
        _cells([row["dataset"], row["row"], row["id"], *_said(row), "; ".join(row["reasons"])])
        for row in quarantined[:_MOST_ROWS]
    )
    note = f"<p>{len(quarantined)} rows, all of them in quarantine.jsonl"
    note += f"; the first {_MOST_ROWS} are shown.</p>" if len(quarantined) > _MOST_ROWS else ".</p>"
    heading = ["dataset", "row", "id", "text or prompt", "label or answer", "reasons"]
    return f"<h2>Rows set aside</h2>\n{note}\n" + _table(heading, rows)


def _said(row: dict[str, Any]) -> tuple[str, str]:
    return _short(row.get("text", row.get("prompt"))), _short(row.get("label", row.get("answer")))


def _table(heading: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heading)
    return f"<table><tr>{head}</tr>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"


def _cells(values: Iterable[Any]) -> str:
    return "".join(f"<td>{escape(str(value))}</td>" for value in values)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
