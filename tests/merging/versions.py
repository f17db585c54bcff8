"""Versions tuned at random, and merged, for the tests of merging."""

from collections.abc import Sequence

import torch

from holdfast import adapters, models, selection
from holdfast.home import Home
from holdfast.merging import merge as merging
from holdfast.records import HeadInfo, Merge, Selected, Start
from holdfast.selection import Selection


def tuned(start: Start, chosen: Selection, seed: int, home: Home, head: str = "mood", labels=("a", "b")) -> Start:
    """Return a version of a start model that moved at random within a selection; a decoder has no head."""
    model = models.load_with_head(start, home, head, labels, seed)
    selection.attach(model, chosen)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in model.network.named_parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    model.network.eval()
    with home.store.scratch() as scratch:
        adapters.write(model, chosen, start, home, scratch / "adapter")
        artifact = home.store.put(scratch / "adapter", "adapter")
    heads = {name: HeadInfo(labels=held.labels) for name, held in model.heads.items()}
    return start.model_copy(update={"model": f"models:/v/{seed}", "adapter": artifact, "heads": heads})


def merged(
    parents: Sequence[Start],
    origin: Start,
    home: Home,
    how: str = "task-arithmetic",
    weights: Sequence[float] | None = None,
    density: float | None = None,
    head: str = "mood",
) -> tuple[Start, Selected]:
    """Return the merged version, each parent at weight 1 where none are given, and what moved."""
    wanted = Merge(how=how, weights=tuple(weights or [1.0] * len(parents)), density=density, parents=tuple(parents))
    merging.check(wanted, [origin] * len(parents), home)
    made, selected = merging.merge(wanted, origin, head, home)
    return origin.model_copy(update={"adapter": made.adapter}), selected
