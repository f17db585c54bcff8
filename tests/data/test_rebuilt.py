"""A decoder made again is compared with the one that was there: within the tolerance, or seen not to be."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "data" / "base_model"
KNOWN = json.loads((FOLDER / "metrics.json").read_text())


@pytest.fixture
def pretrain(pretrain, monkeypatch):
    """The script, for which git keeps the shipped metrics."""
    monkeypatch.setattr(pretrain.rebuilt, "committed", lambda: KNOWN)
    return pretrain


def changed(**shares: float) -> dict:
    """The shipped model's metrics with other shares: `style_bare__addition` is that style's of additions."""
    made = copy.deepcopy(KNOWN)
    for name, right in shares.items():
        where, task = name.split("__")
        made["scores"][where.replace("_", " ")][task]["right"] = right
    return made


@pytest.mark.parametrize(
    ("shares", "good"),
    [
        ({}, True),
        ({"strings__sort": 0.8131, "problems__problems": 0.279}, True),
        ({"strings__sort": 0.81}, False),
        ({"problems__problems": 0.29}, False),  # better by more than the tolerance is another model, too
        ({"style_bare__subtraction": 0.78, "style_sentence__subtraction": 0.74}, True),  # two others do well
        ({f"style_{s}__subtraction": 0.78 for s in ("bare", "sentence", "equation")}, False),
    ],
)
def test_shares_are_compared_within_the_tolerance_and_styles_must_do_well(pretrain, shares, good, tmp_path, capsys):
    (tmp_path / "metrics.json").write_text(json.dumps(changed(**shares)))
    assert pretrain.main(["--check", str(tmp_path)]) == (0 if good else 1)
    shown = capsys.readouterr().out
    assert shown.endswith("the same within the tolerance\n") and ("NOT the same" in shown) is not good
    assert pretrain.main(["--check", str(tmp_path / "metrics.json")]) == (0 if good else 1)


def test_the_table_says_which_share_is_off(pretrain):
    again = changed(strings__sort=0.5)
    del again["scores"]["draws"]["copy"]
    again["scores"]["draws"]["new"] = {"right": 1.0, "n": 3}
    good, table = pretrain.rebuilt.report(again, KNOWN)
    lines = {" ".join(line.split()) for line in table.splitlines()}
    assert not good
    assert "strings, sort 0.913 0.500 -0.413 off by more than 0.1" in lines
    assert "draws, copy 1.000 - - only there before" in lines
    assert "draws, new - 1.000 - not there before" in lines
    assert "within 0.1 of the known share: 24 of 27" in lines


def test_a_rebuild_is_compared_with_what_was_there_before_it_began(pretrain, tmp_path, monkeypatch, capsys):
    file = tmp_path / "metrics.json"

    def made(again: dict):
        def run(arguments):
            file.write_text(json.dumps(again))
            return again

        return run

    monkeypatch.setattr(pretrain, "pretrain", made(changed(strings__sort=0.5)))
    assert pretrain.main(["--out", str(tmp_path)]) == 0 and not capsys.readouterr().out  # nothing was there
    file.write_text(json.dumps(KNOWN))
    assert pretrain.main(["--out", str(tmp_path)]) == 1 and "NOT the same" in capsys.readouterr().out
    monkeypatch.setattr(pretrain, "pretrain", made(changed(strings__sort=0.52)))
    assert pretrain.main(["--out", str(tmp_path)]) == 0  # beside the one just made
    file.write_text("{}")
    with pytest.raises(SystemExit, match="no metrics of a pretraining"):
        pretrain.main(["--out", str(tmp_path)])


def test_other_weights_in_the_shipped_ones_place_are_told_how_to_be_known(pretrain, tmp_path, monkeypatch):
    assert pretrain.rebuilt.what_now(tmp_path) == pretrain.rebuilt.what_now(FOLDER) == ""
    (tmp_path / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(pretrain.rebuilt, "FOLDER", tmp_path)
    said = pretrain.rebuilt.what_now(tmp_path)
    assert "holdfast/bases.py" in said and "dvc commit -f base_model" in said
    assert "git checkout -- data/base_model" in said


@pytest.mark.slow
def test_the_command_compares_without_pretraining(tmp_path):
    line = [sys.executable, str(ROOT / "data" / "pretrain.py"), "--check"]
    (tmp_path / "metrics.json").write_text(json.dumps(changed(addition__addition=0.5)))
    off = subprocess.run([*line, str(tmp_path)], capture_output=True, text=True, check=False)
    none = subprocess.run([*line, str(tmp_path / "x.json")], capture_output=True, text=True, check=False)
    assert (off.returncode, none.returncode) == (1, 1) and "Traceback" not in off.stderr + none.stderr
    assert "addition, addition" in off.stdout and "no metrics of a pretraining" in none.stderr
