"""The page `docs/objectives.md`, written from the choices themselves: python -m holdfast.objectives._page"""

from pathlib import Path
from types import ModuleType

from holdfast import choices

PAGE = Path(__file__).resolve().parents[2] / "docs" / "objectives.md"
_HEAD = """# Objectives

`objective: NAME` in a pipeline file says what is minimised. `python -m holdfast.objectives._page` writes this page.

All of them can be read as cross entropy to a target Q = reliance * label + (1 - reliance) * residual that is held
constant ([arXiv 2606.11189](https://arxiv.org/abs/2606.11189)): a loss with the logit gradient g has the target
Q = p - g, up to a scale. *Reliance* is how far the given label is believed, *residual* where the rest goes; with "the
model" as residual the rest is left as it is. p_y is the probability of the given label, sg[.] stops the gradient, and
KL and CE have the target first. `tests/objectives` compares every gradient with autograd of the formula in the second
column, and with scale * (p - Q). The number minimised has that gradient; its value is the formula's up to a constant,
and for `p-loss`, `beyond-log` and `focal` it is -sg[reliance] log p_y.

They weigh rows differently and so scale the gradient: do not carry a learning rate over from one to another.

"""
_NEEDS = """
`teacher` is frozen and in eval mode. A classifier's is a registered version with a head of the same name for the same
labels, read with its own tokenizer, and its logits are computed once per row. A decoder's is a registered version or a
base with the same tokenizer, and its logits are computed with every batch. Where it is no option, or is left out, the
start model is the teacher. With `psft` the model runs without dropout, so that the ratio measures updates and nothing
else; the old model is the moving weights as they were at the refresh, which lie in the checkpoints too. Every update's
`nll` and `reliance` (for `psft`: `nll`, `entropy`, `ratio`, `clipped`, `kl_to_old`) are in the loss curve.
"""


def text() -> str:
    """Return the page: a row per choice, then what its source leaves open and what to beware of."""
    found = {name: choices.load("objectives", name) for name in choices.names("objectives")}
    lines = ["| name | loss per row | reliance | residual | options | source |", "|---|---|---|---|---|---|"]
    for name, module in found.items():
        row = module.ROW
        lines.append(
            f"| `{name}` | {row.loss} | {row.reliance} | {row.residual} | {_options(module)} | {_linked(row.source)} |"
        )
    beware = ["", "| name | beware | inferred: the source leaves it open |", "|---|---|---|"]
    beware += [f"| `{name}` | {m.ROW.trap or '-'} | {m.ROW.inferred or '-'} |" for name, m in found.items()]
    return _HEAD + "\n".join([*lines, *beware]) + "\n" + _NEEDS


def _options(module: ModuleType) -> str:
    fields = module.Options.model_fields.items()
    return ", ".join(f"`{name}`" + ("" if f.is_required() else f" {f.default}") for name, f in fields) or "-"


def _linked(source: str) -> str:
    before, found, number = source.partition("arXiv ")
    number, _, behind = number.partition(",")
    return f"{before}[arXiv {number}](https://arxiv.org/abs/{number}){_ and ','}{behind}" if found else source


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
