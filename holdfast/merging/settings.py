"""The section `merge` of a pipeline file."""

from typing import Literal

from pydantic import Field, model_validator

from holdfast import choices


class MergeSpec(choices.Options):
    """Versions to be merged instead of tuning anything: `models:/NAME@champion` or `models:/NAME/3`, by which rule.

    `weights` are one number per version, 1 each where left out; `density` is read by `ties` alone, 0.2 where left out.
    """

    versions: tuple[str, ...] = Field(min_length=1)
    how: Literal["task-arithmetic", "ties"]
    weights: tuple[float, ...] = ()
    density: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> "MergeSpec":
        if self.weights and len(self.weights) != len(self.versions):
            raise ValueError(f"{len(self.weights)} weights for {len(self.versions)} versions")
        if self.density is not None and self.how != "ties":
            raise ValueError("`density` is read by `ties` alone")
        return self

    def written_out(self) -> "MergeSpec":
        """Return the same with its defaults written out."""
        weights = self.weights or (1.0,) * len(self.versions)
        density = 0.2 if self.how == "ties" and self.density is None else self.density
        return self.model_copy(update={"weights": weights, "density": density})
