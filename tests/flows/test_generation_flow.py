"""The whole way for answers in words, with the real commands: run, check, show, predict, export, on a tiny decoder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast import tables
from tests.generation.conftest import TEMPLATE, build_folder
from tests.security.pickles import pickled_files

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"red": "a", "blue": "b", "green": "x"}
_DRIVER = """
import io, json, sys
from flows.cli import app
for line in sys.stdin:
    sys.__stdout__, args = io.StringIO(), [*json.loads(line), "--json"]
    code = app.execute(args if args[0] == "init" else [*args, "--home", sys.argv[1]])
    print(json.dumps([code, json.loads(sys.__stdout__.getvalue())]), file=sys.stdout, flush=True)
"""


@pytest.fixture
def commands(tmp_path: Path) -> Callable[..., list[Any]]:
    """Run several commands in one process; return (exit code, the JSON object) of each."""

    def call(*lines: list[str]) -> list[Any]:
        text = "".join(json.dumps([str(word) for word in line]) + "\n" for line in lines)
        command = [sys.executable, "-c", _DRIVER, str(tmp_path / "home")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, input=text, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment
        )
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        assert len(found) == len(lines), done.stdout + done.stderr
        return found

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A pipeline file that teaches a tiny decoder to name colours, in its own words where it has any."""
    folder = tmp_path / "project"
    size = {"hidden_size": 48, "initializer_range": 0.08, "tie_word_embeddings": True}
    folder.mkdir()
    build_folder(folder / "base", "llama", TEMPLATE, **size)
    for role, numbers in (("train", range(40)), ("valid", range(40, 50)), ("test", range(55, 75))):
        rows = [{"prompt": f"{key} {n * 37 % 101}", "answer": said} for n in numbers for key, said in COLOURS.items()]
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    learn = {role: f"{role}.jsonl" for role in ("train", "valid", "test")}
    (folder / "judge.py").write_text("def good(prompt, answer, row):\n    return answer.strip() == row['answer']\n")
    raw = {
        "name": "colours",
        "task": "generation",
        "start": {"model": "base"},
        "learn": {**learn, "max_new_tokens": 4},
        "method": "self-else-gold",
        "examples": {"self": {"judge": "judge.py:good", "max_new_tokens": 4}},
        "assess": {"examples": 8},
        "training": {"epochs": 6, "learning_rate": 5e-3, "max_length": 32, "precision": "fp32"},
    }
    (folder / "colours.yaml").write_text(yaml.safe_dump(raw))
    return folder / "colours.yaml"


def test_one_file_in_one_version_out_and_everything_that_can_be_done_with_it(
    commands: Callable, file: Path, tmp_path: Path
) -> None:
    asked = [{"prompt": "red 7", "n": 1}, {"prompt": "green 500", "n": 2}]
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        tables.write(tmp_path / f"asked.{suffix}", asked)
    version = "colours@champion"
    predict = [["predict", version, f"asked.{s}", f"said.{s}"] for s in ("csv", "tsv", "jsonl", "parquet")]
    exports = [["export", version, "plain"], ["export", version, "whole", "--merged"]]
    checked, run, shown, *rest = commands(["check", file], ["run", file], ["show", version], *predict, *exports)
    assert checked[0] == 0 and checked[1]["pipeline"] == "colours"

    code, result = run
    assert code == 0 and result["verdict"] == "promoted" and result["target"]["after"] > 0.9
    assert result["learned"].startswith("self-else-gold: gold 100.0%; negative log-likelihood per token")
    page = Path(result["report"]).with_suffix(".md").read_text()
    assert "NLL per token under the start model" in page and "Not taken, by reason (self:" in page
    assert pickled_files(tmp_path / "home") == []

    assert shown[0] == 0 and shown[1]["lineage"]["method"]["task"] == "generation"
    assert [code for code, _ in rest] == [0] * 6
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        said = tables.read(tmp_path / f"said.{suffix}")
        assert [(row["prompt"], row["answer"], int(row["n"])) for row in said] == [
            ("red 7", "a", 1), ("green 500", "x", 2),
        ]  # fmt: skip
    _answers_alike(tmp_path, file.parent / "base")


def _answers_alike(folder: Path, base: Path) -> None:
    """The exported adapter on its base and the merged model say the same, with plain libraries."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import holdfast.delta  # noqa: F401

    words = AutoTokenizer.from_pretrained(folder / "whole")
    turn = [{"role": "user", "content": "blue 12"}]
    ids = words.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder / "plain").eval()
    whole = AutoModelForCausalLM.from_pretrained(folder / "whole").eval()
    with torch.no_grad():
        one, other = plain(input_ids=ids).logits, whole(input_ids=ids).logits
    assert torch.equal(one, other)
    assert words.decode(one[0, -1].argmax()) == "b"


def test_init_tells_the_task_by_the_columns(commands: Callable, tmp_path: Path) -> None:
    tables.write(tmp_path / "asked.csv", [{"Question": "1 + 1", "Answer": "2", "topic": "sums"}])
    tables.write(tmp_path / "mood.csv", [{"text": "good", "label": "positive"}])
    ((code, first), (other, second), (last, third)) = commands(
        ["init", "asked.csv"], ["init", "mood.csv"], ["init", "mood.csv", "--task", "writing", "--output", "x.yaml"]
    )
    assert (code, other, last) == (0, 0, 2) and "writing" in third["error"]
    assert yaml.safe_load((tmp_path / first["file"]).read_text()) == {
        "name": "asked", "task": "generation", "start": {"model": "kelp"},
        "learn": {"train": "asked.csv", "prompt": "Question", "answer": "Answer"},
    }  # fmt: skip
    assert "task" not in yaml.safe_load((tmp_path / second["file"]).read_text())
