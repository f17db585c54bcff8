"""One judge, chosen by name with its options or given as `module:function`, ready to be asked."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from holdfast import choices, closures, digests, faults
from holdfast.errors import BadInput
from holdfast.judges._case import Ask, Case
from holdfast.rows import Row


@dataclass(frozen=True)
class Judge:
    """A judge by its name, with all its options (none for a `module:function` or a `FILE.py:function`)."""

    name: str
    options: dict[str, Any]

    def verdicts(self, cases: Sequence[Case], ask: Ask) -> list[bool]:
        """Return whether each case's answer is accepted; raises `BadInput` where a plug-in fails or says no bool."""
        if ":" in self.name:
            own = _function(self.name)
            return [_own_verdict(self.name, own, case) for case in cases]
        module = choices.load("judges", self.name)
        found: list[bool] = module.judge(cases, module.Options(**self.options), ask)
        return found

    def check(self, rows: Sequence[Row]) -> None:
        """Raise `BadInput` naming the first row that this judge cannot judge by."""
        module = None if ":" in self.name else choices.load("judges", self.name)
        if module is not None and hasattr(module, "check"):
            module.check(rows, module.Options(**self.options))

    def key(self) -> dict[str, Any]:
        """Return what the verdicts depend on beside cases and model: name, options, and the code, as digests."""
        if ":" in self.name:
            source = getattr(_module(self.name.rpartition(":")[0]), "__file__", None)  # what is built in has none
            code = digests.of_file(Path(source)) if source else sys.version
            return {"judge": Path(self.name).name, "code": code}
        code = closures.digest([choices.module_name("judges", self.name), __name__])
        prompt = self.options.get("prompt")
        own = digests.of_file(Path(prompt)) if prompt else None
        return {"judge": self.name, "options": self.options, "prompt": own, "code": code}


def parse(raw: Any, key: str = "judge") -> Judge:
    """Return the judge that `raw` names: a name, {name: options}, `module:function` or `FILE.py:function`.

    A function is called as `function(prompt, answer, row)`, with the gold row, and returns True or False.

    Raises `BadInput` for more or fewer than one, an unknown name or option, and a function that cannot be found or
    does not take what it is called with.
    """
    if isinstance(raw, str) and ":" in raw:
        _function(raw, key)
        return Judge(raw, {})
    chosen = choices.parse("judges", raw, key)
    if len(chosen) != 1:
        raise BadInput(f"{len(chosen)} judges are chosen", key=key, expected="exactly one")
    return Judge(*next(iter(chosen.items())))


def _function(name: str, key: str = "judge") -> Callable[..., Any]:
    module, _, function = name.rpartition(":")
    try:
        found: Callable[..., Any] = getattr(_module(module), function)
    except (Exception, SystemExit) as error:  # importing runs the user's code
        wanted = "module:function, or FILE.py:function beside the pipeline file"
        raise BadInput(f"`{name}` cannot be imported ({_told(error)})", key=key, expected=wanted) from error
    if not callable(found):
        raise BadInput(f"`{name}` is not a function", key=key)
    if not _takes_three(found):
        raise BadInput(f"`{name}` cannot be called as a judge", key=key, expected="a function of (prompt, answer, row)")
    return found


def _takes_three(function: Callable[..., Any]) -> bool:
    """Say whether a function takes a prompt, an answer and a row; of some that are built in nothing can be said."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind("prompt", "answer", {})
    except TypeError:
        return False
    return True


def _module(name: str) -> ModuleType:
    """Return a module by its name, or the one in a file whose name ends in `.py`."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def _own_verdict(name: str, function: Callable[..., Any], case: Case) -> bool:
    """Return what a function of the user's own says; raise `BadInput` naming the row where it fails or says no bool."""
    try:
        verdict = function(case.prompt, case.answer, case.row)
    except (Exception, SystemExit) as error:
        if faults.full(error) or faults.out_of_memory(error):
            raise
        raise BadInput(f"the judge `{name}` failed ({_told(error)})", row=case.number) from error
    if not isinstance(verdict, bool):
        what = f"the judge `{name}` said {verdict!r:.40}"
        raise BadInput(what, row=case.number, expected="True or False")
    return verdict


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
