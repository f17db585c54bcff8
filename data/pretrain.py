"""Pretrain the bundled decoder: `python data/pretrain.py` makes `data/base_model/model.safetensors`.

A Llama-architecture decoder (by default 6 layers of width 192 and 6 heads, 2.7 M weights, a character-level tokenizer)
learns the mixture of `data/make_exercises.py` on the processor, in bf16 where it has that: every step takes the next
`--batch` draws, padded in groups of similar length, and minimises the mean cross entropy of the answers' tokens.

It stops after `--steps`, or before `--minutes` of work are over; the learning rate falls to a tenth on the way to
whichever end is nearer, so the weights depend on the machine's pace: those that ship are known by their digest, and are
not made again to the byte. State is saved every `--save` steps in `--out`/state (safetensors and JSON); started again,
it goes on from there. Beside the weights it writes `metrics.json`: the loss by step, and the share of right greedy
answers by task, on draws never trained on and on the held-out problems of `data/made/exercises`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from make_exercises import HERE, TASKS, exercise
from make_tokenizer import tokenizer

from holdfast import inference
from holdfast.generation import encoding, greedy, metrics
from holdfast.models import Model

UNSEEN = 10**9  # draws from here on are for testing
WINDOW = 512


@dataclass
class State:
    """A pretraining under way: `minutes` of work so far, and [step, loss] pairs, each the mean since the one before."""

    network: Any
    optimizer: torch.optim.AdamW
    step: int = 0
    minutes: float = 0.0
    losses: list[list[float]] = field(default_factory=list)


def network(arguments: argparse.Namespace, words: Any) -> Any:
    """Return a fresh decoder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(arguments.seed)
    width = arguments.width
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=(width * 8 // 3 + 31) // 32 * 32,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.heads,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batch(encoder: encoding.Encoder, step: int, arguments: argparse.Namespace) -> list[list[encoding.Encoded]]:
    """Return the rows of a step in groups of similar length."""
    first = step * arguments.batch
    rows = [exercise(number, arguments.seed) for number in range(first, first + arguments.batch)]
    encoded = sorted((encoder.pair(r["prompt"], r["answer"]) for r in rows), key=lambda one: len(one.input_ids))
    size = -(-len(encoded) // arguments.groups)
    return [encoded[i : i + size] for i in range(0, len(encoded), size)]


def loss_of(net: Any, group: list[encoding.Encoded]) -> torch.Tensor:
    """Return the summed cross entropy of a group's answer tokens."""
    inputs = encoding.stack(group)
    labels = inputs.pop("labels")[:, 1:]
    with inference.autocast("auto"):
        states = net.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1]
        logits = net.lm_head(states[labels != encoding.IGNORED])
    return torch.nn.functional.cross_entropy(logits.float(), labels[labels != encoding.IGNORED], reduction="sum")


def take_step(state: State, encoder: encoding.Encoder, arguments: argparse.Namespace) -> float:
    """Take one step; return its mean loss per answer token."""
    groups = batch(encoder, state.step, arguments)
    tokens = sum(one.scored for group in groups for one in group)
    total = 0.0
    for group in groups:
        loss = loss_of(state.network, group)
        (loss / tokens).backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    for part in state.optimizer.param_groups:
        part["lr"] = arguments.rate * shape(state, arguments)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    return total / tokens


def shape(state: State, arguments: argparse.Namespace) -> float:
    """Return the factor on the learning rate: a linear warm-up, then a cosine down to a tenth."""
    done = max(state.step / arguments.steps, state.minutes / arguments.minutes)
    warm = min(1.0, (state.step + 1) / 100)
    return warm * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))


def train(state: State, encoder: encoding.Encoder, arguments: argparse.Namespace) -> None:
    """Go on until the steps or the minutes are over, saving on the way and at the end."""
    since, rows = [], state.step * arguments.batch
    last = begun = time.monotonic()
    while state.step < arguments.steps and state.minutes < arguments.minutes:
        since.append(take_step(state, encoder, arguments))
        now = time.monotonic()
        state.minutes += (now - last) / 60
        last = now
        if state.step % arguments.log == 0:
            state.losses.append([state.step, round(sum(since) / len(since), 4)])
            pace = (state.step * arguments.batch - rows) / (now - begun)
            print(
                f"step {state.step}: loss {state.losses[-1][1]}, {pace:.0f} rows/s, {state.minutes:.1f} min", flush=True
            )
            since = []
        if state.step % arguments.save == 0:
            save(state, arguments.out / "state")
    save(state, arguments.out / "state")


