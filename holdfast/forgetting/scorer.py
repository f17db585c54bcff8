"""One model version as the evaluation sees it: logits and features of datasets, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast import closures, digests, inference, models, rows
from holdfast.forgetting import cached

if TYPE_CHECKING:
    import numpy as np

    from holdfast.home import Home
    from holdfast.models import Model
    from holdfast.records import DatasetVersion, Start
    from holdfast.spec import Training


class Scorer:
    """A version that is loaded only when something about it is not known yet."""

    def __init__(self, start: Start, training: Training, home: Home) -> None:
        self.start, self.training, self.home = start, training, home
        self._model: Model | None = None

    def has(self, head: str) -> bool:
        """Say whether the version has a head of that name."""
        return head in self.start.heads

    def labels(self, head: str) -> tuple[str, ...]:
        """Return the labels of a head, in the order of its logits."""
        return self.start.heads[head].labels

    def logits(self, dataset: DatasetVersion, head: str) -> np.ndarray:
        """Return the logits of `head` for every row of a dataset, float32 [rows, labels]."""

        def make() -> np.ndarray:
            model = self._loaded()
            model.use_head(head)
            texts = rows.texts(rows.read(self.home, dataset))
            return inference.logits(
                model, texts, max_length=self.training.max_length, precision=self.training.precision
            )

        return self._cached({"what": "logits", "dataset": dataset.digest, "head": head}, make)

    def features(self, texts: list[str]) -> np.ndarray:
        """Return the mean last hidden states of texts, float32 [texts, hidden]."""

        def make() -> np.ndarray:
            settings = self.training
            return inference.features(
                self._loaded(), texts, max_length=settings.max_length, precision=settings.precision
            )

        return self._cached({"what": "features", "texts": digests.of_json(texts)}, make)

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = models.load(self.start, self.home)
        return self._model

    def _cached(self, what: dict[str, Any], make: Callable[[], np.ndarray]) -> np.ndarray:
        settings = self.training
        bf16 = settings.precision != "fp32" and (settings.precision == "bf16" or inference.has_bf16())
        how = {
            "model": self.start.digest,
            "base": self.start.base.sha256,
            "max_length": settings.max_length,
            "bf16": bf16,
            "code": closures.digest(["holdfast.inference", "holdfast.models"]),
            "packages": closures.package_versions(),
        }
        return cached.array({**how, **what}, make, self.home)
