"""One home for a whole table of faults, and the real command line run in this process, without Prefect's server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.badinput.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[House]:
    """A project with good data, and a home in which its first version is champion."""
    with pytest.MonkeyPatch.context() as patch:
        made = House(tmp_path_factory.mktemp("badinput"), tiny_base, patch)
        made.build()
        yield made
