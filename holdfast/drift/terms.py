"""Texts as hashed n-grams: words and pieces of words, in any language, with no list of stop words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WIDTH = 2**18


def count(texts: Sequence[str]) -> csr_matrix:
    """Return single words and the three- and four-character pieces of words, hashed, float32 [texts, 2 x WIDTH].

    Either half of a row has length 1 (or 0), so that long texts weigh no more than short ones.
    """
    from scipy.sparse import csr_matrix, hstack

    if not len(texts):
        return csr_matrix((0, 2 * WIDTH), dtype="float32")
    return hstack([counter.transform(texts) for counter in _counters()], format="csr")


@cache
def _counters() -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer

    common = {"n_features": WIDTH, "norm": "l2", "alternate_sign": True, "dtype": "float32"}
    words = HashingVectorizer(analyzer="word", token_pattern=r"(?u)\b\w+\b", **common)
    return words, HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **common)
