"""Pretrain the bundled decoder: `python data/pretrain.py` makes `data/base_model/model.safetensors`.

A Llama-architecture decoder (by default 4 layers of width 128 and 4 heads, 0.8 M weights, a character-level tokenizer)
learns the mixture of `data/make_exercises.py` on the processor, in bf16 where it has that: every step takes the next
`--batch` draws, padded in groups of similar length, and minimises the mean cross entropy of the answers' tokens. The
learning rate warms up and falls to 0 along a cosine. `--compile 0` does without torch's compiler, which needs a C++
compiler and makes a step about half as long again (measured on one core: 12,000 and 18,000 tokens a second).

State is saved every `--save` steps in `--out`/state (safetensors and JSON); started again, it goes on from there.
Beside the weights it writes `metrics.json`: the loss by step, and the share of right greedy answers by task, on draws
never trained on and on the held-out problems of `data/made/exercises`, and by answer style.

The weights that ship were made in three sittings on one busy core, in about half an hour of its time: 1250 steps on the
way to 5500, 1500 on the way to 3200, and then an end. Rounding depends on the machine's instructions and threads, so
the bytes are known by their digest and are not made again; made again, every share should be within 0.1 of the one in
`metrics.json`. Made again in one go on two cores, compiled, it took 10 minutes, and no share was off by more than 0.09.

A rebuild ends by comparing its shares with those of the `metrics.json` that lay in `--out` when it began, and exits 1
where it is not as good (`data/rebuilt.py` says what that means). `python data/pretrain.py --check DIR` only compares
the metrics in DIR (or such a file) with the ones that git keeps. In the place of the shipped weights, rebuilt ones make
`kelp` `Corrupt` until their sha256 is written for `kelp` in `KNOWN` in `holdfast/bases.py` and `dvc commit -f
base_model` has renewed `dvc.lock`; `git checkout -- data/base_model` puts the shipped ones back.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rebuilt
import torch
from make_exercises import ASKED, HERE, TASKS, arithmetic, exercise, usual
from make_tokenizer import tokenizer

from holdfast import inference
from holdfast.generation import encoding, greedy, metrics
from holdfast.models import Model

UNSEEN = 10**9  # draws from here on are for testing
WINDOW = 512
LENGTHS = (*range(16, 80, 8), 96, 128, 160, 192, 256, WINDOW)  # of padded rows
PROBLEM = re.compile(r"(\d+) ([-+]) (\d+)")
NOTHING = encoding.Encoded((), ())


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
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def batch(encoder: encoding.Encoder, step: int, arguments: argparse.Namespace) -> list[list[encoding.Encoded]]:
    """Return the rows of a step in groups of similar length, filled up with empty rows to a few shapes.

    For every new shape the processor's library makes new code, which takes longer than a pass.
    """
    first = step * arguments.batch
    rows = [exercise(number, arguments.seed) for number in range(first, first + arguments.batch)]
    by_length: dict[int, list[encoding.Encoded]] = {length: [] for length in LENGTHS}
    for row in rows:
        one = encoder.pair(row["prompt"], row["answer"])
        by_length[next(length for length in LENGTHS if length >= len(one.input_ids))].append(one)
    groups = []
    for length, some in by_length.items():
        size = max(4, arguments.tokens // length // 4 * 4)
        for chunk in (some[i : i + size] for i in range(0, len(some), size)):
            groups.append([*(_padded(one, length) for one in chunk), *[_padded(NOTHING, length)] * (-len(chunk) % 4)])
    return groups


def _padded(one: encoding.Encoded, length: int) -> encoding.Encoded:
    missing = length - len(one.input_ids)
    return encoding.Encoded((*one.input_ids, *[0] * missing), (*one.labels, *[encoding.IGNORED] * missing))


def loss_of(net: Any, group: list[encoding.Encoded]) -> torch.Tensor:
    """Return the summed cross entropy of a group's answer tokens.

    The padding is on the right, where no token that counts can attend to it, so no mask is needed.
    """
    stacked = encoding.stack(group)
    labels = torch.nn.functional.pad(stacked["labels"][:, 1:], (0, 1), value=encoding.IGNORED)
    with inference.autocast("auto"):
        logits = net.lm_head(net.base_model(input_ids=stacked["input_ids"], use_cache=False).last_hidden_state)
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=encoding.IGNORED, reduction="sum"
    )


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
    """Return the factor on the learning rate: a linear warm-up, then a cosine down to 0."""
    warm = min(1.0, (state.step + 1) / 200)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, state.step / arguments.steps)))


def train(state: State, encoder: encoding.Encoder, arguments: argparse.Namespace) -> None:
    """Go on until the steps or the minutes are over, saving on the way and at the end."""
    since, rows = [], state.step * arguments.batch
    last = begun = time.monotonic()
    while state.step < arguments.steps:
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
    """Return the share of right answers: of unseen draws by task, of the held-out files, arithmetic by number, and of
    held-out sums asked for in every style: there the whole answer must be right.
    """
    draws = [exercise(UNSEEN + i, arguments.seed) for i in range(arguments.test)]
    found = {"draws": _right(net, words, [row for row in draws if row["task"] != "stories"])}
    held = {task: _rows(task) for task in TASKS}
    found |= {task: _right(net, words, rows) for task, rows in held.items()}
    sums = [row for task in ("addition", "subtraction") for row in held.get(task, [])]
    problems = [PROBLEM.search(row["prompt"]) for row in sums]
    for asked in ASKED if problems else ():
        style = usual(asked)
        rows = [_asked(asked, style, match) for match in problems[:: max(1, len(problems) // 200)] if match]
        found[f"style {style}"] = _right(net, words, rows, exactly=True)
    return found


def _rows(task: str) -> list[dict[str, str]]:
    lines = (HERE / "made" / "exercises" / task / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _asked(asked: str, style: str, match: re.Match[str]) -> dict[str, str]:
    """Return a held-out problem asked in one way, with its whole answer in that way's usual style."""
    a, sign, b = int(match[1]), match[2], int(match[3])
    task = {"+": "addition", "-": "subtraction"}[sign]
    prompt = asked.format(a=a, sign=sign, b=b)
    return {"prompt": prompt, "answer": arithmetic(task, a, b, style), "style": style, "task": task}


