"""The picture of importance: parts of the encoder against heads, attention, MLP, norms and the whole."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import anatomy

if TYPE_CHECKING:
    from holdfast.importance.read import Levels
    from holdfast.models import Model

_RISING, _DIVERGING = "magma", "RdBu_r"
_RATIOS = (0.01, 0.1, 0.25, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 4, 10, 100)
_GROUPS = ("attention", "mlp", "norms", "all")


@dataclass(frozen=True)
class Table:
    """Mean importance per weight: `task` and `general` are [rows, columns], NaN where a row has no such part."""

    rows: list[str]
    columns: list[str]
    task: np.ndarray
    general: np.ndarray | None


def table(model: Model, task: Levels, general: Levels | None) -> Table:
    """Return what the picture shows: a row per part of the encoder, a column per head and for each group of tensors."""
    rows = list(task["layer"])
    heads = len({key.split(".")[1] for key in task["head"]})
    columns = [*(str(head) for head in range(heads)), *_GROUPS]
    below = _cells(model, general, rows, heads) if general else None
    return Table(rows, columns, _cells(model, task, rows, heads), below)


def _cells(model: Model, kind: Levels, rows: list[str], heads: int) -> np.ndarray:
    cells = np.full((len(rows), heads + len(_GROUPS)), np.nan)
    sizes = {name: parameter.numel() for name, parameter in model.encoder_parameters().items()}
    for i, row in enumerate(rows):
        cells[i, :heads] = [kind["head"].get(f"{row}.{head}", np.nan) for head in range(heads)]
        inside = [name for name in kind["tensor"] if anatomy.part(model, name) == row]
        for j, group in enumerate(_GROUPS):
            chosen = [name for name in inside if group in ("all", _group(model, name))]
            if chosen:
                means = [kind["tensor"][name] for name in chosen]
                cells[i, heads + j] = np.average(means, weights=[sizes[name] for name in chosen])
    return cells


def _group(model: Model, name: str) -> str | None:
    """Return a tensor's group; outside `anatomy`'s table only `norms` can be told."""
    if anatomy.is_norm(model.network.get_submodule(name.rpartition(".")[0])):
        return "norms"
    number = anatomy.part(model, name)
    if not anatomy.known(model) or not number.isdigit():
        return None
    row = anatomy.family(model)
    module = name.removeprefix(f"{model.stem}{row.layer}{number}.").rpartition(".")[0]
    if module in row.mlp:
        return "mlp"
    return "attention" if module in (row.query, row.key, row.value, row.output) else None


def draw(shown: Table, measure: str) -> bytes:
    """Return the heat map as a PNG: task, general and their ratio side by side; equal tables give equal bytes.

    Importance is on a logarithmic scale. The ratio is of the two after each is divided by its mean over the parts
    (their scales differ), so 1 is as important to the task as to general knowledge, relative to the rest.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(shown, measure)
    width = 0.6 + len(panels) * (1.6 + 0.25 * len(shown.columns))
    figure = Figure(figsize=(width, 1.9 + 0.34 * len(shown.rows)), dpi=110, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, values, kind, label) in zip(axes, panels, strict=True):
        _panel(figure, axis, shown, title, values, kind, label)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _panels(shown: Table, measure: str) -> list[tuple[str, np.ndarray, str, str]]:
    label = f"mean {measure} per weight"
    panels = [("Importance for the task", shown.task, _RISING, label)]
    if shown.general is not None:
        panels.append(("Importance for what is remembered", shown.general, _RISING, label))
        ratio = _over_mean(shown.task) / _over_mean(shown.general)
        panels.append(("Task over remembered", ratio, _DIVERGING, "ratio, each divided by its mean"))
    return panels


def _over_mean(values: np.ndarray) -> np.ndarray:
    """Return `values` over the mean of their last column, one number per part; zeros become NaN."""
    positive = np.where(values > 0, values, np.nan)
    whole = positive[:, -1][np.isfinite(positive[:, -1])]
    scaled: np.ndarray = positive / (whole.mean() if len(whole) else 1.0)
    return scaled


def _panel(figure: Any, axis: Any, shown: Table, title: str, values: np.ndarray, colours: str, label: str) -> None:
    image = axis.imshow(np.where(values > 0, values, np.nan), cmap=colours, norm=_scale(values, colours), aspect="auto")
    axis.set_title(title, fontsize=10)
    axis.set_xticks(range(len(shown.columns)), shown.columns, rotation=90, fontsize=8)
    axis.set_yticks(range(len(shown.rows)), shown.rows, fontsize=8)
    axis.set_xlabel("attention head, group of tensors", fontsize=8)
    axis.set_ylabel("layer", fontsize=8)
    axis.set_facecolor("0.9")
    bar = figure.colorbar(image, ax=axis, pad=0.02)
    bar.set_label(label, fontsize=8)
    if colours == _DIVERGING:
        ticks = [tick for tick in _RATIOS if image.norm.vmin <= tick <= image.norm.vmax]
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=7)


def _scale(values: np.ndarray, colours: str) -> Any:
    """Return a logarithmic colour scale, symmetric about 1 for the ratio, that fits the positive numbers."""
    from matplotlib.colors import LogNorm

    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return LogNorm(0.1, 10)
    if colours == _RISING:
        return LogNorm(positive.min(), max(positive.max(), positive.min() * 1.01))
    reach = max(positive.max(), 1 / positive.min(), 1.01)
    return LogNorm(1 / reach, reach)
