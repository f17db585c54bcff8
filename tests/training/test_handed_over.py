"""A tuning that was handed to another home gives the bytes that it gives here."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import home as homes
from holdfast.registry import handover
from holdfast.training import tune as tuning


@pytest.mark.slow
def test_another_home_tunes_to_the_same_bytes(setup: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    made = setup()
    here, there = made.home, homes.make(tmp_path / "there")
    given = {f.name: getattr(made, f.name) for f in dataclasses.fields(made) if f.name in handover.Job.model_fields}
    address = handover.hand(handover.job(handover.Job(**given), here), here)

    job = handover.take(address, there)
    assert Path(job.start.base.name).is_relative_to(there.path)
    parts = (job.selected, job.assessed, job.validated, job.start, job.recipe, job.remember, there)
    back = handover.give(tuning.tune(*parts), address.run_id, there)
    found = handover.fetch(back, here)
    assert here.store.holds(found.adapter)
    here.store.discard(found.adapter)
    assert made.run().adapter == found.adapter
