"""The picture of a circuit: every head's relevance with the circuit marked, beside the faithfulness curve."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

_CIRCUIT, _RANDOM = "#b3261e", "#777777"


def draw(circuit: dict[str, Any]) -> bytes:
    """Return the picture of what `find.find` found, as a PNG; equal circuits give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers, heads = circuit["layers"], circuit["heads_per_layer"]
    width, height = 1.8 + 0.42 * heads, max(3.4, 1.5 + 0.36 * layers)
    figure = Figure(figsize=(width + 5.2, height), dpi=110, layout="constrained")
    grid, curve = figure.subplots(1, 2, width_ratios=(width, 5.2))
    _grid(figure, grid, circuit, layers, heads)
    _curve(curve, circuit)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _grid(figure: Any, axis: Any, circuit: dict[str, Any], layers: int, heads: int) -> None:
    from matplotlib.patches import Rectangle

    values = np.array([[circuit["scores"][f"{layer}.{head}"] for head in range(heads)] for layer in range(layers)])
    reach = float(np.abs(values).max()) or 1.0
    image = axis.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
    for order, name in enumerate(circuit["heads"], 1):
        layer, head = (int(part) for part in name.split("."))
        axis.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=_CIRCUIT, linewidth=2.2))
        dark = abs(values[layer, head]) > 0.6 * reach
        axis.text(head, layer, str(order), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axis.set_xticks(range(heads), range(heads), fontsize=8)
    axis.set_yticks(range(layers), range(layers), fontsize=8)
    axis.set_xlabel("head", fontsize=9)
    axis.set_ylabel("layer", fontsize=9)
    axis.set_title(f"Circuit of `{circuit['task']}`: {len(circuit['heads'])} of {layers * heads} heads", fontsize=10)
    bar = figure.colorbar(image, ax=axis, pad=0.02)
    bar.set_label("relevance to the right answer (margin)", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _curve(axis: Any, circuit: dict[str, Any]) -> None:
    points = circuit["curve"]
    sizes = [point["size"] for point in points]
    draws = [point["random"] for point in points]
    axis.fill_between(
        sizes, [min(d) for d in draws], [max(d) for d in draws], color=_RANDOM, alpha=0.25, linewidth=0,
        label=f"{len(draws[0])} random circuits, lowest to highest",
    )  # fmt: skip
    axis.plot(sizes, [float(np.mean(d)) for d in draws], color=_RANDOM, linewidth=1.2, label="their mean")
    axis.plot(sizes, [point["faithfulness"] for point in points], "o-", color=_CIRCUIT, markersize=4, label="ranked")
    own = next(point for point in points if point["size"] == len(circuit["heads"]))
    label = f"the circuit: {own['faithfulness']:.2f}, beats {own['beaten']:.0%}"
    square = {"color": _CIRCUIT, "markersize": 9, "fillstyle": "none", "markeredgewidth": 2}
    axis.plot([own["size"]], [own["faithfulness"]], "s", label=label, **square)
    for level in (0, 1):
        axis.axhline(level, color="0.8", linewidth=0.8, zorder=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes, fontsize=8)
    axis.minorticks_off()
    axis.tick_params(labelsize=8)
    axis.set_xlabel("heads kept, all others at their mean", fontsize=9)
    axis.set_ylabel("faithfulness", fontsize=9)
    axis.set_title(f"Share of the margin kept, on {circuit['held_out']} held-out rows", fontsize=10)
    axis.legend(fontsize=8, loc="best")
