"""What the choices that add something start from: peft's own numbers, hand counts, and the base's very predictions."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from holdfast import choices, inference, models, rows, selection
from holdfast.errors import BadInput
from holdfast.importance import covariance
from holdfast.training import job
from holdfast.tuners import injected, kinds, start

TEXTS = ["the movie was good", "a very nasty service", "bagus"]
QUERY = "encoder.layer.1.attention.self.query"


def chosen(model, raw, importance=None, given=None):
    return selection._united(model, importance, choices.parse("parameters", raw, "parameters"), given)


def attached(model, raw):
    found = chosen(model, raw)
    selection.attach(model, found)
    return found


def logits(model):
    return inference.logits(model, TEXTS, precision="fp32")


@pytest.mark.parametrize(
    ("raw", "weights"),
    [
        ({"lora": {"kind": "dora", "r": 2}}, 4 * (2 * 64 + 32)),
        ({"lora": {"kind": "pissa", "r": 2}}, 4 * 2 * 64),
        ({"lora": {"kind": "osf", "keep": 0.75, "targets": ["query"]}}, 2 * 8 * (64 + 1)),
        ({"lora": {"r": 2, "targets": ["mlp"]}}, 2 * 2 * 2 * (32 + 64)),
        ({"lora": {"r": 1, "targets": ["attention"], "layers": [0]}}, 4 * 64),
        ("ia3", 2 * (32 + 32 + 64)),
        ({"houlsby": 4}, 2 * 2 * (4 * 64 + 4 + 32)),
        ({"houlsby": {"size": 4, "places": "mlp"}}, 2 * (4 * 64 + 4 + 32)),
    ],
)
def test_it_starts_as_the_base_and_exactly_its_own_weights_move(model, raw, weights):
    before = logits(model)
    found = attached(model, raw)
    free = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    added = {n for n in free if kinds.is_added(n)}
    assert abs(logits(model) - before).max() < 2e-6
    assert free.keys() - added == {"classifier.weight", "classifier.bias"}
    assert sum(free[n].numel() for n in added) == selection.moved(found, model) == weights
    assert selection.total(model) == sum(p.numel() for p in models.load_base(_bare(model)).encoder.parameters())


def _bare(model):
    from holdfast.records import Start

    return Start(model=model.base.name, base=model.base)


def test_pissa_starts_where_pefts_own_does_and_leaves_the_same_residual(model):
    theirs = get_peft_model(
        copy.deepcopy(model.encoder),
        LoraConfig(r=3, lora_alpha=12, target_modules=[QUERY], init_lora_weights="pissa"),
    )
    attached(model, {"lora": {"kind": "pissa", "r": 3, "alpha": 12, "targets": ["query"], "layers": [1]}})
    ours, own = (m.get_submodule(QUERY) for m in (model.encoder, theirs.base_model.model))
    torch.testing.assert_close(ours.get_delta_weight("default"), own.get_delta_weight("default"), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.base_layer.weight, own.base_layer.weight, rtol=0, atol=1e-6)


def test_corda_takes_the_directions_that_pefts_own_does_from_the_same_inputs(model):
    """PEFT gets the covariance of 2-D inputs of its own making; ours is given the same matrix."""
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda

    encoder = copy.deepcopy(model.encoder)
    x = torch.randn(50, 32, generator=torch.Generator().manual_seed(2))
    sizes = {"r": 3, "lora_alpha": 6, "target_modules": [QUERY]}
    config = LoraConfig(**sizes, init_lora_weights="corda", corda_config=CordaConfig(corda_method="kpm"))
    with torch.no_grad():
        preprocess_corda(encoder, config, run_model=lambda: encoder.get_submodule(QUERY)(x))
    theirs = get_peft_model(encoder, config).base_model.model.get_submodule(QUERY)
    scaled = x / x.max().abs()
    down, up = start.corda(model.encoder.get_submodule(QUERY).weight, scaled.T @ scaled, 3, 2.0)
    torch.testing.assert_close(2.0 * up @ down, theirs.get_delta_weight("default"), rtol=1e-3, atol=1e-5)


def test_corda_begins_with_what_remembered_inputs_hardly_use(model):
    """On those inputs B0 A0 x is smaller than any other r directions' part of W x: here, than PiSSA's."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 16, generator=generator)
    x = torch.randn(200, 4, generator=generator) @ torch.randn(4, 16, generator=generator)
    (a, b), (c, d) = start.corda(weight, x.T @ x / 200, 4, 2.0), start.pissa(weight, 4, 2.0)
    assert (2 * x @ a.T @ b.T).norm() < 0.05 * (2 * x @ c.T @ d.T).norm()


def test_the_covariance_is_that_of_a_loop_over_real_tokens(model, home, toy_rows, tiny_start, tmp_path):
    given = _given(home, toy_rows[:5], tiny_start)
    found, told = covariance.of_inputs(given, model, [QUERY])
    total, tokens = torch.zeros(32, 32, dtype=torch.double), 0
    for row in toy_rows[:5]:
        inputs = model.tokenizer(row["text"], return_tensors="pt")
        with torch.no_grad():
            states = model.encoder(**inputs, output_hidden_states=True).hidden_states[1][0].double()
        total, tokens = total + states.T @ states, tokens + len(states)
    torch.testing.assert_close(found[QUERY].double(), total / tokens, rtol=1e-5, atol=1e-7)
    assert told == "directions ranked by the inputs of 5 rows of learn.train"


