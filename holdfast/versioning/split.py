"""Splitting rows into parts: stratified by label, with equal texts kept together, decided by a hash of seed and text.

Rows of prompts and answers have no label: equal prompts are kept together, and nothing is stratified.

Which part a text goes to depends on the seed, the text, and how many rows its label has: not on the order of the rows,
and a row more or less moves few others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from holdfast.errors import BadInput

Row = dict[str, Any]
_Group = tuple[str, int]  # a text and how many rows have it


def split(rows: Sequence[Row], shares: dict[str, float], seed: int, file: object = None) -> dict[str, list[Row]]:
    """Return `rows` in parts: `train` and those of `shares`, each about its share of every label, in source order.

    Texts that differ only in case and white space count as equal. Raises `BadInput` naming a label that has too few
    distinct texts to be in every part.
    """
    of_label = _groups(rows)
    for label, count in sorted(Counter(_label(row) for row in rows).items()):
        if len(of_label[label]) <= len(shares):
            raise _too_few(label, count, len(of_label[label]), shares, file)
    part: dict[str, str] = {}
    for groups in of_label.values():
        part |= _assign(sorted(groups, key=lambda group: _order(seed, group[0])), shares)
    parts: dict[str, list[Row]] = {name: [] for name in ("train", *shares)}
    for row in rows:
        parts[part[_text(row)]].append(row)
    return parts


def _text(row: Row) -> str:
    return same(row["text"] if "label" in row else row["prompt"])


def _label(row: Row) -> str:
    return str(row.get("label", ""))


def same(text: str) -> str:
    """Return what equal texts have in common: case folded, white space as single blanks."""
    return " ".join(text.casefold().split())


def _order(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}\n{text}".encode()).hexdigest()


def _groups(rows: Sequence[Row]) -> dict[str, list[_Group]]:
    """Return, for each label, the distinct texts that mostly carry it; a tie goes to the first label by name."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels[_text(row)][_label(row)] += 1
    groups: dict[str, list[_Group]] = defaultdict(list)
    for text, counts in labels.items():
        groups[min(counts, key=lambda label: (-counts[label], label))].append((text, counts.total()))
    return groups


def _assign(groups: list[_Group], shares: dict[str, float]) -> dict[str, str]:
    """Return the part of each text of one label: what still fits where it is wanted, the rest to `train`."""
    total = sum(size for _, size in groups)
    wanted = {name: max(1, round(share * total)) for name, share in shares.items()}
    part: dict[str, str] = {}
    for text, size in groups:
        part[text] = next((name for name in wanted if size <= wanted[name]), "train")
        if part[text] in wanted:
            wanted[part[text]] -= size
    for name in shares:
        if name not in part.values():  # every text of this label is repeated more often than the part has room for
            text, _ = min((group for group in groups if part[group[0]] == "train"), key=lambda group: group[1])
            part[text] = name
    return part


def _too_few(label: str, rows: int, texts: int, shares: dict[str, float], file: object) -> BadInput:
    parts, whose = " and ".join(shares), f"the label {label!r} has" if label else "there are"
    return BadInput(
        f"{whose} too few rows ({rows}, {texts} distinct texts) to split {parts} off",
        file=file,
        expected=f"at least {len(shares) + 1} distinct texts{' for each label' if label else ''}",
        remedy=f"Name {parts} in the pipeline file, or add rows.",
    )
