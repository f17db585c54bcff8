"""The flow `backtest`: a dated stream through the real loop in virtual time, under several policies side by side.

In every window: the champion answers, the answers go into the prediction log, labels come (late, where that is asked
for), and one round of `monitor --act` is done at the window's time. All policies begin with one champion, which the
pipeline file makes, each under a registered name of its own in a home of the backtest's own. Killed anywhere, the same
command goes on from the last finished window and comes to the same result.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flows import bare, chain, monitor
from flows.light import Light
from holdfast import clock, models, predictions, progress, rows, spec
from holdfast.backtest import picture, policies, steps, stream, summary
from holdfast.backtest.settings import Settings
from holdfast.backtest.stream import Stop
from holdfast.comparison import units
from holdfast.decisions import book
from holdfast.drift import champion as champions
from holdfast.drift import log
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.registry import ledger
from holdfast.spec import Pipeline

Announce = Callable[[str], None]
Row = dict[str, Any]


def backtest(file: Path, settings: Settings, home: Home, out: Path, announce: Announce) -> dict[str, Any]:
    """Do what is missing of a backtest in its `home`; write `backtest.json`, `backtest.md`, `timeline.png` into `out`.

    Returns the document that `holdfast.backtest.summary` describes.
    """
    pipeline = spec.load(file, settings.changes)
    given = stream.read(settings.stream, pipeline, settings.since, settings.until, home)
    stops = stream.cut(given, pipeline)
    left_out = len(given) - sum(len(stop.rows) for stop in stops)
    if left_out:
        announce(f"{left_out} rows at the end fill no window and are left out")
    replay = _Replay(file, pipeline, settings, stops, home, announce)
    with bare.without_prefect(Light):
        found = {policy: replay.policy(policy) for policy in settings.policies}
        earlier = replay.earlier(step.champion_digest for own in found.values() for step in own)
    about = {
        "pipeline": pipeline.name, "stream": Path(settings.stream).name, "stream_digest": stream.digest(given),
        "from": given[0]["time"], "to": given[-1]["time"], "rows": len(given) - left_out, "windows": len(stops),
        "label_delay_hours": settings.label_delay, "calendar_hours": round(replay.hours, 2),
        "seed": pipeline.training.seed, "home": str(home.path),
    }  # fmt: skip
    return _write(summary.document(about, found, earlier, replay.first), out)


class _Replay:
    """The windows of a stream under one policy after the other, in one home."""

    def __init__(
        self, file: Path, pipeline: Pipeline, settings: Settings, stops: Sequence[Stop], home: Home, announce: Announce
    ) -> None:
        self.file, self.pipeline, self.settings, self.stops = file, pipeline, settings, stops
        self.home, self.announce = home, announce
        self.kept = steps.Kept(home.path / "backtest")
        self.hours = policies.every(pipeline, stops, settings.every)
        self.first = 0.0

    def policy(self, policy: str) -> list[steps.Step]:
        """Return the steps of a policy, done now or before."""
        changes = [*self.settings.changes, *policies.overrides(policy, self.name(policy), self.hours)]
        self._start(policy, changes)
        found = []
        for stop in self.stops:
            step = self.kept.step(policy, stop.number)
            if step is None:
                step = self._window(policy, stop, changes)
                self.kept.keep(step)
                self.announce(_brief(step, len(self.stops)))
            found.append(step)
            progress.report(policy, stop.number, len(self.stops), {"accuracy": step.accuracy})
        return found

    def name(self, policy: str) -> str:
        """Return the registered name under which a policy's versions stand."""
        return f"{self.pipeline.name}-{policy}"

    def _start(self, policy: str, changes: list[str]) -> None:
        """Make the first champion, whose promotion is dated before the stream; what policies share is done once."""
        if ledger.at(self.home).champion(self.name(policy)) is not None:
            return
        self.announce(f"{policy}: making the first champion")
        with clock.at(self.stops[0].now - timedelta(seconds=1)):
            result = chain.run(self.file, changes, self.home, self.announce)
        if result.verdict != "promoted":
            raise HoldfastError(f"{self.file} was not promoted ({result.reason}), so there is nothing to watch")

    def _window(self, policy: str, stop: Stop, changes: list[str]) -> steps.Step:
        answered = self.kept.answered(policy, stop.number) or self._answer(policy, stop)
        begun, name = time.process_time(), self.name(policy)
        with clock.at(stop.now):
            self._labels(name, stop)
        failed = None
        try:
            monitor.once(
                self.file, changes, self.home, manual=policies.asks(policy), act=True, now=stop.now
            )  # fmt: skip
        except HoldfastError as error:
            if all(decision.at != answered.until for decision in book.at(self.home).past(name).decisions):
                raise
            failed = str(error)
        spent = answered.seconds + time.process_time() - begun
        return steps.told(answered, name, failed, spent, self.home)

    def _answer(self, policy: str, stop: Stop) -> steps.Answered:
        """Have the champion of the moment answer the window's rows, and log the answers."""
        champion = champions.find(self.name(policy), self.home)
        begun, given = time.process_time(), list(stop.rows)
        texts = [{key: value for key, value in row.items() if key != "label"} for row in given]
        said = _said(champion, texts, self.home)
        log.append(self.home, champion.name, champion.version, said)
        answered = steps.Answered(
            policy=policy, number=stop.number, until=_at(stop.now), rows=len(given),
            right=_right(said, given),
            version=champion.version,
            seconds=round(time.process_time() - begun, 2),
        )  # fmt: skip
        self.kept.keep(answered)
        return answered

    def _labels(self, name: str, stop: Stop) -> None:
        """Have the labels come that are due by now and were not at the window before."""
        delay = timedelta(hours=self.settings.label_delay)
        due = [one for one in self.stops[: stop.number] if one.now + delay <= stop.now]
        if stop.number > 1:
            before = self.stops[stop.number - 2].now
            due = [one for one in due if one.now + delay > before]
        if due:
            log.add_labels(self.home, name, {row["id"]: row["label"] for one in due for row in one.rows})

    def earlier(self, wanted: Iterable[str]) -> dict[str, float]:
        """Return, by adapter, the accuracy on the rows that the first champion was judged on."""
        book_of = ledger.at(self.home)
        entries = [entry for policy in self.settings.policies for entry in book_of.history(self.name(policy))]
        test = rows.stored(self.home, champions.was(entries[0], self.home).data["learn.test"])
        found = {}
        for digest in dict.fromkeys([entries[0].digest, *wanted]):
            score = self.kept.score(digest)
            if score is None:
                entry = next(entry for entry in entries if entry.digest == digest)
                score = _accuracy(champions.was(entry, self.home), test, self.home)
                self.kept.keep_score(digest, score)
            found[digest] = score
        self.first = found[entries[0].digest]
        return found


