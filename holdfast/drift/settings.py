"""What to watch and when to act: the section `monitor` of a pipeline file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _Section(BaseModel):
    """A part of the section: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _hours(value: Any) -> Any:
    """Return a span of time in hours: a number, or a number with m, h or d behind it."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhd])\s*", value) if isinstance(value, str) else None
    if found:
        return float(found[1]) * {"m": 1 / 60, "h": 1.0, "d": 24.0}[found[2]]
    if isinstance(value, str):
        raise ValueError("a span of time is a number of hours, or such as 90m, 24h or 3d")
    return value


Hours = Annotated[float, BeforeValidator(_hours), Field(gt=0)]


def _switch(value: Any) -> Any:
    """Return the options of a check that is switched: `true` means its defaults, `false` leaves it out."""
    return {} if value is True else None if value is False else value


class Window(_Section):
    """A window: `rows` rows, in the order in which they came, or, where `span` is given, a span of time."""

    rows: int = Field(500, ge=20)
    span: Hours | None = None


class Columns(_Section):
    """The columns of production data: `id` and `time` where there are such, and `segments` by which change is told."""

    id: str = "id"
    time: str = "time"
    segments: tuple[str, ...] = ("language", "source")


class Descriptors(_Section):
    """Text descriptors: drifted where the largest Kolmogorov-Smirnov distance is at least `distance`."""

    distance: float = Field(0.1, ge=0, lt=1)


class Content(_Section):
    """Text content by a domain classifier: drifted where its area under the ROC curve is at least `auc`."""

    auc: float = Field(0.53, ge=0.5, lt=1)
    most_rows: int = Field(20_000, ge=100)


class Embedding(_Section):
    """Embeddings by maximum mean discrepancy: drifted where `mmd2`, its unbiased square, is at least that."""

    mmd2: float = Field(0.002, ge=0, lt=2)
    features: int = Field(256, ge=16)
    permutations: int = Field(1000, ge=200)
    most_rows: int = Field(20_000, ge=100)


class Shares(_Section):
    """Shares of categories: drifted where the population stability index, less its noise, is at least `psi`."""

    psi: float = Field(0.25, ge=0)


class Performance(_Section):
    """Performance on rows with labels, of the last `within`: drifted where accuracy fell by at least `drop`."""

    drop: float = Field(0.05, ge=0, lt=1)
    within: Hours = 72.0


class Estimate(_Section):
    """Performance estimated from confidence: drifted where the estimate is lower by at least `drop`."""

    drop: float = Field(0.05, ge=0, lt=1)


class Checks(_Section):
    """The checks; `false` leaves one out. Beside its least effect each must pass its test, calibrated as a set."""

    descriptors: Annotated[Descriptors | None, BeforeValidator(_switch)] = Descriptors()
    content: Annotated[Content | None, BeforeValidator(_switch)] = Content()
    embedding: Annotated[Embedding | None, BeforeValidator(_switch)] = Embedding()
    label: Annotated[Shares | None, BeforeValidator(_switch)] = Shares()
    prediction: Annotated[Shares | None, BeforeValidator(_switch)] = Shares()
    segments: Annotated[Shares | None, BeforeValidator(_switch)] = Shares()
    performance: Annotated[Performance | None, BeforeValidator(_switch)] = Performance()
    estimate: Annotated[Estimate | None, BeforeValidator(_switch)] = Estimate()


class Alarm(_Section):
    """When drifted windows are an episode: `at_least` of the last `out_of`; it ends after `clear` calm ones running."""

    at_least: int = Field(2, ge=1)
    out_of: int = Field(3, ge=1)
    clear: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Alarm:
        if self.at_least > self.out_of:
            raise ValueError(f"{self.at_least} drifted windows out of {self.out_of} can never be")
        return self


class Retrain(_Section):
    """When to adapt the champion again, and on what.

    Not within `cooldown` of the last adaptation, not on fewer than `labelled` labelled rows (`ask_for` of the others
    are then named), at most one at a time; a lease is given up after `longest`. Rows of the last `windows` windows are
    learned, with a share `replay` of old ones; what the champion knew must be kept within `margin`. A share `shadow` of
    the newest window's labelled rows is held out, for the comparison with the champion. `every` and `audit_every` are
    calendar triggers.
    """

    cooldown: Hours = 24.0
    labelled: int = Field(200, ge=1)
    ask_for: int = Field(50, ge=1)
    windows: int = Field(4, ge=1)
    replay: float = Field(0.25, gt=0, lt=1)
    margin: float = Field(0.05, gt=0, lt=1)
    shadow: float = Field(0.4, gt=0, le=0.5)
    longest: Hours = 24.0
    every: Hours | None = None
    audit_every: Hours | None = None


class Rollback(_Section):
    """When a new champion is taken back: over its first `windows` windows it does `drop` worse than its predecessor."""

    windows: int = Field(2, ge=1)
    drop: float = Field(0.05, ge=0, lt=1)


class Value(_Section):
    """What a point of accuracy is worth: `points lost x per_point_per_day x horizon_days - cost_per_run > 0`."""

    per_point_per_day: float = Field(ge=0)
    horizon_days: float = Field(30, gt=0)
    cost_per_run: float = Field(0, ge=0)
    currency: str = Field("EUR", min_length=1, max_length=12)


class Monitor(_Section):
    """The whole section. `source` is a file or folder of production data; without it the home's prediction log is read.

    `reference` is `learn`, what the champion learned and was judged on, or a dataset; of more than `reference_rows` a
    sample is drawn by `seed`. All checks of a window together alarm on a share `family_wise` of windows without drift,
    at most.
    """

    window: Window = Window()
    source: str | None = None
    reference: str = "learn"
    reference_rows: int = Field(10_000, ge=100)
    columns: Columns = Columns()
    checks: Checks = Checks()
    family_wise: float = Field(0.03, gt=0, le=0.5)
    alarm: Alarm = Alarm()
    retrain: Retrain = Retrain()
    rollback: Annotated[Rollback | None, BeforeValidator(_switch)] = Rollback()
    value: Value | None = None
    seed: int = Field(7, ge=0, lt=2**32)

    def located(self, folder: Path) -> Monitor:
        """Return the section with its paths absolute, taken from the folder of the pipeline file."""
        update: dict[str, Any] = {}
        if self.source is not None:
            update["source"] = str((folder / Path(self.source).expanduser()).resolve())
        if (folder / Path(self.reference).expanduser()).is_file():
            update["reference"] = str((folder / Path(self.reference).expanduser()).resolve())
        return self.model_copy(update=update)
