"""What there is to register: a pipeline with the records of its stages, and the key under which it is one version."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from holdfast import digests, lineage
from holdfast.records import Artifact, Assessed, Evaluated, Lineage, Prepared, Selected, Tuned, Validated
from holdfast.spec import Pipeline


@dataclass(frozen=True)
class Work:
    """A finished piece of work."""

    pipeline: Pipeline
    prepared: Prepared
    validated: Validated
    assessed: Assessed
    selected: Selected
    tuned: Tuned
    evaluated: Evaluated

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        return self.pipeline.registered_name

    @property
    def head(self) -> str:
        """The head that learned."""
        return self.pipeline.learn.head

    @cached_property
    def lineage(self) -> Lineage:
        """Start, data, method, code and evaluation."""
        return lineage.trace(
            self.pipeline, self.prepared, self.validated, self.selected, self.tuned, self.evaluated
        )  # fmt: skip

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved file without its gate, monitor and run: how it is judged and where it is made change nothing."""
        return {key: value for key, value in self.pipeline.resolved().items() if key not in ("gate", "monitor", "run")}

    @property
    def key(self) -> str:
        """SHA-256 of the settings, start, data, adapter and scores: the same key is the same run and version.

        A changed gate judges the version again; it does not make another one.
        """
        data = {key: version.digest for key, version in self.prepared.datasets.items()}
        scores = self.evaluated.model_dump(mode="json", exclude={"artifact"})
        return digests.of_json([self.settings, self.prepared.start.digest, data, self.tuned.adapter.digest, scores])

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """What the stages left, by the name that it has in the MLflow run."""
        found = {
            "validation": self.validated.artifact,
            "importance": self.assessed.artifact,
            "selection": self.selected.artifact,
            "curve": self.tuned.curve,
            "evaluation": self.evaluated.artifact,
        }
        return found | ({"trajectory": self.tuned.trajectory} if self.tuned.trajectory else {})
