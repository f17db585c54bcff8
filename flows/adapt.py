"""The flow `adapt`: prepare -> validate -> assess -> select -> tune -> evaluate -> register -> (shadow) -> gate.

A file with a section `merge` has versions merged instead of anything selected and tuned: see `flows.merge`.
"""

from pathlib import Path
from typing import Any

from prefect import flow

from flows import alarm, chain, merge
from flows.bare import plain
from flows.stages import Stages
from holdfast import home as homes
from holdfast import spec
from holdfast.records import (
    Assessed,
    Evaluated,
    Prepared,
    Registered,
    Selected,
    Shadow,
    Start,
    Tuned,
    Validated,
    Verdict,
)
from holdfast.registry import fencing
from tasks import elsewhere, publish
from tasks.assess import assess
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.prepare import prepare
from tasks.register import register
from tasks.rival import rival
from tasks.select import select
from tasks.shadow import shadow
from tasks.tune import tune
from tasks.validate import validate


@flow(name="adapt", flow_run_name="adapt {file}", persist_result=False)
async def adapt(file: str, overrides: list[str], home: str, token: int | None = None) -> dict[str, Any]:
    """Adapt a model as the pipeline file says and return the result (`holdfast.records.Result`) as a dictionary.

    A start model that is not registered yet is made first, by the file that `start.made_by` names. `overrides` are
    `dotted.key=value` pairs; `home` is the folder where state lives. `token` is that of an adaptation
    which drift asked for (`holdfast.decisions.book`): its version is compared with the champion on production data too,
    and the run writes nothing once another one took its place.
    """
    pipeline = spec.load(Path(file), overrides)
    stages = Stages(fencing.under(homes.make(Path(home)), pipeline.registered_name, token))
    elsewhere.check(pipeline.run, stages.home)
    for path in chain.needed(Path(file), overrides, stages.home):
        chain.check_made(path, await plain(adapt)(str(path), [], home), file)
    if pipeline.merge is not None:
        merged: dict[str, Any] = merge.of_file(pipeline, stages.home).model_dump(mode="json")
        await alarm.wake(pipeline, stages.home)
        return merged
    learn, remember, training = pipeline.learn, pipeline.remember, pipeline.training

    prepared = await stages.run(prepare, Prepared, pipeline=pipeline)
    start = prepared.start
    validated = await stages.run(
        validate, Validated, datasets=prepared.datasets, start=start, learn=learn, remember=remember,
        max_length=training.max_length,
    )  # fmt: skip
    assessed = await stages.run(
        assess, Assessed, validated=validated, start=start, settings=pipeline.assess, learn=learn, remember=remember,
        training=training, elementwise=pipeline.needs_elementwise_importance(),
    )  # fmt: skip
    selected = await stages.run(
        select, Selected, assessed=assessed, validated=validated, start=start, parameters=pipeline.parameters,
        recipe=pipeline.recipe, remember=remember, teacher=prepared.teacher,
    )  # fmt: skip
    tuned = await stages.run(
        tune, Tuned, selected=selected, assessed=assessed, validated=validated, start=start, recipe=pipeline.recipe,
        remember=remember, teacher=prepared.teacher, run=pipeline.run,
    )  # fmt: skip
    champion: Start | None = plain(rival)(pipeline.registered_name, tuned.adapter.digest, stages.home)
    evaluated = await stages.run(
        evaluate, Evaluated, tuned=tuned, validated=validated, start=start, champion=champion, learn=learn,
        remember=remember, training=training,
    )  # fmt: skip
    registered = await stages.run(
        register, Registered, pipeline=pipeline, prepared=prepared, validated=validated, assessed=assessed,
        selected=selected, tuned=tuned, evaluated=evaluated,
    )  # fmt: skip
    shadowed: Shadow | None = None
    if token is not None:
        shadowed = plain(shadow)(registered, tuned, validated, start, champion, pipeline, stages.home)
    verdict = await stages.run(
        gate, Verdict, registered=registered, evaluated=evaluated, settings=pipeline.gate, shadow=shadowed
    )  # fmt: skip

    result: dict[str, Any] = plain(publish.publish)(
        pipeline=pipeline, prepared=prepared, validated=validated, assessed=assessed, selected=selected, tuned=tuned,
        evaluated=evaluated, registered=registered, shadow=shadowed, verdict=verdict, stages=tuple(stages.times),
        home=stages.home,
    )  # fmt: skip
    await alarm.wake(pipeline, stages.home)
    return result
