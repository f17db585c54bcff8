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
from holdfast import adapters, digests, inference, models, predictions
from holdfast.errors import BadInput, Corrupt
from holdfast.generation import greedy
from holdfast.records import BaseRef, Start


class Served(PythonModel):
    """A registered version as a pyfunc.

    Its configuration is `base`, `digest`, `task`, `head`, `max_length`, `max_new_tokens` and `precision`.
    """

    def load_context(self, context: Any) -> None:
        """Load the base and apply the adapter, after checking both against the version's digests; else `Corrupt`."""
        folder, self.settings = Path(context.artifacts["adapter"]), dict(context.model_config)
        if digests.of_json(digests.of_folder(folder)) != self.settings["digest"]:
            raise Corrupt(f"{folder}: the adapter does not match the version's digest {self.settings['digest']}")
        base, task = BaseRef(**self.settings["base"]), self.settings.get("task", "classification")
        self.model = models.load_base(Start(model=base.name, base=base, task=task))
        adapters.apply(self.model, folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return `prediction` and `probability_LABEL` per `text`; `params={"head": NAME}` asks another head.

        A decoder returns the `answer` to every `prompt`, of at most `params={"max_new_tokens": N}` tokens.
        """
        if self.model.generates:
            return self._answer(model_input, (params or {}).get("max_new_tokens"))
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

    def _answer(self, model_input: pd.DataFrame, longest: int | None) -> pd.DataFrame:
        if "prompt" not in model_input.columns:
            raise BadInput("no such column", key="prompt", expected="a table with a column `prompt`")
        most = int(longest or self.settings["max_new_tokens"])
        how = greedy.Settings(max_new_tokens=most, precision=self.settings["precision"])
        said = greedy.answers(self.model, [str(prompt) for prompt in model_input["prompt"]], how)
        return pd.DataFrame({"answer": [answer.text for answer in said]}, index=model_input.index)


mlflow.models.set_model(Served())
