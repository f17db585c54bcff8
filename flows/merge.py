"""Versions merged into one, judged like any other: by the first one's data and contract, or another file's."""

from pathlib import Path
from typing import Any

from flows.light import Light
from holdfast import report, results, spec, written
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.merging import merge as merging
from holdfast.records import Assessed, Evaluated, Merge, Prepared, Registered, Result, Validated, Verdict
from holdfast.registry import parents
from tasks.assess import assess
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.prepare import prepare
from tasks.register import register
from tasks.rival import rival
from tasks.validate import validate


def run(
    references: list[tuple[str, str]], how: str, weights: list[float], density: float | None, name: str, home: Home,
    judge: Path | None = None,
) -> Result:  # fmt: skip
    """Merge registered versions, (name, alias or number) each, into a new version of `name`, evaluate and gate it.

    `judge` is the pipeline file whose data and contract judge it; by default the first version's own.
    """
    found = [parents.find(*reference, home) for reference in references]
    starts = tuple(parent.start for parent in found)
    wanted = Merge(how=how, weights=tuple(weights), density=density, parents=starts)  # type: ignore[arg-type]
    merging.check(wanted, [parent.origin for parent in found], home)
    origin = found[0].origin
    pipeline = _judging(found[0].pipeline, judge, origin.model, name)
    prepared = Prepared(**prepare.fn(pipeline, home)).model_copy(update={"merge": wanted, "teacher": None})
    if prepared.start.digest != origin.digest:
        raise BadInput(f"the versions were tuned from {origin.model}, which is another model by now")
    return _judged(pipeline, prepared, home)


def _judging(raw: dict[str, Any], judge: Path | None, start: str, name: str) -> spec.Pipeline:
    """Return the pipeline file that judges a merged version, under its name and for the common start model."""
    values = written.read(judge) if judge else dict(raw)
    values |= {"name": name, "register": {"name": name}, "start": {"model": start}}
    pipeline = spec.parse(values, judge or Path("merge.yaml"))
    return pipeline.model_copy(update={"assess": pipeline.assess.model_copy(update={"circuit": None})})


def _judged(pipeline: spec.Pipeline, prepared: Prepared, home: Home) -> Result:
    light, start = Light(home), prepared.start
    learn, remember, training = pipeline.learn, pipeline.remember, pipeline.training
    assert prepared.merge is not None
    validated = light.run(
        validate, Validated, datasets=prepared.datasets, start=start, learn=learn, remember=remember,
        max_length=training.max_length,
    )  # fmt: skip
    assessed = light.run(
        assess, Assessed, validated=validated, start=start, settings=pipeline.assess, learn=learn, remember=remember,
        training=training, elementwise=False,
    )  # fmt: skip
    tuned, selected = merging.merge(prepared.merge, start, learn.head, home)
    champion = rival.fn(pipeline.registered_name, tuned.adapter.digest, home)
    evaluated = light.run(
        evaluate, Evaluated, tuned=tuned, validated=validated, start=start, champion=champion, learn=learn,
        remember=remember, training=training,
    )  # fmt: skip
    parts: dict[str, Any] = {
        "pipeline": pipeline, "prepared": prepared, "validated": validated, "assessed": assessed,
        "selected": selected, "tuned": tuned, "evaluated": evaluated,
    }  # fmt: skip
    registered = Registered(**register.fn(**parts, home=home))
    verdict = Verdict(**gate.fn(registered=registered, evaluated=evaluated, settings=pipeline.gate, home=home))
    result = results.assemble(home=home, **parts, registered=registered, verdict=verdict, stages=())
    report.write(Path(result.report).parent, result, home=home, **parts)
    return result