def save(state: State, folder: Path) -> None:
    """Write weights, both moments and the rest; what was there stays until the new is whole."""
    from safetensors.torch import save_file

    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tensors = {}
    for name, parameter in state.network.named_parameters():
        held = state.optimizer.state.get(parameter, {})
        tensors |= {f"weight/{name}": parameter.detach()} | {f"{key}/{name}": held[key] for key in held}
    save_file(tensors, fresh / "state.safetensors")
    numbers = {"step": state.step, "minutes": state.minutes, "losses": state.losses}
    (fresh / "state.json").write_text(json.dumps(numbers), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def restore(state: State, folder: Path) -> None:
    """Put a state back where there is one."""
    from safetensors.torch import load_file

    if not folder.is_dir():
        return
    tensors = load_file(folder / "state.safetensors")
    for name, parameter in state.network.named_parameters():
        parameter.data.copy_(tensors[f"weight/{name}"])
        keys = ("step", "exp_avg", "exp_avg_sq")
        held = {key: tensors[f"{key}/{name}"] for key in keys if f"{key}/{name}" in tensors}
        state.optimizer.state[parameter] = held
    for key, value in json.loads((folder / "state.json").read_text(encoding="utf-8")).items():
        setattr(state, key, value)


def scores(net: Any, words: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the share of right answers: of unseen draws by task, and of the held-out files, arithmetic by number."""
    draws = [exercise(UNSEEN + i, arguments.seed) for i in range(arguments.test)]
    found = {"draws": _right(net, words, [row for row in draws if row["task"] != "stories"])}
    for task in TASKS:
        lines = (HERE / "made" / "exercises" / task / "test.jsonl").read_text(encoding="utf-8").splitlines()
        found[task] = _right(net, words, [json.loads(line) for line in lines])
    return found


def _right(net: Any, words: Any, rows: list[dict[str, str]]) -> dict[str, Any]:
    settings = greedy.Settings(max_new_tokens=80, batch=64, precision="auto")
    said = greedy.answers(Model(net, words), [row["prompt"] for row in rows], settings)
    right = defaultdict(list)
    for row, answer in zip(rows, said, strict=True):
        text = row["style"] == "bare" and not row["answer"].lstrip("-").isdigit()
        judge = metrics.exact if text else metrics.numeric
        right[row["task"]].append(answer.finished and judge(answer.text, row["answer"]))
    return {task: {"right": round(sum(v) / len(v), 4), "n": len(v)} for task, v in sorted(right.items())}


def finish(state: State, words: Any, arguments: argparse.Namespace) -> None:
    """Write the model in bf16, its tokenizer, and the metrics of the very weights that were written."""
    from holdfast import bases
    from holdfast.generation import decoders

    with bases.quiet():
        state.network.to(torch.bfloat16).save_pretrained(arguments.out)
    words.save_pretrained(arguments.out)
    written = decoders.network(arguments.out)
    settings = {name: value for name, value in vars(arguments).items() if name != "out"}
    found = {
        "weights": sum(p.numel() for p in written.parameters()),
        "settings": settings,
        "steps": state.step,
        "minutes": round(state.minutes, 1),
        "losses": state.losses,
        "scores": scores(written, words, arguments),
    }
    (arguments.out / "metrics.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["scores"], indent=1))


def read_arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description="Pretrain the bundled decoder.")
    parser.add_argument("--out", type=Path, default=HERE / "base_model", help="default: data/base_model")
    defaults: dict[str, tuple[type, Any]] = {
        "width": (int, 192), "layers": (int, 6), "heads": (int, 6), "batch": (int, 128), "groups": (int, 4),
        "steps": (int, 20000), "minutes": (float, 45.0), "rate": (float, 2e-3), "save": (int, 500), "log": (int, 50),
        "test": (int, 1000), "seed": (int, 20261121),
    }  # fmt: skip
    for name, (kind, value) in defaults.items():
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"default: {value}")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Pretrain, or go on."""
    arguments = read_arguments(given)
    words = tokenizer()
    net = network(arguments, words)
    matrices = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    state = State(net, torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98)))
    restore(state, arguments.out / "state")
    train(state, encoding.Encoder(words), arguments)
    finish(state, words, arguments)


if __name__ == "__main__":
    main()
