"""Near misses: which names a person may have meant."""

import difflib
from collections.abc import Iterable


def misses(wanted: str, known: Iterable[str], n: int = 3) -> str:
    """Return the `n` known names most like `wanted` (stars ignored), as a sentence."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(wanted.replace("*", ""), names, n=n, cutoff=0.0)
    return f"Nearest: {', '.join(f'`{name}`' for name in close)}."
