"""Between register and gate, where drift asked for the adaptation: the challenger beside the champion."""

from prefect import task

from holdfast.home import Home
from holdfast.records import Registered, Shadow, Start, Tuned, Validated
from holdfast.spec import Pipeline


@task(name="shadow", persist_result=False)
def shadow(
    registered: Registered,
    tuned: Tuned,
    validated: Validated,
    start: Start,
    champion: Start | None,
    pipeline: Pipeline,
    home: Home,
) -> Shadow | None:
    """Return how the challenger does on the newest labelled window; never cached, because windows keep coming."""
    from holdfast.decisions import shadow as shadows

    return shadows.compare(registered, tuned, validated, start, champion, pipeline, home)
