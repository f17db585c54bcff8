"""What the frozen layers give is computed once, and nothing else changes: not the curve, nor the bytes of a resume."""

import pytest
import torch

from holdfast import inference, models, read_position, spec
from holdfast.errors import BadInput, HoldfastError
from holdfast.prefix import cache, plan, shards
from holdfast.selection import Selection
from holdfast.training import checkpoints, tune

OLD = spec.Remember(name="old", train="a.csv", valid="a.csv", test="a.csv", head="mood")
QUERY = "encoder.layer.1.attention.self.query"


def top(setup) -> Selection:
    names = models.load(setup().start, setup().home).encoder_parameters()
    return Selection(whole=frozenset(n for n in names if n.startswith("bert.encoder.layer.1.")))


def part(setup) -> Selection:
    model = models.load(setup().start, setup().home)
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    drawn = torch.rand(model.encoder_parameters()[name].shape, generator=torch.Generator().manual_seed(5))
    return Selection(partial={name: drawn < 0.3})


def lora(setup) -> Selection:
    return Selection(added={"r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": [QUERY]}, seed=2)


METHODS = {
    "layer": (top, {}),
    "mask": (part, {}),
    "lora": (lora, {}),
    "replay and anchors": (
        top,
        {"remember": (OLD,), "examples": {"replay": 0.2}, "anchors": [{"lwf": 1.0}, {"kl": {"batch": 3}}]},
    ),
    "older self": (top, {"objective": {"psft": {"refresh": 4, "warm_up": 3}}}),
    "unfreezing": (top, {"schedule": ["unfreezing"]}),
    "other texts": (top, {"examples": {"domain-text": {"weight": 0.3, "batch": 3}}}),
}


def tuning(setup, started, method: str, **training):
    make, raw = METHODS[method]
    return setup(chosen=make(setup), start=started, **raw, training={"epochs": 3, **training})


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_the_loss_curve_is_the_same_with_and_without(method: str, setup, started) -> None:
    kept, ran = (tuning(setup, started, method, prefix_cache=said) for said in ("on", "off"))
    one, other = kept.curve(kept.run()), ran.curve(ran.run())
    assert one["prefix"]["used"] and one["prefix"]["cut"] == 1 and not other["prefix"]["used"]
    for section in ("steps", "valid"):
        for a, b in zip(one[section], other[section], strict=True):
            assert a.keys() == b.keys()
            assert all(a[key] == pytest.approx(b[key], abs=1e-5) for key in a)
    assert all(entry["grad_norm"] > 0 for entry in one["steps"])


def test_the_lowest_layer_runs_once_per_row(setup, started, monkeypatch) -> None:
    made = tuning(setup, started, "layer")
    seen: list[int] = []
    load = tune.start_model

    def counted(*given):
        model = load(*given)
        model.network.bert.encoder.layer[0].attention.register_forward_pre_hook(
            lambda module, args: seen.append(len(args[0]))
        )
        return model

    monkeypatch.setattr(tune, "start_model", counted)
    made.run()
    assert sum(seen) == 40 + 8, "every row of train and valid once, in three epochs"
    seen.clear()
    made.with_(seed=4).run()
    assert seen == [], "another seed reuses what is kept"


def test_it_resumes_to_the_same_bytes_also_where_the_cache_was_evicted(setup, started) -> None:
    class Killed(Exception):
        pass

    def killer(done, total, figures):
        if done == 11:
            raise Killed

    made = tuning(setup, started, "lora", checkpoints_per_epoch=4)
    whole = made.run()
    with pytest.raises(Killed):
        made.run(killer)
    shards.make_room(made.home.cache / "prefix", 1 << 40, 0)
    assert not list((made.home.cache / "prefix").iterdir())
    assert made.run() == whole


def test_a_checkpoint_that_was_made_with_the_cache_is_not_gone_on_with_without(setup, started, monkeypatch) -> None:
    class Killed(Exception):
        pass

    def killer(done, total, figures):
        if done == 8:
            raise Killed

    made = tuning(setup, started, "layer")
    with pytest.raises(Killed):
        made.run(killer)
    assert checkpoints.newest(made.home.checkpoints / made.key()).step == 6
    monkeypatch.setattr(plan, "SPARE", 1 << 60)
    with pytest.raises(HoldfastError, match=r"frozen layers kept 1 \(here 0\)"):
        made.run()


REASONS = {
    "the lowest layer": ({"names": ("bert.encoder.layer.0.",)}, {}, "no layer lies below `bert.encoder.layer.0."),
    "embeddings": (
        {"names": ("bert.embeddings.", "bert.encoder.layer.1.")},
        {},
        "no layer lies below `bert.embeddings.",
    ),
    "one epoch": ({}, {"epochs": 1}, "with 1 epochs it would not pay, from 2 on it does"),
    "off": ({}, {"prefix_cache": "off"}, "it is off"),
}