def _given(home, found, tiny_start):
    from holdfast import spec
    from holdfast.records import Artifact, Validated

    nothing = Artifact(kind="validation", digest="0")
    datasets = {"learn.train": rows.version(home, found)}
    fields = {"quarantined": 0, "expectations": (), "competences": (), "artifact": nothing}
    validated = Validated(datasets=datasets, labels=("negative", "positive"), **fields)
    recipe = spec.Recipe(examples={}, objective={}, anchors={}, schedule={}, training=spec.Training(), head="mood")
    return job.Given(None, None, validated, tiny_start, recipe, (), home)


def test_osf_keeps_the_largest_directions_where_they_are(model):
    """Plain gradient steps leave U_high' W V_high what it was: the projection's promise, seen on the merged weight."""
    weight = model.encoder.get_submodule(QUERY).weight.detach().clone()
    attached(model, {"lora": {"kind": "osf", "keep": 0.5, "targets": ["query"], "layers": [1]}})
    free = [p for n, p in model.network.named_parameters() if ".osf_" in n and p.requires_grad]
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        (model.encoder.get_submodule(QUERY)(x) - 1).square().sum().backward()
        with torch.no_grad():
            for p in free:
                p -= 1e-3 * p.grad
                p.grad = None
    after = injected.merged_weights(model.encoder)[f"{QUERY}.weight"]
    u, s, v = torch.linalg.svd(weight)
    assert (after - weight).abs().max() > 1e-3
    torch.testing.assert_close(u[:, :16].T @ after @ v[:16].T, s[:16].diag(), rtol=0, atol=1e-5)


def test_ia3_and_dora_are_what_a_hand_computation_gives(model):
    weight = {n: p.detach().clone() for n, p in model.encoder.named_parameters()}
    attached(model, "ia3")
    generator = torch.Generator().manual_seed(1)
    scales = {}
    with torch.no_grad():
        for name, p in model.encoder.named_parameters():
            if ".ia3_l." in name:
                scales[name.partition(".ia3_l")[0]] = p.normal_(1, 0.1, generator=generator).flatten().clone()
    merged = injected.merged_weights(model.encoder)
    assert len(scales) == 6
    for name, scale in scales.items():
        inner = name.endswith("output.dense")
        wanted = weight[f"{name}.weight"] * (scale if inner else scale[:, None])
        torch.testing.assert_close(merged[f"{name}.weight"], wanted)
        torch.testing.assert_close(merged[f"{name}.bias"], weight[f"{name}.bias"] * (1 if inner else scale))


def test_dora_scales_each_row_of_the_sum_to_its_magnitude(model):
    weight = model.encoder.get_submodule(QUERY).weight.detach().clone()
    attached(model, {"lora": {"kind": "dora", "r": 2, "alpha": 6, "targets": ["query"], "layers": [1]}})
    layer = model.encoder.get_submodule(QUERY)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(0, 0.1, generator=generator)
        layer.lora_magnitude_vector["default"].weight.mul_(1.5)
        moved = weight + 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    wanted = 1.5 * weight.norm(dim=1, keepdim=True) * moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(injected.merged_weights(model.encoder)[f"{QUERY}.weight"], wanted, rtol=1e-5, atol=1e-6)


def test_a_bottleneck_adds_what_a_hand_computation_gives(model):
    attached(model, {"houlsby": {"size": 3, "activation": "relu"}})
    layer = model.encoder.encoder.layer[0].output.dense
    down, up = layer.holdfast_bottleneck_down["default"], layer.holdfast_bottleneck_up["default"]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        up.weight.normal_(generator=generator)
        up.bias.normal_(generator=generator)
        x = torch.randn(5, 64, generator=generator)
        h = x @ layer.base_layer.weight.T + layer.base_layer.bias
        wanted = h + (h @ down.weight.T + down.bias).clamp(min=0) @ up.weight.T + up.bias
        torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"lora": {"kind": "osf", "r": 4}}, "`osf` does not read r, alpha and dropout"),
        ({"lora": {"keep": 0.5}}, "`keep` is read by `osf` alone, not by `lora`"),
        ({"lora": {"kind": "dorra"}}, "Did you mean `dora`"),
        ({"lora": {"kind": "pissa", "r": 33}}, "has rank 32 at most"),
        ({"lora": {"r": 8, "share": 0.01}}, "give one of r, weights and share, not r and share"),
        ({"lora": {"weights": 900, "share": 0.01}}, "give one of r, weights and share, not weights and share"),
        ({"lora": {"kind": "osf", "share": 0.01}}, "`osf` has no rank to choose by a budget"),
        ({"lora": {"weights": 33 * 4 * 64}}, "8448 weights pay for rank 33, .* at most 8192 weights"),
        ({"lora": {"share": 0.9}}, "have rank 32 at most"),
        ({"houlsby": 0}, "greater than or equal to 1"),
    ],
)
def test_what_an_addition_cannot_do_is_refused(model, raw, said):
    with pytest.raises(BadInput, match=said):
        chosen(model, raw)


def test_a_random_mask_asks_no_importance_and_draws_other_weights_with_another_seed(model):
    one, same, other = (chosen(model, {"mask": {"share": 0.02, "by": "random", "draw": n}}) for n in (1, 1, 2))
    assert all(torch.equal(one.partial[n], same.partial[n]) for n in one.partial)
    assert selection.moved(one, model) == selection.moved(other, model) == round(0.02 * selection.total(model))
    shared = sum(int((one.partial[n] & other.partial[n]).sum()) for n in one.partial if n in other.partial)
    assert shared < 0.1 * selection.moved(one, model)
