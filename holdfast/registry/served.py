"""The script that MLflow runs to load a version (models from code): it carries no state, and nothing is unpickled.

The version's folder holds the library as it was, so this works where Holdfast is not installed; the base model is named
by name and digest and found there as anywhere: a folder, an installed package or the hub.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

import mlflow
from holdfast import adapters, bases, digests, inference, models, predictions
from holdfast.errors import BadInput, Corrupt
from holdfast.records import BaseRef


class Served(PythonModel):
    """A registered version as a pyfunc; its configuration is `base`, `digest`, `head`, `max_length`, `precision`."""

    def load_context(self, context: Any) -> None:
        """Load the base and apply the adapter, after checking both against the version's digests; else `Corrupt`."""
        folder, self.settings = Path(context.artifacts["adapter"]), dict(context.model_config)
        if digests.of_json(digests.of_folder(folder)) != self.settings["digest"]:
            raise Corrupt(f"{folder}: the adapter does not match the version's digest {self.settings['digest']}")
        base = BaseRef(**self.settings["base"])
        place = bases.locate(base)
        self.model = models.Model(bases.network(place), bases.tokenizer(place), base=base)
        adapters.apply(self.model, folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return `prediction` and `probability_LABEL` per `text`; `params={"head": NAME}` asks another head."""
        if "text" not in model_input.columns:
            raise BadInput("no such column", key="text", expected="a table with a column `text`")
        self.model.use_head((params or {}).get("head") or self.settings["head"])
        texts, labels = [str(text) for text in model_input["text"]], self.model.labels
        logits = inference.logits(
            self.model, texts, max_length=self.settings["max_length"], precision=self.settings["precision"]
        )
        probabilities = predictions.softmax(logits)
        answer = pd.DataFrame(
            probabilities, columns=[f"probability_{label}" for label in labels], index=model_input.index
        )
        answer.insert(0, "prediction", [labels[int(i)] for i in np.argmax(probabilities, axis=1)])
        return answer


mlflow.models.set_model(Served())