@pytest.mark.parametrize("reason", list(REASONS))
def test_it_falls_back_and_says_why(reason: str, setup, started) -> None:
    chosen, training, said = REASONS[reason]
    names = models.load(started, setup().home).encoder_parameters()
    wanted = chosen.get("names", ("bert.encoder.layer.1.",))
    moving = Selection(whole=frozenset(n for n in names if n.startswith(wanted)))
    made = setup(chosen=moving, start=started, training=training)
    found = made.curve(made.run())["prefix"]
    assert not found["used"] and found["why"].startswith(said) and found["saved"] == 0 == found["bytes"]


def test_it_falls_back_where_the_disk_is_short_and_is_refused_where_the_file_insists(
    setup, started, monkeypatch
) -> None:
    monkeypatch.setattr(plan, "MOST", 100)
    made = tuning(setup, started, "layer")
    found = made.curve(made.run())["prefix"]
    assert not found["used"] and "it needs 0.0 GB, and 0.0 GB may be taken" in found["why"]
    with pytest.raises(BadInput, match="cannot be kept: it needs"):
        tuning(setup, started, "layer", prefix_cache="on").run()


def test_the_plan_says_what_it_costs_and_saves(setup, started) -> None:
    made = tuning(setup, started, "layer")
    found = made.curve(made.run())["prefix"]
    tokens = 40 * 6
    assert (found["cut"], found["layers"], found["tokens"], found["bytes"]) == (1, 2, tokens, tokens * 32 * 4)
    assert found["saved"] == pytest.approx(1 / 2 * 2 / 3, abs=1e-4)
    assert "1 lowest of 2 layers" in found["why"] and "33% of the forward passes" in found["why"]


def test_yaml_words_are_understood(tmp_path) -> None:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}, "parameters": {"layers": [-1]}}
    for written, meant in ((True, "on"), (False, "off"), ("auto", "auto")):
        assert (
            spec.parse({**raw, "training": {"prefix_cache": written}}, tmp_path / "p.yaml").training.prefix_cache
            == meant
        )


def test_the_head_reads_what_it_did_and_so_do_gradients(started, home) -> None:
    model = models.load(started, home)
    model.use_head("mood")
    model.network.eval()
    inputs = dict(model.tokenizer(["the movie was good", "a nasty"], padding=True, return_tensors="pt"))
    found = []
    for alone in (False, True):
        model.network.zero_grad()
        with read_position.first(model) if alone else torch.enable_grad():
            states = model.network.base_model(**inputs).last_hidden_state
            logits = model.network(**inputs).logits
        assert states.shape[1] == (1 if alone else inputs["input_ids"].shape[1])
        logits.square().sum().backward()
        found.append((logits.detach(), [p.grad.clone() for p in model.network.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_kept_belongs_to_its_start_model_and_cut(setup, started) -> None:
    made = tuning(setup, started, "layer")
    model = models.load(started, made.home)
    rows = [{"input_ids": [2, 5, 3], "attention_mask": [1] * 3, "token_type_ids": [0] * 3}]
    kept = cache.Prefix(model, started, 1, made.recipe.training, {}, made.home).rows(rows)
    with torch.no_grad():
        expected = model.network.base_model(
            input_ids=torch.tensor([[2, 5, 3]]), output_hidden_states=True
        ).hidden_states[1]
    torch.testing.assert_close(kept.states.row(0), expected[0], rtol=0, atol=1e-6)
    places = {path.name for path in (made.home.cache / "prefix").iterdir()}
    other = started.model_copy(update={"adapter": None})
    for start, machine in ((other, {}), (started, {"threads": 64})):
        cache.Prefix(model, start, 1, made.recipe.training, machine, made.home).rows(rows)
    assert len({path.name for path in (made.home.cache / "prefix").iterdir()}) == len(places) + 2


def test_fitting_a_new_head_leaves_behind_what_tuning_reads(setup, monkeypatch) -> None:
    seen: list[int] = []
    run = cache.Prefix._run
    monkeypatch.setattr(cache.Prefix, "_run", lambda self, tokens: (seen.append(len(tokens)), run(self, tokens))[1])
    made = setup(chosen=top(setup), training={"precision": "auto"})
    made.run()
    assert seen == [40, 8], "the rows of train for the fit, and those of valid"


def test_rows_are_padded_as_the_tokenizer_pads(started, home) -> None:
    model = models.load(started, home)
    rows = inference.encode(model, ["the movie was good", "bad"], 16)
    for side in ("right", "left"):
        model.tokenizer.padding_side = side
        found = inference.pad(model, rows)
        wanted = model.tokenizer.pad(rows, padding="max_length", max_length=8, return_tensors="pt")
        assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in found)
