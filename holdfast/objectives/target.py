"""Target-SFT: the label as far as the model believes it, and for the rest a mixture of model and teacher.

The start model as the teacher, where none is named, is inferred and not in the paper; the default eta is inferred too.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from holdfast import choices
from holdfast.objectives import _qtarget

SHORTHAND = "eta"
NEEDS = ("teacher",)
ROW = _qtarget.Row(
    loss="CE(Q, model)",
    reliance="p_y",
    residual="model^(1-eta) teacher^eta, normalised",
    source="Target-SFT, arXiv 2606.11189",
    inferred="the default eta; the start model as the teacher, where none is named",
    trap="labels that the model finds unlikely give almost no signal: warm up new ones with `sft`",
)


class Options(choices.Options):
    """`eta` is the share of the `teacher`, a registered version or, by default, the start model; 0 gives `dft`."""

    eta: float = Field(0.5, ge=0, le=1)
    teacher: str | None = None


def target(seen: _qtarget.Seen, options: Options) -> _qtarget.Target:
    """The label with its own probability, the rest spread as the geometric mixture of model and teacher."""
    mixed = (1 - options.eta) * seen.log_p + options.eta * seen.teacher
    return _qtarget.Target(reliance=seen.of_label.exp(), residual=mixed.softmax(-1))


loss = partial(_qtarget.loss, target)
figures = partial(_qtarget.figures, target)
