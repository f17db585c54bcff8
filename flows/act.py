"""Acting on a decision: the one way in which an adaptation that drift asks for is begun, run and ended.

Whoever asks names a decision and nothing else; what is done is what the book says of it.
"""

import re
from pathlib import Path

from flows.adapt import adapt
from flows.bare import plain
from holdfast import clock, spec
from holdfast.decisions import book, retrain
from holdfast.decisions.records import Adaptation
from holdfast.errors import BadInput, HoldfastError
from holdfast.home import Home
from holdfast.records import Result

_KEY = re.compile("[0-9a-f]{64}")


async def act(key: str, file: Path, overrides: list[str], home: Home) -> Result:
    """Do what the decision `key` about the pipeline `file` asks for; raises what `begin` and `finish` raise."""
    return await finish(begin(key, file, overrides, home), file, overrides, home)


def begin(key: str, file: Path, overrides: list[str], home: Home) -> Adaptation:
    """Begin the adaptation that the decision `key` asks for, under its fencing token.

    Raises `BadInput` where the book has no such decision to retrain or it was used up, `Conflict` where an adaptation
    of the name is under way.
    """
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r:.80} is not the key of a decision", expected="64 hexadecimal digits")
    pipeline, written = spec.load(file, overrides), book.at(home)
    decision = written.find(pipeline.registered_name, key)
    return written.begin(decision, pipeline.monitor.retrain.longest, clock.text())


async def finish(begun: Adaptation, file: Path, overrides: list[str], home: Home) -> Result:
    """Run the adaptation that was begun, and write in the book what came of it.

    What is killed here goes on when its decision is acted upon again; what fails is written down as failed.
    """
    pipeline, written = spec.load(file, overrides), book.at(home)
    try:
        planned = retrain.plan(written.find(begun.name, begun.decision), pipeline, home)
        result = Result(**await plain(adapt)(str(planned), [], str(home.path)))
    except HoldfastError as error:
        written.fail(begun, str(error), clock.text())
        raise
    written.end(begun, retrain.told(result), clock.text())
    return result