def _accuracy(champion: champions.Champion, given: Sequence[Row], home: Home) -> float:
    said = _said(champion, given, home)
    return _right(said, given) / len(given)


def _right(said: Sequence[Row], given: Sequence[Row]) -> int:
    return sum(bool(a["prediction"] == row["label"]) for a, row in zip(said, given, strict=True))


def _said(champion: champions.Champion, given: Sequence[Row], home: Home) -> list[Row]:
    """Return rows with the champion's predictions."""
    model = models.load(champion.start, home)
    model.use_head(champion.head)
    reading = predictions.Reading("text", champion.max_length, champion.precision)
    return predictions.predict(model, list(given), reading, Path("stream"))


def _at(moment: datetime) -> str:
    with clock.at(moment):
        return clock.text()


def _brief(step: steps.Step, total: int) -> str:
    done = f", retrained: {step.retrained}" if step.retrained else ""
    back = ", rolled back" if step.rolled_back else ""
    return f"{step.policy} {step.number}/{total} {step.until[:10]}: {step.accuracy:.3f}, {step.outcome}{done}{back}"


def _write(document: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the three files and return the document."""
    out.mkdir(parents=True, exist_ok=True)
    units.whole(out / "backtest.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    units.whole(out / "backtest.md", summary.markdown(document))
    picture.draw(document, out / "timeline.png")
    return document