def _right(net: Any, words: Any, rows: list[dict[str, str]], exactly: bool = False) -> dict[str, Any]:
    settings = greedy.Settings(max_new_tokens=80, batch=64, precision="auto")
    said = greedy.answers(Model(net, words), [row["prompt"] for row in rows], settings)
    right = defaultdict(list)
    for row, answer in zip(rows, said, strict=True):
        text = row["style"] == "bare" and not row["answer"].lstrip("-").isdigit()
        judge = metrics.exact if text or exactly else metrics.numeric
        right[row["task"]].append(answer.finished and judge(answer.text, row["answer"]))
    return {task: {"right": round(sum(v) / len(v), 4), "n": len(v)} for task, v in sorted(right.items())}


def finish(state: State, words: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the model in bf16, its tokenizer, and the metrics of the very weights that were written; return these."""
    from holdfast import bases
    from holdfast.generation import decoders

    with bases.quiet():
        state.network.to(torch.bfloat16).save_pretrained(arguments.out)
    words.save_pretrained(arguments.out)
    written = decoders.network(arguments.out)
    settings = {name: value for name, value in vars(arguments).items() if name not in ("out", "check")}
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
    return found


def read_arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description="Pretrain the bundled decoder.")
    parser.add_argument("--out", type=Path, default=HERE / "base_model", help="default: data/base_model")
    parser.add_argument("--check", type=Path, help="only compare this folder's or file's metrics with the committed")
    defaults: dict[str, tuple[type, Any]] = {
        "width": (int, 128), "layers": (int, 4), "heads": (int, 4), "batch": (int, 128), "tokens": (int, 1024),
        "steps": (int, 2750), "rate": (float, 3e-3), "save": (int, 250), "log": (int, 50), "compile": (int, 1),
        "test": (int, 1000), "seed": (int, 20261121),
    }  # fmt: skip
    for name, (kind, value) in defaults.items():
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"default: {value}")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Pretrain, or go on, and compare with what was there before; or only compare. Return the exit status."""
    arguments = read_arguments(given)
    if arguments.check:
        return rebuilt.check(arguments.check)
    known = rebuilt.read(arguments.out) if (arguments.out / "metrics.json").is_file() else None
    found = pretrain(arguments)
    good, table = rebuilt.report(found, known) if known else (True, "")
    for text in filter(None, (table, rebuilt.what_now(arguments.out))):
        print(text)
    return 0 if good else 1


def pretrain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Pretrain, or go on; return the metrics."""
    words = tokenizer()
    net = network(arguments, words)
    matrices = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    state = State(net, torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98)))
    restore(state, arguments.out / "state")
    if arguments.compile:
        net.base_model.compile(dynamic=True)
    train(state, encoding.Encoder(words), arguments)
    return finish(state, words, arguments)


if __name__ == "__main__":
    sys.exit(main())
