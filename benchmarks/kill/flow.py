"""The whole flow, with Prefect, in a process that kills itself at a point.

python -m benchmarks.kill.flow "mid-epoch" HOME FILE ...     # an empty point kills nothing
"""

import sys
from pathlib import Path

from benchmarks.kill import points
from flows.cli import common


def main(name: str, place: Path, files: list[Path]) -> None:
    """Run files in the home `place`; print each result as one line of JSON."""
    home = common.enter(place)
    from flows import chain

    for point in points.ALL:
        if point.name == name:
            points.arm(point)
    for file in files:
        print(chain.run(file, [], home).model_dump_json(), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [Path(file) for file in sys.argv[3:]])
