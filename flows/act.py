"""Acting on a decision: the one way in which an adaptation that drift asks for is begun, run and ended.

Whoever asks names a decision and nothing else; what is done is what the book says of it.
"""

import re
from pathlib import Path

from flows.adapt import adapt
from flows.bare import plain
from holdfast import clock, spec
from holdfast.decisions import book, retrain, trial
from holdfast.decisions.records import Adaptation, Decision
from holdfast.errors import BadInput, Fenced, HoldfastError
from holdfast.home import Home
from holdfast.records import Result
from holdfast.registry.ledger import Promotion

_KEY = re.compile("[0-9a-f]{64}")


async def act(key: str, file: Path, overrides: list[str], home: Home) -> Result | None:
    """Do what the decision `key` about the pipeline `file` asks for; raises what the functions below raise.

    Returns None where that was a rollback: the ledger says the rest.
    """
    if undo(key, file, overrides, home) is not None:
        return None
    return await finish(begin(key, file, overrides, home), file, overrides, home)


def undo(key: str, file: Path, overrides: list[str], home: Home) -> Promotion | None:
    """Roll back where the decision `key` asks for that; return the ledger's entry, None where it asks for a retrain.

    Done already, it stays done. Raises `BadInput` where the book has no such decision, `Conflict` where the champion is
    another one by now.
    """
    decision = _find(key, file, overrides, home)
    return trial.end(decision, home) if decision.outcome == "rollback" else None


def begin(key: str, file: Path, overrides: list[str], home: Home) -> Adaptation:
    """Begin the adaptation that the decision `key` asks for, under its fencing token.

    Raises `BadInput` where the book has no such decision to retrain or it was used up, `Conflict` where an adaptation
    of the name is under way.
    """
    longest = spec.load(file, overrides).monitor.retrain.longest
    return book.at(home).begin(_find(key, file, overrides, home), longest, clock.text())


def _find(key: str, file: Path, overrides: list[str], home: Home) -> Decision:
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r:.80} is not the key of a decision", expected="64 hexadecimal digits")
    return book.at(home).find(spec.load(file, overrides).registered_name, key)


async def finish(begun: Adaptation, file: Path, overrides: list[str], home: Home) -> Result:
    """Run the adaptation that was begun, and write in the book what came of it.

    What is killed here goes on when its decision is acted upon again; what fails is written down as failed. Raises
    `Fenced` where another one took over meanwhile, whose token is newer: nothing is written then.
    """
    pipeline, written = spec.load(file, overrides), book.at(home)
    try:
        planned = retrain.plan(written.find(begun.name, begun.decision), pipeline, home)
        result = Result(**await plain(adapt)(str(planned), [], str(home.path), begun.token))
    except Fenced:
        raise
    except HoldfastError as error:
        written.fail(begun, str(error), clock.text())
        raise
    written.end(begun, retrain.told(result), clock.text())
    return result
