"""Minimal pairs as a remembered task: the share of rows whose good text is likelier, kept and broken, and bad rows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast import bases, spec
from holdfast import rows as dataset_rows
from holdfast.errors import BadInput
from holdfast.generation import comparing, items
from holdfast.generation.items import Items
from holdfast.records import Start
from holdfast.spec import Learn, Remember
from holdfast.validation import validate
from holdfast.versioning import canonical, prepare
from tests.generation.test_generation_spine import TRAINING, World

PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "probes.yaml"
PAIRS = {"name": "pairs", "valid": "pairs-valid.jsonl", "test": "pairs-test.jsonl", "metric": "pairs", "margin": 0.1}
KELP = Start(model="kelp", base=bases.resolve("kelp"), task="generation")
GOOD = "In the end {} and the cat were glad and went home."


def sentences(first: int, last: int) -> list[dict[str, str]]:
    names = [name + other for name in ("Mia", "Ben", "Tom", "Ada") for other in " abcdefghijklmnopqrstuvwxyz"]
    texts = [GOOD.format(name.strip()) for name in names[first:last]]
    return canonical.minimal_pairs([{"good": text, "bad": text.replace("were", "was")} for text in texts])


def total(model, text: str) -> float:
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        rows = model.network(input_ids=torch.tensor([[model.tokenizer.bos_token_id, *ids]])).logits[0].double()
    return sum(rows.log_softmax(-1)[place, token].item() for place, token in enumerate(ids))


@pytest.mark.parametrize("shape", ["llama", "mistral"])
def test_a_pair_is_right_where_the_good_texts_total_is_higher(home, start, model, shape):
    loaded = model(shape)
    texts = ["the end", "12 and 13 an other", "an ant", "so it is, and so it was"]
    rows = canonical.minimal_pairs([{"good": a, "bad": b} for a in texts for b in texts])
    how = items.Settings("pairs", precision="fp32")
    found = items.of(loaded, rows, how, start(shape), home)
    totals = {text: total(loaded, text) for text in texts}
    wanted = [totals[row["good"]] > totals[row["bad"]] and row["good"] != row["bad"] for row in rows]
    assert 0 < sum(wanted) < len(rows) and found.score.tolist() == wanted
    assert found.said == [row["good" if right else "bad"] for row, right in zip(rows, wanted, strict=True)]
    assert found.log_probability == pytest.approx([totals[row["good"]] for row in rows], rel=1e-4)
    lengths = [len(loaded.tokenizer(row["good"], add_special_tokens=False)["input_ids"]) for row in rows]
    assert found.tokens.tolist() == lengths and items.chance("pairs", rows, loaded) == 0.5
    again = items.of(loaded, rows, how)
    assert again.score.tolist() == found.score.tolist()


def test_what_is_kept_of_the_start_model_is_found_again(home, start, model, monkeypatch):
    rows, how = sentences(0, 6), items.Settings("pairs", precision="fp32")
    first = items.of(model(), rows, how, start(), home)
    monkeypatch.setattr(items.forks, "log_probabilities", None)
    assert items.of(model(), rows, how, start(), home).score.tolist() == first.score.tolist()


def test_flips_and_bounds_are_those_of_an_accuracy():
    def scored(right: list[int]) -> Items:
        return Items([""] * len(right), np.array(right, float), -np.ones(len(right)), np.ones(len(right)))

    before, after = [1] * 90 + [0] * 10, [1] * 86 + [0] * 4 + [1] + [0] * 9
    names = [str(i) for i in range(100)]
    found = comparing.AnswersCompared("p", "pairs", names, names, scored(before), scored(after), 0.5)
    same = comparing.AnswersCompared("p", "exact", names, names, scored(before), scored(after), 0.5)
    assert found.flips == (1, 4) and found.drop == pytest.approx(0.03)
    assert found.drop_upper(0.95) == same.drop_upper(0.95) and found.metric == "accuracy on minimal pairs"
    assert found.summary(0.95, 7)["mcnemar_p"] == same.summary(0.95, 7)["mcnemar_p"] is not None


def test_blimps_own_columns_are_read():
    row = {"sentence_good": "cats sleep", "sentence_bad": "cats sleeps", "UID": "agreement"}
    wanted = {"id": "1", "prompt": "cats sleep", "answer": "cats sleep", "good": "cats sleep", "bad": "cats sleeps"}
    assert canonical.minimal_pairs([row]) == [wanted]
    assert canonical.minimal_pairs([{**row, "good": "a", "bad": "b"}])[0]["good"] == "a"


@pytest.mark.parametrize(
    ("rows", "place", "said"),
    [
        ([{"good": "a", "worse": "b"}], "bad", "no such column"), ([{"text": "a"}], "good", "no such column"),
        ([{"good": "a", "bad": "b"}, {"good": "a", "bad": 3}], "bad", "the text is int 3"),
        ([{"good": "a", "bad": "b"}, {"good": None, "bad": "b"}], "good", "the text is missing"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_pair_of_texts_is_named(rows, place, said):
    with pytest.raises(BadInput) as caught:
        canonical.minimal_pairs(rows, "p.jsonl")
    assert caught.value.key == place and "p.jsonl" in str(caught.value)
    assert said in str(caught.value)
    assert len(rows) == 1 or caught.value.row == 2


def checked(home, valid, test, **changes):
    """Validate pairs with the bundled decoder, beside a few rows to learn."""
    asked = [{"id": str(i), "prompt": f"say {i}", "answer": f"it is {i}"} for i in range(40)]
    data = {"learn.train": asked[:20], "learn.valid": asked[20:30], "learn.test": asked[30:]}
    data |= {"remember.pairs.valid": valid, "remember.pairs.test": test}
    versions = {key: dataset_rows.version(home, own, ref=f"{key}.jsonl") for key, own in data.items()}
    section = Learn(train="train.jsonl", metric="exact", max_new_tokens=8, **changes)
    return validate.validate(versions, KELP, section, [Remember(**PAIRS)], 40, home)


def test_bad_pairs_are_set_aside_with_their_reasons(home):
    first = GOOD.format("Mia")
    bad = [
        ("e", "fine", " "), ("f", "", "fine"), ("s", "We went home.", "We went home."),
        ("d", first, first.replace("were", "was")), ("l", GOOD.format("Bena"), "it"), ("t", "word " * 110, "word"),
    ]  # fmt: skip
    more = canonical.minimal_pairs([{"id": name, "good": good, "bad": other} for name, good, other in bad])
    found = checked(home, sentences(0, 25) + more, sentences(27, 80), reject_at_most=0.5)
    lines = (home.store.open(found.artifact) / "quarantine.jsonl").read_text().splitlines()
    reasons = {row["id"]: row["reasons"] for row in map(json.loads, lines)}
    assert reasons.pop("t")[0].startswith("fits-the-model: 551 tokens, and there is room for 512")
    assert {name: why[0] for name, why in reasons.items()} == {
        "e": "no-empty-text: the bad is empty",
        "f": "no-empty-text: the good is empty",
        "s": "texts-differ: the good and the bad text are the same",
        "d": "no-duplicates: the same good and bad as row 1",
        "l": "no-leak-into-test: the same good stands in remember.pairs.test, row 2",
    }
    (competence,) = found.competences
    assert competence.accuracy == 1 and competence.chance == 0.5 and competence.n == 25


def test_pairs_at_chance_and_too_few_of_them_are_refused(home):
    turned = canonical.minimal_pairs([{"good": row["bad"], "bad": row["good"]} for row in sentences(0, 25)])
    with pytest.raises(BadInput, match=r"cannot do `pairs`: on 25 valid rows its score is 0\.000 .*chance is 0\.500"):
        checked(home, turned, sentences(27, 80))
    with pytest.raises(BadInput, match="`pairs` has 13 good test rows: too few"):
        checked(home, sentences(0, 25), sentences(27, 40))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learn": {"train": "a.jsonl", "metric": "pairs"}}, "`pairs` is of texts that are remembered"),
        ({"remember": [PAIRS | {"train": "pairs-train.jsonl"}]}, "`remember.pairs.train` is never read"),
        ({"remember": [PAIRS | {"text": "sentence"}]}, "`remember.pairs.text` is never read: `task: generation` reads "
            "the columns `good` and `bad`"),
        ({"remember": [PAIRS | {"answer": "good"}]}, "`remember.pairs.answer` is never read"),
        ({"task": "classification", "remember": [PAIRS]}, "`remember.pairs.metric` is never read"),
    ],
)  # fmt: skip
def test_pairs_are_only_remembered(tmp_path, changes, said):
    raw = {"name": "x", "task": "generation", "start": {"model": "base"}, "learn": {"train": "a.jsonl"}}
    with pytest.raises(BadInput) as caught:
        spec.parse({**raw, **changes}, tmp_path / "x.yaml")
    assert said in str(caught.value)


def test_the_bundled_decoder_knows_what_the_bundled_probes_ask(home):
    pipeline = spec.load(PIPELINE)
    data = prepare.prepare(pipeline.learn, pipeline.remember, 7, home)
    found = validate.validate(data, KELP, pipeline.learn, pipeline.remember, pipeline.training.max_length, home)
    assert found.quarantined == 0
    _, stories, pairs = found.competences
    assert pairs.lower > 0.95 and pairs.n == 100 and stories.lower > stories.chance + 2


@pytest.mark.slow
def test_a_decoder_that_forgets_which_text_is_right_breaks_the_contract(tmp_path, home, make_folder):
    base = make_folder(tmp_path / "base", "llama", hidden_size=48, initializer_range=0.08, tie_word_embeddings=True)
    lines = {"train": range(60), "valid": range(60, 80), "test": range(80, 113)}
    for role, numbers in lines.items():
        good = [f"on day {n * 37 % 113} we went up the hill and down again" for n in numbers]
        (tmp_path / f"texts-{role}.csv").write_text("text\n" + "".join(f"{text}\n" for text in good))
        rows = [{"good": text, "bad": text.replace("up the hill", "the up hill")} for text in good]
        (tmp_path / f"pairs-{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world = World(tmp_path, home, base)
    learn = {**world.colours, "unlabelled": "texts-train.csv"}
    off = {"control": {"enabled": False}}
    tuned, _, _ = world.run(world.base, learn=learn, examples=["gold", {"domain-text": {"batch": 16}}], **off)
    knows = world.base.model_copy(update={"model": "models:/c/1", "adapter": tuned.adapter})
    rough = TRAINING | {"epochs": 20, "learning_rate": 0.05}
    free = {"learn": world.moves, "remember": [PAIRS], **off}
    _, scored, valid = world.run(knows, **free, training=rough)
    (competence,), (lost,) = valid.competences, scored.remembered
    assert competence.accuracy == 1 and lost.metric == "accuracy on minimal pairs" and lost.n == 33
    assert lost.before == 1 and not lost.kept and lost.drop > 0.1
    _, scored, _ = world.run(knows, **free, training=TRAINING | {"epochs": 1, "learning_rate": 1e-5})
    assert scored.remembered[0].kept and scored.remembered[0].drop == 0
