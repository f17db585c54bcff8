"""Shared fixtures: a home in a temporary folder, a tiny random encoder, small tables. One place shrinks everything."""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DO_NOT_TRACK", "DVC_NO_ANALYTICS"):
    os.environ[_name] = "1"
os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    GX_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    TORCHINDUCTOR_COMPILE_THREADS="1",  # no pool of processes for a handful of small kernels
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)
os.environ.pop("HOLDFAST_HOME", None)

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import home as homes
from holdfast.home import Home
from holdfast.records import BaseRef, Start

ROOT = Path(__file__).resolve().parents[1]
OPINIONS = ["good", "bad", "fine", "awful", "great", "poor", "nice", "nasty", "bagus", "buruk", "enak", "jelek"]
WORDS = [*OPINIONS, "the", "a", "is", "was", "movie", "food", "service", "very", "not", "and"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that talk to servers, then those with slow tests: no worker has one left at the end."""
    weight: Counter[Path] = Counter()
    for item in items:
        kinds = {mark.name for mark in item.iter_markers()}
        weight[item.path] = max(weight[item.path], 2 * ("service" in kinds) + ("slow" in kinds))
    items.sort(key=lambda item: -weight[item.path])


_drawn: list[bool] = []  # whether the test that runs now has its pictures drawn


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note, before any fixture, whether a test is about pictures."""
    _drawn[:] = [item.get_closest_marker("pictures") is not None]


@pytest.fixture(scope="session", autouse=True)
def few_pictures() -> Iterator[None]:
    """Have pictures drawn only for tests that are marked `pictures`: one takes as long as tuning a toy does."""
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def save(figure: Figure, place: Any, **options: Any) -> None:
        if any(_drawn):
            draw(figure, place, **options)
        else:
            (place.write if hasattr(place, "write") else Path(place).write_bytes)(b"a picture that no test looks at")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home in a temporary folder."""
    return homes.make(tmp_path / "home")


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer BERT (hidden 32, 4 heads) and a word-level WordPiece tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-base")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_start(tiny_base: Path) -> Start:
    """The tiny encoder as a start model without heads."""
    from holdfast import digests

    base = BaseRef(name=str(tiny_base), revision=None, sha256=digests.of_file(tiny_base / "model.safetensors"))
    return Start(model=str(tiny_base), base=base)


@pytest.fixture(scope="session")
def toy_rows() -> list[dict[str, str]]:
    """Forty-eight distinct labelled sentences over the tiny vocabulary, two labels, balanced."""
    good, bad = ["good", "fine", "great", "nice"], ["bad", "awful", "poor", "nasty"]
    things = ["movie", "food", "service"]
    rows = []
    for label, words in (("positive", good), ("negative", bad)):
        for word in words:
            for thing in things:
                rows.append({"text": f"the {thing} was {word}", "label": label})
                rows.append({"text": f"a very {word} {thing}", "label": label})
    return [{"id": str(i), **row} for i, row in enumerate(rows)]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets; the test is skipped, visibly, where it is absent."""
    named = os.environ.get("HOLDFAST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data: set HOLDFAST_DATA to the folder that holds it")
    return folder
