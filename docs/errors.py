"""Write docs/errors.md, the table of what can be wrong and what Holdfast says of it, by making each thing wrong.

    python docs/errors.py

The cases are those of the tests (tests/badinput), where each message is checked too, and that it stands on the page.
"""

import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.badinput.page import line  # noqa: E402

HEAD = """# What Holdfast says when something is wrong

Bad input exits with 2, a failure with 1; neither leaves anything half-made, and the next run in the same home needs no
cleaning up. With `--json` the message is `error` in the one JSON object on stdout. Written by `python docs/errors.py`.

| what is wrong | exit | what Holdfast says |
|---|---|---|
"""


class Page:
    """A pytest plugin that collects what every case's command told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> None:
        """Add the line of a case that passed and was told as an error."""
        for _, (wrong, code, message) in item.user_properties if call.when == "call" and not call.excinfo else ():
            self.lines.append(line(wrong, code, message))


def main() -> int:
    """Run the cases and write the page; return pytest's exit code."""
    page = Page()
    with tempfile.TemporaryDirectory(prefix="errors-") as scratch:
        code = pytest.main([str(ROOT / "tests" / "badinput"), "-q", f"--basetemp={scratch}/run"], plugins=[page])
    if code == 0:
        (ROOT / "docs" / "errors.md").write_text(HEAD + "\n".join(page.lines) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
