"""The heads of a circuit move: which ones, how many, the arms beside them, and nothing else after five steps."""

from dataclasses import replace

import pytest
import torch

from holdfast import choices, selection, spec
from holdfast.errors import BadInput
from holdfast.parameters import circuit

RANKING = ["1.2", "0.3", "1.0", "0.0", "1.1", "0.1", "0.2", "1.3"]
SCORES = dict(zip(RANKING, [3.0, 2.0, 1.5, 0.5, 0.01, -0.02, -1.0, -2.0], strict=True))


@pytest.fixture
def found(importance):
    """Importances beside which a circuit of two heads was found."""
    circuit = {"task": "english", "heads": RANKING[:2], "ranking": RANKING, "scores": SCORES}
    return replace(importance, circuit=circuit)


def select(model, importance, raw=True):
    options = choices.parse("parameters", {"circuit": raw}, "parameters")["circuit"]
    return circuit.select(model, importance, circuit.Options(**options))


def heads(chosen):
    return {part.removeprefix("head ") for part in chosen.parts if part.startswith("head ")}


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (True, {"1.2", "0.3"}),
        (3, {"1.2", "0.3", "1.0"}),
        ({"share": 0.5}, set(RANKING[:4])),
        ({"kind": "near-zero"}, {"1.1", "0.1"}),
        ({"kind": "near-zero", "heads": 3}, {"1.1", "0.1", "0.0"}),
    ],
)
def test_the_circuit_and_the_arm_nearest_to_zero(model, found, raw, wanted):
    chosen = select(model, found, raw)
    assert heads(chosen) == wanted and "all 5 layer norms" in chosen.parts


def test_random_heads_are_as_many_and_follow_the_draw(model, found):
    draws = [heads(select(model, found, {"kind": "random", "heads": 3, "draw": draw})) for draw in (0, 0, 1, 2, 3)]
    assert all(len(draw) == 3 for draw in draws) and draws[0] == draws[1] and len(set(map(frozenset, draws))) > 2


def test_layer_norms_and_key_and_value_rows_can_be_left_out(model, found):
    plain, bare = select(model, found), select(model, found, {"layernorm": False, "kv": "none"})
    assert plain.whole and not bare.whole and "stay" in bare.notes[0] and "too" in plain.notes[0]
    assert any(".key." in name for name in plain.partial) and not any(".key." in name for name in bare.partial)


@pytest.mark.parametrize("raw", [8, {"share": 0.01}])
def test_all_heads_or_none_is_refused(model, found, raw):
    with pytest.raises(BadInput, match="of 8 heads"):
        select(model, found, raw)


def test_without_a_circuit_there_is_nothing_to_select(model, importance):
    with pytest.raises(BadInput, match="no circuit was looked for"):
        select(model, importance)


def test_only_the_circuits_slices_and_the_layer_norms_move_in_five_steps(model, found, train):
    chosen = select(model, found)
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    selection.attach(model, chosen)
    train(model, selection.masked_names(chosen))
    own = {0: slice(24, 32), 1: slice(16, 24)}  # heads 0.3 and 1.2 of eight rows each
    for name, parameter in model.encoder_parameters().items():
        may = torch.zeros_like(parameter, dtype=torch.bool)
        for layer, rows in own.items():
            stem = f"bert.encoder.layer.{layer}.attention."
            if name.startswith((f"{stem}self.query", f"{stem}self.key", f"{stem}self.value")):
                may[rows] = True
            if name == f"{stem}output.dense.weight":
                may[:, rows] = True
        if "LayerNorm" in name:
            may[:] = True
        changed = parameter.detach() != before[name]
        assert not bool((changed & ~may).any()), name
        assert not bool(may.any()) or bool((changed & may).any()) or ".key.bias" in name, name


def test_the_preset_asks_for_a_circuit_and_only_then_is_one_looked_for(tmp_path):
    raw = {"name": "a", "start": {"model": "m"}, "learn": {"train": "a.csv"}}
    pipeline = spec.parse({**raw, "method": "ct-sft"}, tmp_path / "a.yaml")
    assert list(pipeline.parameters) == ["circuit"] and pipeline.assess.circuit is not None
    assert spec.parse(raw, tmp_path / "a.yaml").assess.circuit is None
    changed = spec.parse(
        {**raw, "parameters": {"circuit": 4}, "assess": {"circuit": {"top": 0.1}}}, tmp_path / "a.yaml"
    )
    assert changed.assess.circuit is not None and changed.assess.circuit.top == 0.1
    with pytest.raises(BadInput, match="does not choose `circuit`"):
        spec.parse({**raw, "assess": {"circuit": {}}}, tmp_path / "a.yaml")
    with pytest.raises(BadInput, match="attention"):
        spec.parse({**raw, "method": "ct-sft", "assess": {"circuit": {"atention": "frozen"}}}, tmp_path / "a.yaml")
