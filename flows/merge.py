"""Versions merged into one, judged like any other: by the first one's data and contract, or another file's.

What to merge is the section `merge` of a pipeline file. `holdfast merge` writes it, and it is part of the version's own
`pipeline.yaml`, so that `holdfast run` of that file does the merge again.
"""

from pathlib import Path
from typing import Any

from flows.light import Light
from holdfast import report, results, spec, written
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.merging import merge as merging
from holdfast.records import Assessed, Evaluated, Merge, Prepared, Registered, Result, Validated, Verdict
from holdfast.registry import parents, versions
from holdfast.registry.parents import Parent
from tasks.assess import assess
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.prepare import prepare
from tasks.register import register
from tasks.rival import rival
from tasks.validate import validate

# What a file that merges does not say: nothing is tuned.
_TUNING = ("method", "examples", "parameters", "objective", "anchors", "schedule", "control")


def run(
    references: list[tuple[str, str]], how: str, weights: list[float], density: float | None, name: str, home: Home,
    judge: Path | None = None,
) -> Result:  # fmt: skip
    """Merge registered versions, (name, alias or number) each, into a new version of `name`, evaluate and gate it.

    `judge` is the pipeline file whose data and contract judge it; by default the first version's own.
    """
    found = [parents.find(*reference, home) for reference in references]
    wanted = {"versions": [parent.start.model for parent in found], "how": how, "weights": weights, "density": density}
    raw = written.read(judge) if judge else found[0].pipeline
    raw = {key: value for key, value in raw.items() if key not in _TUNING}
    raw |= {"name": name, "register": {"name": name}, "start": {"model": found[0].origin.model}, "merge": wanted}
    raw["assess"] = {**(raw.get("assess") or {}), "circuit": None}
    return _judged(spec.parse(raw, judge or Path("merge.yaml")), found, home)


def of_file(pipeline: spec.Pipeline, home: Home) -> Result:
    """Merge what a pipeline file says, into a new version or the one that this very merge has made already."""
    return _judged(pipeline, versions_of(pipeline, home), home)


def versions_of(pipeline: spec.Pipeline, home: Home) -> list[Parent]:
    """Return the versions that a pipeline file merges, an alias being whatever it names now."""
    assert pipeline.merge is not None
    return [parents.find(*versions.parse(reference), home) for reference in pipeline.merge.versions]


def prepared(pipeline: spec.Pipeline, found: list[Parent], home: Home) -> Prepared:
    """Return the data to judge by, the common start model and what to merge; raise `BadInput` where that cannot be."""
    said = pipeline.merge
    assert said is not None
    starts = tuple(parent.start for parent in found)
    wanted = Merge(how=said.how, weights=said.weights, density=said.density, parents=starts)
    origins = [parent.origin for parent in found]
    merging.check(wanted, origins, home)
    made = Prepared(**prepare.fn(pipeline, home)).model_copy(update={"merge": wanted, "teacher": None})
    if made.start.digest != origins[0].digest:
        what = f"{starts[0].model} was tuned from {origins[0].model}, and that is not the model {made.start.model}"
        raise BadInput(what, key="start.model", expected="what the merged versions were tuned from")
    return made


def _judged(pipeline: spec.Pipeline, found: list[Parent], home: Home) -> Result:
    made = prepared(pipeline, found, home)
    light, start = Light(home), made.start
    learn, remember, training = pipeline.learn, pipeline.remember, pipeline.training
    assert made.merge is not None
    validated = light.run(
        validate, Validated, datasets=made.datasets, start=start, learn=learn, remember=remember,
        max_length=training.max_length,
    )  # fmt: skip
    assessed = light.run(
        assess, Assessed, validated=validated, start=start, settings=pipeline.assess, learn=learn, remember=remember,
        training=training, elementwise=False,
    )  # fmt: skip
    tuned, selected = merging.merge(made.merge, start, learn.head, home)
    champion = rival.fn(pipeline.registered_name, tuned.adapter.digest, home)
    evaluated = light.run(
        evaluate, Evaluated, tuned=tuned, validated=validated, start=start, champion=champion, learn=learn,
        remember=remember, training=training,
    )  # fmt: skip
    parts: dict[str, Any] = {
        "pipeline": pipeline, "prepared": made, "validated": validated, "assessed": assessed,
        "selected": selected, "tuned": tuned, "evaluated": evaluated,
    }  # fmt: skip
    registered = Registered(**register.fn(**parts, home=home))
    verdict = Verdict(**gate.fn(registered=registered, evaluated=evaluated, settings=pipeline.gate, home=home))
    result = results.assemble(home=home, **parts, registered=registered, verdict=verdict, stages=())
    report.write(Path(result.report).parent, result, home=home, **parts)
    return result
