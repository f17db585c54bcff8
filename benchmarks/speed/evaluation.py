"""Section 5: classifying, minimal pairs and multiple choice, beside Trainer.predict and lm-eval's backend."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed import rivals, world
from benchmarks.speed.world import Side
from holdfast import bases, digests, home, inference, models, rows
from holdfast.forgetting.scorer import Scorer
from holdfast.generation import encoding, forks, options
from holdfast.generation.likelihood import Compute
from holdfast.models import Model
from holdfast.records import BaseRef, Start
from holdfast.spec import Training

PAIRS, QUESTIONS = 6, 12  # pairs of each of BLiMP's 67 phenomena; questions of each of the two kinds


def classifying() -> dict[str, Side]:
    """A classifier on the 400 test rows: a first evaluation, a second one, and Trainer.predict."""
    place = home.make(Path(tempfile.mkdtemp(prefix="holdfast-speed-")) / "home")
    folder = world.encoder_folder()
    base = BaseRef(name=str(folder), revision=None, sha256=digests.of_file(folder / "model.safetensors"))
    start = Start(model=str(folder), base=base)
    model = models.load(start, place)
    model.add_head("mood", world.LABELS, 1)
    dataset = rows.version(place, world.nusax("test"))

    exact = functools.cache(lambda: _exact(model))

    def scorer() -> Scorer:
        found = Scorer(start, Training(max_length=world.LENGTH, precision="bf16"), place)
        found._model = model  # the rival's is in memory too
        return found

    def first(repetition: int) -> dict[str, Any]:
        texts = rows.texts(rows.read(place, dataset))
        logits, cost = world.timed(lambda: inference.logits(model, texts, max_length=world.LENGTH, precision="bf16"))
        return _compared(logits, cost, exact())

    def second(repetition: int) -> dict[str, Any]:
        scorer().logits(dataset, "mood")
        return world.timed(lambda: scorer().logits(dataset, "mood"))[1]

    sides: dict[str, Side] = {"holdfast": first, "holdfast, again": second}
    theirs: dict[str, dict[str, Any]] = {
        "Trainer.predict": {},
        "Trainer.predict, bf16 weights": {"bf16_full_eval": True, "per_device_eval_batch_size": 16},
    }
    for name, told in theirs.items():
        sides[name] = functools.partial(_predict, model, told, exact)
    return sides


def _exact(model: Model) -> np.ndarray:
    texts = [row["text"] for row in world.nusax("test")]
    return inference.logits(model, texts, max_length=world.LENGTH, precision="fp32")


def _predict(model: Model, told: dict[str, Any], exact: Callable[[], np.ndarray], repetition: int) -> dict[str, Any]:
    import copy

    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    rivals.quiet()
    network, found = copy.deepcopy(model.network), world.nusax("test")

    def work() -> np.ndarray:
        table = Dataset.from_dict({"text": [row["text"] for row in found]})
        table = table.map(
            lambda part: model.tokenizer(part["text"], truncation=True, max_length=world.LENGTH),
            batched=True,
            remove_columns=["text"],
        )
        place = tempfile.mkdtemp(prefix="rival-")
        arguments = TrainingArguments(place, report_to="none", disable_tqdm=True, use_cpu=True, **told)
        trainer = Trainer(network, arguments, data_collator=DataCollatorWithPadding(model.tokenizer))
        said: np.ndarray = np.asarray(trainer.predict(table).predictions, np.float32)
        return said

    logits, cost = world.timed(work)
    return _compared(logits, cost, exact())


@functools.cache
def _folder() -> Path:
    return world.decoder_folder(Path(tempfile.mkdtemp(prefix="holdfast-decoder-")))


@functools.cache
def decoder() -> Model:
    """Return a random Llama of MiniLM's size."""
    folder = _folder()
    base = BaseRef(name=str(folder), revision=None, sha256=digests.of_file(folder / "model.safetensors"))
    return models.load_base(Start(model=str(folder), base=base, task="generation"))


@functools.cache
def _backend(dtype: str) -> Any:
    import copy

    from lm_eval.models.huggingface import HFLM

    network = copy.deepcopy(decoder().network).to(getattr(torch, dtype))
    words = bases.tokenizer(_folder())
    return HFLM(pretrained=network, tokenizer=words, batch_size=world.BATCH, device="cpu", add_bos_token=False)


def _lm_eval(dtype: str, asked: list[tuple[str, str]]) -> np.ndarray:
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(asked)]
    found: np.ndarray = np.array([score for score, _ in _backend(dtype).loglikelihood(requests, disable_tqdm=True)])
    return found


def _compared(scores: np.ndarray, cost: dict[str, float], exact: np.ndarray) -> dict[str, Any]:
    return cost | {"off": float(np.abs(scores - exact).max())}


@functools.cache
def _pairs_exact() -> np.ndarray:
    return _lm_eval("float32", [("", text) for pair in world.blimp(PAIRS) for text in pair])


def minimal_pairs() -> dict[str, Side]:
    """BLiMP's pairs: sums of log-probabilities behind BOS. `off` is from lm-eval's scores in fp32."""

    def holdfast(precision: str, repetition: int) -> dict[str, Any]:
        def work() -> np.ndarray:
            encoder = encoding.Encoder(decoder().tokenizer)
            pairs = [(encoder.text(good).input_ids, encoder.text(bad).input_ids) for good, bad in world.blimp(PAIRS)]
            return forks.log_probabilities(decoder(), pairs, Compute(batch=32, precision=precision)).reshape(-1)

        scores, cost = world.timed(work)
        return _compared(scores, cost, _pairs_exact())

    def rival(dtype: str, repetition: int) -> dict[str, Any]:
        scores, cost = world.timed(
            lambda: _lm_eval(dtype, [("", text) for pair in world.blimp(PAIRS) for text in pair])
        )
        return _compared(scores, cost, _pairs_exact())

    return _sides(holdfast, rival)


def choices() -> dict[str, Side]:
    """Questions of PIQA (two long answers) and of BIG-Bench Hard (a long question, seven letters)."""
    questions = world.piqa(QUESTIONS) + world.bbh(QUESTIONS)
    asked = [(f"[CLS] {prompt}", option) for prompt, own in questions for option in own]  # as Holdfast begins a text
    prompts, offered = [prompt for prompt, _ in questions], [own for _, own in questions]

    @functools.cache
    def exact() -> np.ndarray:
        return _lm_eval("float32", asked)

    def holdfast(precision: str, repetition: int) -> dict[str, Any]:
        compute = Compute(precision=precision)
        found, cost = world.timed(lambda: options.scores(decoder(), prompts, offered, compute=compute))
        return _compared(np.concatenate(found), cost, exact())

    def rival(dtype: str, repetition: int) -> dict[str, Any]:
        scores, cost = world.timed(lambda: _lm_eval(dtype, asked))
        return _compared(scores, cost, exact())

    return _sides(holdfast, rival)


def _sides(holdfast: Any, rival: Any) -> dict[str, Side]:
    return {
        "holdfast": functools.partial(holdfast, "bf16"),
        "holdfast, fp32": functools.partial(holdfast, "fp32"),
        "lm-eval, bf16": functools.partial(rival, "bfloat16"),
        "lm-eval, fp32": functools.partial(rival, "float32"),
    }
