"""What was freed is used again without asking the system for it page by page."""

import os
import subprocess
import sys

import pytest

from holdfast import memory

_FAULTS = """
import resource, sys
import numpy as np
from holdfast import memory
if sys.argv[1] == "kept":
    memory.keep()
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(1 << 23)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not memory.keep(), reason="this allocator cannot be told")
def test_freed_memory_is_kept() -> None:
    small = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # pages of 4 KiB, whatever the machine has
    faults = {
        how: int(subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, env=small).stdout)
        for how in ("kept", "given back")
    }
    assert faults["kept"] < 100 < faults["given back"] / 10
