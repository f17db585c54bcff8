"""A content-addressed store of artifact folders: put once, named by digest, verified whenever opened.

An artifact is a folder of files. Its digest is the SHA-256 of the canonical JSON {relative path: SHA-256 of the file},
so two folders with the same files have the same name. Artifacts are whole or absent: `put` writes beside the place and
renames.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast import digests, parts
from holdfast.errors import Corrupt
from holdfast.records import Artifact


class Store:
    """Artifact folders below `root`, each at `root/<first two hex digits>/<digest>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the store's own disk, removed on exit (whatever `put` took away stays)."""
        with parts.making(self.root / "scratch") as folder:
            yield folder

    def put(self, folder: Path, kind: str) -> Artifact:
        """Move `folder` into the store and return its name; where the same content is there, whole, drop the copy."""
        files = digests.of_folder(folder)
        artifact = Artifact(kind=kind, digest=digests.of_json(files))
        place = self.path(artifact)
        if place.exists():
            if self.holds(artifact):
                shutil.rmtree(folder)
                return artifact
            self.discard(artifact)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._manifest(artifact).write_text(json.dumps(files, indent=1, sort_keys=True))
        try:
            folder.rename(place)
        except OSError:
            if not place.exists():
                raise
            shutil.rmtree(folder, ignore_errors=True)
        return artifact

    def path(self, artifact: Artifact) -> Path:
        """Return where an artifact's folder is or would be, unverified; raise `Corrupt` for what is no digest."""
        if not re.fullmatch("[0-9a-f]{64}", artifact.digest):
            raise Corrupt(f"{artifact.digest!r:.80} is not the digest of a {artifact.kind} artifact")
        return self.root / artifact.digest[:2] / artifact.digest

    def _manifest(self, artifact: Artifact) -> Path:
        return self.path(artifact).with_name(f"{artifact.digest}.json")

    def open(self, artifact: Artifact) -> Path:
        """Return the folder of `artifact` after checking every file against the digest; raise `Corrupt` otherwise."""
        place = self.path(artifact)
        if not place.is_dir():
            raise Corrupt(
                f"{place}: the {artifact.kind} artifact {artifact.digest[:12]} is missing; run again to remake it"
            )
        if digests.of_json(digests.of_folder(place)) != artifact.digest:
            raise Corrupt(f"{place}: {self._difference(artifact)} does not match the {artifact.kind} artifact's digest")
        return place

    def holds(self, artifact: Artifact) -> bool:
        """Say whether the artifact is present with every byte as recorded."""
        try:
            self.open(artifact)
        except Corrupt:
            return False
        return True

    def discard(self, artifact: Artifact) -> None:
        """Remove an artifact that is damaged, so that it can be made again."""
        shutil.rmtree(self.path(artifact), ignore_errors=True)

    def _difference(self, artifact: Artifact) -> str:
        found = digests.of_folder(self.path(artifact))
        try:
            wanted = json.loads(self._manifest(artifact).read_text())
        except (OSError, ValueError):
            return "the folder"
        changed = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        return ", ".join(changed) or "the folder"
