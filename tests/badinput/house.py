"""The house that faults are tried on: a project, its home, and the command line called in this process.

The flow's own body runs, from the command's arguments to its exit code. Only Prefect is left out: a stage is a plain
call, remembered under its real cache key, so that a run in which nothing changed takes a moment.
"""

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from holdfast import home as homes
from tests.flows.conftest import sentences, write_rows

PARTS = ("train", "valid", "test")
RECIPE = {"epochs": 8, "learning_rate": 3e-3, "precision": "fp32"}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """What a user sees of a command: its exit code, the one JSON object on stdout, and stderr."""

    code: int
    answer: dict[str, Any]
    stderr: str

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.answer["error"])


class House:
    """A project and its home; `toy.yaml` learns from a base, `again.yaml` from its champion, which it remembers."""

    def __init__(self, root: Path, base: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.patch = root, patch
        self.project, self.base = root / "project", shutil.copytree(base, root / "project" / "base")
        self.home = homes.make(root / "home")
        self._results: dict[str, dict[str, Any]] = {}

    def build(self) -> None:
        """Write the project, stand in for Prefect, and make the two versions."""
        for part, numbers in zip(PARTS, (range(40), range(40, 50), range(50, 90)), strict=True):
            write_rows(self.project / f"{part}.csv", sentences(numbers))
            write_rows(self.project / f"moods-{part}.csv", moods(sentences(numbers)))
        self.write("toy", name="toy")
        self.write("again", **self.again())
        for name, value in homes.environment(self.home).items():
            self.patch.setenv(name, value)
        self._leave_prefect_out()
        for name in ("toy", "again"):
            told = self.call("run", f"{name}.yaml")
            assert told.code in (0, 3), told

    def again(self) -> dict[str, Any]:
        """Return what `again.yaml` changes: it starts from the champion of `toy` and remembers what that learned."""
        remember = [{"name": "old", "head": "label", "train": "train.csv", "valid": "valid.csv", "test": "test.csv"}]
        learn = {part: f"moods-{part}.csv" for part in PARTS} | {"head": "mood"}
        start = {"model": "models:/toy@champion"}
        return {"name": "again", "start": start, "learn": learn, "remember": [{**remember[0], "margin": 0.2}]}

    def write(self, file: str, **changes: Any) -> str:
        """Write a pipeline file from changes to the good one; return its name."""
        good = {
            "name": "bad",
            "start": {"model": "base"},
            "learn": {part: f"{part}.csv" for part in PARTS},
            "assess": {"examples": 16},
            "training": RECIPE,
        }
        path = self.project / f"{file}.yaml"
        path.write_text(yaml.safe_dump({**good, **changes}, sort_keys=False), encoding="utf-8")
        return path.name

    def bytes(self, name: str, data: bytes) -> str:
        """Write a file of the project; return its name."""
        (self.project / name).write_bytes(data)
        return name

    def rows(self, name: str, rows: Iterable[dict[str, Any]]) -> str:
        """Write a table of the project as CSV; return its name."""
        write_rows(self.project / name, list(rows))
        return name

    def call(self, *args: str) -> Told:
        """Call `holdfast ARGS --json` in the project; the home is this one unless `--home` is among the arguments."""
        from flows.cli.app import execute

        out, err = io.StringIO(), io.StringIO()
        line = [*args, "--json"]
        if args and args[0] not in ("init", "--help") and "--home" not in args:
            line += ["--home", str(self.home.path)]
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.chdir(self.project)
            patch.setattr(sys, "__stdout__", out)
            code = execute(line)
        assert out.getvalue().count("\n") == 1, f"{line}: not one JSON object: {out.getvalue()}\n{err.getvalue()}"
        return Told(code, json.loads(out.getvalue()), err.getvalue())

    def suffer(self, case: Any) -> tuple[Told, Any, Any]:
        """Call a case's command with its fault; return what was told, and what was visible before and after.

        Nothing is left lying about, and the command that must succeed next does, in the same home, as it is.
        """
        before, line = self.visible(), case.given(self)
        with case.during(self):
            told = self.call(*line)
        after = self.visible()
        assert self.leftovers() == []
        following = self.call(*(case.then or line))
        assert following.code in (0, 3), following
        return told, before, after

    @contextlib.contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Have an environment variable set for a while."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            yield

    def adapter(self, name: str = "toy") -> Path:
        """Return the folder of the adapter of a name's version 1 in the home's store."""
        from holdfast.registry import versions

        start = versions.fetch(name, "1", self.home)
        assert start.adapter
        return self.home.store.path(start.adapter)

    def forget(self) -> None:
        """Forget every stage's result, as if each had to run again."""
        self._results.clear()

    def plain(self, message: str) -> str:
        """Return a message without the temporary folders of this house."""
        return message.replace(f"{self.project}/", "").replace(str(self.home.path), "HOME").replace(str(self.root), "")

    def visible(self) -> dict[str, Any]:
        """Return everything that the registry, MLflow and the ledger show."""
        from holdfast.registry import catalogue, ledger, tracking

        client, book = tracking.client(self.home), ledger.at(self.home)
        names = catalogue.names(client)
        versions = client.search_model_versions()
        return {
            "versions": sorted((v.name, v.version, v.tags[catalogue.DIGEST], sorted(v.aliases)) for v in versions),
            "names": names,
            "ledger": {name: [entry.model_dump() for entry in book.history(name)] for name in names},
        }

    def leftovers(self) -> list[str]:
        """Return what a fault left half-made in the home."""
        return sorted(str(path.relative_to(self.home.path)) for path in self.home.path.rglob("part-*"))

    def _leave_prefect_out(self) -> None:
        """Have the flow's body call stages itself."""
        from flows import adapt, server, stages
        from tasks import publish

        results = self._results

        class Called(stages.Stages):
            async def run(self, stage: Any, gives: type, **inputs: Any) -> Any:
                key = stage.cache_key_fn and stage.cache_key_fn(SimpleNamespace(task=stage), inputs)
                cached = key in results and not stages.damaged(gives(**results[key]), self.home)
                found = results[key] if cached else stage.fn(**inputs, home=self.home)
                if key:
                    results[key] = found
                self.times.append(stages.StageTime(name=stage.name, seconds=0.0, cached=cached))
                return gives(**found)

        self.patch.setattr(adapt, "Stages", Called)
        self.patch.setattr(adapt, "rival", adapt.rival.fn)
        self.patch.setattr(publish, "publish", publish.publish.fn)
        self.patch.setattr(publish, "_show_in_prefect", lambda *parts: None)
        self.patch.setattr(server, "ready", lambda home: None)
        self.patch.setattr(adapt, "adapt", adapt.adapt.fn)


def moods(rows: Rows) -> Rows:
    """Return the rows in other words and with other labels."""
    words = {"movie": "enak", "food": "jelek", "service": "bagus"}
    labels = {"positive": "glad", "negative": "sad"}
    return [
        {"text": " ".join(words.get(word, word) for word in row["text"].split()), "label": labels[row["label"]]}
        for row in rows
    ]


@contextlib.contextmanager
def no_room(largest: int = 4096) -> Iterator[None]:
    """Let no file grow beyond `largest` bytes: a real failure of `write`, as on a full disk, also without root."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Be a user to whom nothing belongs, where this one is root and may do everything."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
