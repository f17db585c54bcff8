"""The model in production: the champion of a name, how it reads texts, and the data that it learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import rows
from holdfast.drift import observe, reference
from holdfast.errors import BadInput
from holdfast.records import DatasetVersion, Record, Start
from holdfast.registry import ledger, versions
from holdfast.validation import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.home import Home
    from holdfast.spec import Pipeline

_LEARNED = "learn."


class Champion(Record):
    """A champion: the version, since when and in which generation it is that, the head that answers, data by role."""

    name: str
    version: str
    start: Start
    promoted_at: str
    head: str
    max_length: int
    precision: str
    data: dict[str, str]
    generation: int = 0


def standing(name: str, home: Home) -> ledger.Promotion:
    """Return who is champion of `name` by the ledger, which is quick; raises `BadInput` where there is none."""
    entry = ledger.at(home).champion(name)
    if entry is None:
        raise BadInput(f"`{name}` has no champion to watch", remedy="`holdfast run FILE` makes one.")
    return entry


def find(name: str, home: Home) -> Champion:
    """Return the champion of `name`; raises `BadInput` where there is none, or it does not classify."""
    return was(standing(name, home), home)


def was(entry: ledger.Promotion, home: Home) -> Champion:
    """Return the champion that a line of the ledger made; raises `BadInput` where it does not classify."""
    name = entry.name
    shown, start = versions.show(name, entry.version, home), versions.fetch(name, entry.version, home)
    if start.task != "classification":
        raise BadInput(f"`{name}` generates answers", key="task", expected="a model that classifies, to be watched")
    method = shown["lineage"]["method"]
    return Champion(
        name=name,
        version=entry.version,
        start=start,
        promoted_at=entry.at,
        head=method["head"],
        max_length=method["training"]["max_length"],
        precision=method["training"]["precision"],
        data={key: used["used"] for key, used in shown["lineage"]["data"].items()},
        generation=entry.generation,
    )


def texts(champion: Champion, home: Home) -> frozenset[str]:
    """Return what the champion learned, remembered or was judged on, as `validation.columns.same` has texts."""
    data = [digest for key, digest in champion.data.items() if not key.endswith(".unlabelled")]
    return frozenset(columns.same(row["text"]) for digest in data for row in rows.stored(home, digest))


def reference_rows(champion: Champion, pipeline: Pipeline, home: Home) -> DatasetVersion:
    """Return the reference's rows: what the champion learned and was judged on, or the dataset that the file names."""
    monitor = pipeline.monitor
    if monitor.reference == "learn":
        data = {key: digest for key, digest in champion.data.items() if key.startswith(_LEARNED)}
        parts = {key.removeprefix(_LEARNED): rows.stored(home, digest) for key, digest in data.items()}
    else:
        from holdfast.versioning import prepare

        named = pipeline.learn.model_copy(update=dict.fromkeys(("train", "valid", "test"), monitor.reference))
        parts = {"named": rows.read(home, prepare.prepare(named, (), monitor.seed, home)["learn.test"])}
    return reference.gather(parts, monitor.reference_rows, monitor.seed, home)


def look(champion: Champion, given: Sequence[observe.Row], home: Home, embed: bool = True) -> observe.Observed:
    """Return rows as the champion sees them; what another version answered, as a log may say, is not its answer."""
    from holdfast import models

    model = models.load(champion.start, home)
    model.use_head(champion.head)
    own = [row if row.get("version") in (None, champion.version) else _unanswered(row) for row in given]
    return observe.observe(model, own, champion.max_length, champion.precision, embed)


def _unanswered(row: observe.Row) -> observe.Row:
    return {key: value for key, value in row.items() if key not in ("prediction", "probabilities", "version")}
