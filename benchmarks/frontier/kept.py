"""The finished units of a part that is not done, as lines of a file: another machine of that kind can go on from it."""

import json
from pathlib import Path

from holdfast.comparison import units


class Lines:
    """The units in `folder` that this part did, one line each in `path`: what the unit is named by, and its result."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self._seen = {file.stem for file in folder.glob("*.json")}

    def restore(self) -> None:
        """Put what was kept back where a comparison looks for it."""
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            self._seen.add(found["key"])
            units.whole(self.folder / f"{found['key']}.json", json.dumps(found["result"], ensure_ascii=False))

    def add(self) -> None:
        """Append the units that are new since the last time."""
        new = sorted(file for file in self.folder.glob("*.json") if file.stem not in self._seen)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            for file in new:
                result = json.loads(file.read_text(encoding="utf-8"))
                stream.write(json.dumps({"key": file.stem, "result": result}, ensure_ascii=False) + "\n")
        self._seen |= {file.stem for file in new}

    def drop(self) -> None:
        """Remove the lines, once the part is done and its document holds everything."""
        self.path.unlink(missing_ok=True)
