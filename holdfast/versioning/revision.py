"""Which commit a file belongs to, asked of git without changing anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def of_file(path: Path) -> str | None:
    """Return the commit of the git repository that `path` lies in, with `-dirty` where the file is not as committed.

    A file that the commit does not hold (new, or ignored) is `-dirty` too. None outside a repository, in one without a
    commit, and where git is not installed. Compares blob names, so the index is neither needed nor refreshed.
    """
    path = path.resolve()
    commit = _git(path.parent, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if commit is None:
        return None
    committed = _git(path.parent, "rev-parse", "--verify", "--quiet", f"HEAD:./{path.name}")
    present = _git(path.parent, "hash-object", "--", path.name)
    return commit if committed is not None and committed == present else f"{commit}-dirty"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails; a caller's GIT_DIR and the like are kept out."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
