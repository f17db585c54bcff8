"""What the controller has seen of a tuning, on disk beside its checkpoints: a killed run does not look twice.

An entry is written only after everything that it speaks of; what was made on a machine with other settings is dropped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_FILE = "journal.json"


class Journal:
    """Entries by name, in the order in which they were made, and seconds spent by kind."""

    def __init__(self, folder: Path, machine: dict[str, Any]) -> None:
        self.folder, self.machine = folder, machine
        self.entries: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self._read()

    def _read(self) -> None:
        try:
            found = json.loads((self.folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if found["machine"] == json.loads(json.dumps(self.machine)):
            self.entries, self.seconds = dict(found["entries"]), found["seconds"]

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Take note of something, for good."""
        self.entries[name] = entry
        self._write()

    def spend(self, kind: str, seconds: float) -> None:
        """Add to the seconds of a kind of work; kept by the next `add`."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds

    def _write(self) -> None:
        """Write the file whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {"machine": self.machine, "entries": list(self.entries.items()), "seconds": self.seconds}
        part = self.folder / f"{_FILE}.part"
        with part.open("w", encoding="utf-8") as stream:
            json.dump(document, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.folder / _FILE)
