"""The evaluation stage on tiny versions whose behaviour is known: no-op, forgetful, better, worse, with new heads."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, f1_score

from holdfast import digests, inference, models
from holdfast import home as homes
from holdfast.errors import BadInput
from holdfast.forgetting import evaluate as stage
from holdfast.records import Tuned
from holdfast.spec import Learn, Remember, Training

from .conftest import LABELS, dataset, negate, opposite, predictions, softmax, validated

TRAINING = Training(max_length=32, precision="fp32")


@pytest.fixture
def world(home, tiny_start, make, texts):
    """A start version with heads `mood` (always right on english, always wrong on the target) and `tone`."""
    start = make(tiny_start, mood=LABELS, tone=LABELS)
    gold = predictions(start, home, "mood", texts)
    assert 40 < gold.count("positive") < 80
    data = validated(
        learn__train=dataset(home, texts[:9], ["positive"] * 6 + ["negative"] * 3),
        learn__test=dataset(home, texts, opposite(gold)),
        remember__english__test=dataset(home, texts, gold),
        remember__few__test=dataset(home, texts[:40], gold[:40]),
        remember__tones__test=dataset(home, texts, predictions(start, home, "tone", texts)),
    )
    return SimpleNamespace(start=start, gold=gold, data=data)


def promise(name, head="mood", **settings):
    return Remember(name=name, valid="v", test="t", head=head, **settings)


def run(world, version, home, *remember, head="mood", champion=None, start=None):
    tuned = Tuned(adapter=version.adapter, curve=version.adapter, steps=1, final_loss=0.0)
    learn = Learn(train="t", head=head)
    return stage.evaluate(tuned, world.data, start or world.start, champion, learn, remember, TRAINING, home)


def test_a_no_op_gains_nothing_and_keeps_everything(world, home, make):
    result = run(world, make(world.start), home, promise("english"), promise("tones", "tone"))
    target, english = result.target, result.remembered[0]
    z = stats.norm.ppf(0.95)
    assert (target.before, target.after, target.gain) == (0, 0, 0)
    assert (target.positive_flips, target.negative_flips, target.n) == (0, 0, 120)
    assert target.interval[0] == -target.interval[1] < target.lower < 0
    assert (english.before, english.after, english.drop, english.kept) == (1, 1, 0, True)
    assert english.bound == pytest.approx(z**2 / (120 + z**2))
    assert result.kl == {"target": 0.0, "english": 0.0, "tones": 0.0}
    assert result.cka == pytest.approx(1.0)
    assert result.champion is None


def test_zero_flips_on_few_items_do_not_establish_a_margin(world, home, make):
    few = run(world, make(world.start), home, promise("few")).remembered[0]
    assert (few.drop, few.negative_flips, few.n) == (0, 0, 40)
    assert few.bound > few.margin == 0.05
    assert not few.kept


def test_a_version_that_forgot_is_not_kept(world, home, make):
    result = run(world, make(world.start, negate("tone")), home, promise("english"), promise("tones", "tone"))
    english, tones = result.remembered
    assert english.kept and result.kl["english"] == 0
    assert (tones.after, tones.drop, tones.negative_flips, tones.kept) == (0, 1, 120, False)
    assert tones.bound == 1.0
    assert result.kl["tones"] > 0


def test_a_better_version_gains_for_certain(world, home, make):
    target = run(world, make(world.start, negate("mood")), home).target
    assert (target.before, target.after, target.gain) == (0, 1, 1)
    assert (target.positive_flips, target.negative_flips) == (120, 0)
    assert 0.93 < target.interval[0] < target.lower < target.interval[1] == 1


def test_confidence_and_margin_decide(world, home, make):
    same = make(world.start)
    for settings, kept in [
        ({"margin": 0.03}, True),
        ({"margin": 0.03, "confidence": 0.99}, False),
        ({"margin": 0.02}, False),
    ]:
        assert run(world, same, home, promise("english", **settings)).remembered[0].kept is kept


def test_a_new_head_is_compared_with_the_most_frequent_label(world, home, make):
    version = make(world.start, fresh=LABELS)
    result = run(world, version, home, head="fresh")
    gold, after = opposite(world.gold), predictions(version, home, "fresh", [r["text"] for r in items(world, home)])
    assert result.target.before == gold.count("positive") / 120  # six of nine in learn.train
    assert result.target.after == np.mean([a == g for a, g in zip(after, gold, strict=True)])
    assert result.kl == {}
    summary = read(result, home)["target"]
    assert summary["baseline"] == "most frequent label"
    positive, negative = np.log(7 / 11), np.log(4 / 11)
    assert summary["nll"]["before"] == pytest.approx(
        -np.mean([positive if g == "positive" else negative for g in gold])
    )


def items(world, home):
    from holdfast import rows

    return rows.read(home, world.data.datasets["learn.test"])


def read(result, home):
    return json.loads((home.store.open(result.artifact) / "summary.json").read_text())


def test_a_remembered_task_without_its_head_is_bad_input(world, home, make, tiny_start):
    version = make(world.start, other=LABELS)
    with pytest.raises(BadInput, match="no head named `other`"):
        run(world, version, home, promise("english", "other"))


def test_the_champion_is_met_on_the_same_items(world, home, make):
    better = make(world.start, negate("mood")).model_copy(update={"version": "4"})
    score = run(world, make(world.start), home, champion=better).champion
    assert (score.version, score.before, score.after, score.drop, score.bound) == ("4", 1, 0, 1, 1)
    score = run(world, better, home, champion=make(world.start)).champion
    assert (score.before, score.after, score.drop) == (0, 1, -1)
    assert score.bound < -0.95


def test_the_start_model_as_champion_is_not_scored_twice(world, home, make, monkeypatch):
    loads, load = [], models.load
    monkeypatch.setattr(models, "load", lambda start, home: loads.append(start.digest) or load(start, home))
    version = make(world.start, negate("mood"))
    loads.clear()
    score = run(world, version, home, champion=world.start).champion
    assert sorted(loads) == sorted([world.start.digest, version.digest])
    assert (score.before, score.after) == (0, 1)


def test_a_champion_without_the_head_is_met_as_the_most_frequent_label(world, home, make, tiny_start):
    stranger = make(tiny_start, elsewhere=LABELS)
    score = run(world, make(world.start), home, champion=stranger).champion
    assert score.before == opposite(world.gold).count("positive") / 120


def test_heads_may_order_their_labels_differently(world, home, make):
    """The same head with its labels and logits reversed says the same, so nothing flips and KL is 0."""

    def reverse(model):
        head = model.heads["mood"]
        for parameter in head.parameters.values():
            parameter.data = parameter.data.flip(0)
        model.heads["mood"] = models.Head(head.labels[::-1], head.parameters)

    result = run(world, make(world.start, reverse), home, promise("english"))
    assert result.remembered[0].positive_flips == result.remembered[0].negative_flips == 0
    assert result.kl["english"] == pytest.approx(0, abs=1e-9)


def test_items_say_what_the_scores_say(world, home, make):
    """Everything is recomputed from the models themselves and from the item rows with sklearn."""

    def shake(model):
        import torch

        generator = torch.Generator().manual_seed(0)
        for parameter in model.encoder_parameters().values():
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)

    version = make(world.start, shake)
    result = run(world, version, home, promise("english"))
    folder, score = home.store.open(result.artifact), result.remembered[0]
    rows = [json.loads(line) for line in (folder / "remember.english.items.jsonl").read_text().splitlines()]
    gold, before, after = ([row[key] for row in rows] for key in ("label", "before", "after"))
    assert 0 < score.negative_flips < 120
    assert score.negative_flips == sum(row["before_correct"] and not row["after_correct"] for row in rows)
    assert score.positive_flips == sum(row["after_correct"] and not row["before_correct"] for row in rows)
    assert score.after == np.mean([a == g for a, g in zip(after, gold, strict=True)])

    texts = [row["text"] for row in items(world, home)]
    logits = {}
    for name, start in (("before", world.start), ("after", version)):
        model = models.load(start, home)
        model.use_head("mood")
        logits[name] = softmax(inference.logits(model, texts, max_length=32, precision="fp32"))
        expected = [np.log(p[LABELS.index(g)]) for p, g in zip(logits[name], gold, strict=True)]
        assert [row[f"{name}_log_probability"] for row in rows] == pytest.approx(expected, abs=2e-6)
    kl = np.mean(np.sum(logits["before"] * np.log(logits["before"] / logits["after"]), -1))
    assert result.kl["english"] == pytest.approx(kl, abs=1e-6)
    assert 0 < result.cka < 1

    summary = read(result, home)["remembered"][0]
    table = summary["confusion"]["after"]
    assert [[table[g].get(p, 0) for p in LABELS] for g in LABELS] == confusion_matrix(
        gold, after, labels=LABELS
    ).tolist()
    assert summary["macro_f1"]["before"] == pytest.approx(f1_score(gold, before, average="macro"), abs=1e-6)
    assert summary["macro_f1"]["after"] == pytest.approx(f1_score(gold, after, average="macro"), abs=1e-6)
    low, high = summary["macro_f1"]["interval"]
    assert low <= summary["macro_f1"]["change"] <= high and low < high
    p = stats.binomtest(score.negative_flips, score.negative_flips + score.positive_flips).pvalue
    assert summary["mcnemar_p"] == pytest.approx(p, abs=1e-6)


def test_overall_metrics_follow_from_the_two_stages(world, home, make):
    overall = read(
        run(world, make(world.start, negate("mood")), home, promise("english"), promise("tones", "tone")), home
    )["overall"]
    assert overall["average_accuracy"] == pytest.approx((1 + 0 + 1) / 3, abs=1e-6)
    assert overall["backward_transfer"] == -0.5 == -overall["forgetting"]
    assert overall["forward_transfer"] == pytest.approx(0 - 0.5, abs=0.1)  # the target is balanced, and was all wrong


def test_equal_inputs_give_equal_bytes(world, home, make, tmp_path):
    """Scored afresh in a second home, the artifact has the same digest."""
    import shutil

    version = make(world.start, negate("tone"))
    first = run(world, version, home, promise("tones", "tone"))
    elsewhere = homes.make(tmp_path / "elsewhere")
    shutil.copytree(home.store.root, elsewhere.store.root, dirs_exist_ok=True)
    shutil.rmtree(elsewhere.store.path(first.artifact))
    assert run(world, version, elsewhere, promise("tones", "tone")) == first
    assert elsewhere.store.holds(first.artifact)


def test_names_cannot_leave_the_folder(world, home, make):
    world.data.datasets["remember.../../up.test"] = world.data.datasets["remember.english.test"]
    unchecked = promise("up").model_copy(update={"name": "../../up"})  # the file's own rule refuses such a name
    result = run(world, make(world.start), home, unchecked)
    assert "remember...%2F..%2Fup.items.jsonl" in digests.of_folder(home.store.open(result.artifact))
