"""The pipeline file: typed, strict, complete when resolved; what is wrong is named with its key and the nearest one."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast import choices, compatibility, methods, spec
from holdfast.errors import BadInput
from holdfast.validation import expectations

SMALL: dict[str, Any] = {
    "name": "toy",
    "start": {"model": "all-MiniLM-L6-v2"},
    "learn": {"train": "train.csv"},
}
ENGLISH = {"name": "english", "valid": "nusax/english/valid", "test": "nusax/english/test"}
WITH_TRAIN = {**ENGLISH, "train": "nusax/english/train"}


@pytest.fixture
def file(tmp_path: Path):
    """Return a function that writes a pipeline file from changes to the smallest one."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump({**SMALL, **changes}), encoding="utf-8")
        return path

    return write


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(BadInput) as caught:
        spec.load(path, list(overrides))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_smallest_file_has_every_default(file):
    pipeline = spec.load(file())
    assert pipeline.registered_name == "toy" and pipeline.remember == () and pipeline.method is None
    assert pipeline.chosen() == [
        ("examples", "gold"), ("parameters", "full"), ("objectives", "sft"), ("schedules", "plain"),
    ]  # fmt: skip
    assert set(pipeline.learn.expect) == set(expectations.NAMED)
    assert pipeline.recipe.training == pipeline.training and pipeline.recipe.head == "label"


@pytest.mark.parametrize("changes", [
    {},
    {"method": "ulmfit", "remember": [WITH_TRAIN], "register": {"name": "other"}, "anchors": [{"ewc": 10}, "l2sp"]},
    {"parameters": {"heads": 3, "layernorm": True}, "assess": {"measure": "taylor"}, "training": {"epochs": 0.5}},
    {"start": {"model": "models:/a@champion", "made_by": "a.yaml"}, "learn": {"train": "a.csv", "expect": []}},
])  # fmt: skip
def test_the_resolved_file_is_the_same_pipeline_wherever_it_lies(file, changes, tmp_path):
    pipeline = spec.load(file(**changes))
    elsewhere = tmp_path / "deep" / "er" / "resolved.yaml"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text(yaml.safe_dump(pipeline.resolved()), encoding="utf-8")
    again = spec.load(elsewhere)
    assert again == pipeline and again.digest == pipeline.digest
    assert spec.load(elsewhere, ["training.seed=8"]).digest != pipeline.digest


def test_paths_are_relative_to_the_file_and_names_stay(file, tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/someone")
    learn = {"train": "../data/a.csv", "valid": "~/b.JSONL", "test": "nusax/english/test"}
    pipeline = spec.load(file(learn=learn, start={"model": "base", "made_by": "x/base.yaml"}, remember=[WITH_TRAIN]))
    assert pipeline.learn.train == str((tmp_path.parent / "data" / "a.csv").resolve())
    assert pipeline.learn.valid == "/home/someone/b.JSONL" and pipeline.learn.test == "nusax/english/test"
    assert pipeline.start.model == str(tmp_path / "base") and pipeline.start.made_by == tmp_path / "x" / "base.yaml"
    assert pipeline.remember[0].train == "nusax/english/train"


@pytest.mark.parametrize(
    ("changes", "key", "nearest"),
    [
        ({"trainng": {}}, "trainng", "training"),
        ({"registr": {}}, "registr", "register"),
        ({"start": {"model": "a", "modle": "b"}}, "start.modle", "model"),
        ({"learn": {"train": "a.csv", "lable": "b"}}, "learn.lable", "label"),
        ({"training": {"epoch": 1}}, "training.epoch", "epochs"),
        ({"gate": {"target_gian": 0}}, "gate.target_gian", "target_gain"),
        ({"assess": {"mesure": "fisher"}}, "assess.mesure", "measure"),
        ({"register": {"nam": "a"}}, "register.nam", "name"),
        ({"remember": [ENGLISH, {**ENGLISH, "name": "b", "margn": 0.1}]}, "remember.1.margn", "margin"),
        ({"parameters": {"heads": {"cout": 2}}}, "parameters.heads.cout", "count"),
        ({"parameters": {"haeds": 2}}, "parameters.haeds", "heads"),
        ({"objective": "stf"}, "objective.stf", "sft"),
        ({"examples": ["replai"]}, "examples.replai", "replay"),
        ({"anchors": [{"ewc": {"strenth": 2}}]}, "anchors.ewc.strenth", "strength"),
        ({"anchors": ["ewk"]}, "anchors.ewk", "ewc"),
        ({"schedule": ["plane"]}, "schedule.plane", "plain"),
        ({"method": "loar"}, "method", "lora"),
        ({"learn": {"train": "a.csv", "expect": ["no-duplicate"]}}, "learn.expect.0", "no-duplicates"),
        ({"assess": {"measure": "fischer"}}, "assess.measure", "fisher"),
    ],
)
def test_an_unknown_name_is_named_with_the_nearest_known_one(file, changes, key, nearest):
    path = file(**changes)
    message = refused(path)
    assert message.startswith(f"{path}, key `{key}`: ") and f"Did you mean `{nearest}`?" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": {}}, "key `start.model`: is missing"),
        ({"remember": [{"name": "a", "valid": "b"}]}, "key `remember.0.test`: is missing"),
        ({"name": "a/b"}, "key `name`: a name is letters, digits"),
        ({"name": 3}, "key `name`: Input should be a valid string. Got 3."),
        ({"learn": {"train": "a.csv", "head": "a/b"}}, "key `learn.head`: a name is"),
        ({"remember": [{**ENGLISH, "name": ".."}]}, "key `remember.0.name`: a name is"),
        ({"register": {"name": "a b"}}, "key `register.name`: a name is"),
        ({"training": {"epochs": 0}}, "key `training.epochs`: Input should be greater than 0. Got 0."),
        ({"training": {"epochs": math.inf}}, "key `training.epochs`: Input should be a finite number"),
        ({"training": {"learning_rate": "fast"}}, "key `training.learning_rate`: Input should be a valid number"),
        ({"training": {"seed": -1}}, "key `training.seed`"),
        ({"training": "long"}, "key `training`: Input should be a valid dictionary"),
        ({"remember": ENGLISH}, "key `remember`: Input should be a valid tuple"),
        ({"remember": [{**ENGLISH, "margin": 0}]}, "key `remember.0.margin`"),
        ({"remember": [{**ENGLISH, "confidence": 1}]}, "key `remember.0.confidence`"),
        ({"gate": {"target_gain": 5}}, "key `gate.target_gain`"),
        ({"task": "translation"}, "key `task`: Input should be 'classification' or 'generation'"),
        ({"method": ["full"]}, "key `method`: no method named"),
        ({"parameters": {"layers": {}}}, "key `parameters.layers`: give either"),
        ({"parameters": {"embeddings": 3}}, "`embeddings` takes no bare value, got 3"),
        ({"parameters": ["full", "full"]}, "key `parameters`: `full` is chosen twice"),
        ({"parameters": 3}, "key `parameters`: cannot read 3"),
        ({"anchors": {"ewc": math.inf}}, "key `anchors.ewc.strength`: Input should be a finite number"),
        ({1: 2}, "Keys should be strings"),
        ({"parameters": {"heads": {1: 2}}}, "Keys should be strings"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(file, changes, said):
    path = file()
    path.write_text(yaml.safe_dump({**SMALL, **changes}), encoding="utf-8")
    message = refused(path)
    assert message.startswith(str(path)) and said in message


@pytest.mark.parametrize("section", ["name", "start", "learn"])
def test_a_missing_section_is_named(tmp_path, section):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in SMALL.items() if name != section}))
    assert f"key `{section}`: is missing" in refused(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "cannot be read as YAML"),
        ("- a\n- b\n", "is not a mapping"),
        ("", "is not a mapping"),
        ("name: a\nname: b\n", "the key `name` occurs twice"),
        ("learn: {train: a.csv, train: b.csv}\n", "the key `train` occurs twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "cannot be read as YAML"),
        ("? [a, b]\n: 1\n", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(tmp_path, text, said):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    message = refused(path)
    assert message.startswith(str(path)) and said in message


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert "no such pipeline file" in refused(tmp_path / "none.yaml")
    assert "cannot be read" in refused(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    assert "cannot be read" in refused(tmp_path / "latin.yaml")


def test_overrides_reach_every_level_and_lists(file):
    path = file(remember=[ENGLISH, {**ENGLISH, "name": "b"}], training=None, anchors=[{"l2sp": {"strength": 1}}])
    overrides = [
        "training.epochs=0.5", "training.learning_rate=5e-4", "remember.1.margin=0.1", "gate.target_gain=0.02",
        "anchors.0.l2sp.strength=3", "parameters.layers=[0, embeddings]", "learn.expect=[no-empty-text]",
        "register.name=other", "start.model=models:/a@champion", "name=x=y".replace("=y", "-y"),
    ]  # fmt: skip
    pipeline = spec.load(path, overrides)
    assert (pipeline.training.epochs, pipeline.training.learning_rate) == (0.5, 5e-4)
    assert [task.margin for task in pipeline.remember] == [0.05, 0.1]
    assert pipeline.anchors == {"l2sp": {"strength": 3.0}} and pipeline.gate.target_gain == 0.02
    assert pipeline.parameters["layers"]["names"] == [0, "embeddings"]
    assert pipeline.learn.expect == ("no-empty-text",)
    assert (pipeline.registered_name, pipeline.start.model, pipeline.name) == ("other", "models:/a@champion", "x-y")
    assert spec.load(path, ["remember=[]"]).remember == ()
    assert spec.load(path, ["training.seed=1", "training.seed=2"]).training.seed == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epochs", "cannot read the override 'training.epochs'; expected --set dotted.key=value"),
        ("=3", "cannot read the override"),
        ("name=[", "cannot read the override 'name=['"),
        ("training.epoch=3", "Did you mean `epochs`?"),
        ("trainin.epochs=3", "Did you mean `training`?"),
        ("name.first=3", "cannot be set: `name` is 'toy', not a mapping"),
        ("remember.2.margin=0.1", "there is no `2`; expected a position from 0 to 0 in the list `remember`"),
        ("remember.english.margin=0.1", "there is no `english`; expected a position"),
        ("remember.-1.margin=0.1", "there is no `-1`"),
        ("remember.5={}", "there is no `5`"),
        ("training.epochs=-3", "Input should be greater than 0"),
        ("parameters=[lora, full]", "`full` moves everything"),
    ],
)
def test_a_wrong_override_is_refused(file, override, said):
    assert said in refused(file(remember=[ENGLISH]), override)


@pytest.mark.parametrize("name", sorted(methods.PRESETS))
def test_every_preset_sets_its_axes_and_leaves_the_others_at_their_defaults(file, name):
    generates = "self" in methods.PRESETS[name].get("examples", [])
    pipeline = spec.load(file(method=name, remember=[WITH_TRAIN], **({"task": "generation"} if generates else {})))
    assert pipeline.method == name
    wanted = {"examples": "gold", "parameters": "full", "objective": "sft", "anchors": [], "schedule": "plain"}
    for key, chosen in (wanted | methods.PRESETS[name]).items():
        assert getattr(pipeline, key) == choices.parse(spec.AXIS_OF_KEY[key], chosen, key)


def test_what_a_file_spells_out_wins_over_its_preset(file):
    pipeline = spec.load(file(method="lora", parameters="layernorm", schedule=["warmup"]))
    assert list(pipeline.parameters) == ["layernorm"] and list(pipeline.schedule) == ["warmup"]


def test_the_four_ways_to_write_choices_mean_the_same():
    wanted = {"ewc": choices.options("anchors", "ewc", {}).model_dump(mode="json")}
    for raw in ("ewc", ["ewc"], {"ewc": True}, {"ewc": None}, [{"ewc": {}}], {"ewc": {}, "l2sp": False}):
        assert choices.parse("anchors", raw, "anchors") == wanted
    assert choices.parse("anchors", {"ewc": 3}, "anchors")["ewc"]["strength"] == 3
    assert choices.parse("anchors", None, "anchors") == {}


@pytest.mark.parametrize("axis", choices.AXES)
def test_every_choice_has_options_with_defaults_or_says_what_is_missing(axis):
    known = choices.names(axis)
    assert known and not any(name.startswith("_") for name in known)
    for name in known:
        module = choices.load(axis, name)
        assert issubclass(module.Options, choices.Options) and module.Options.__doc__
        shorthand = getattr(module, "SHORTHAND", None)
        assert shorthand is None or shorthand in module.Options.model_fields


DECODER = {"task": "generation", "learn": {"train": "a.csv"}}
RANDOM_HEAD = {"training": {"new_head": "random"}}
RULES = [
    ({"objective": []}, "objective", "exactly one objective"),
    ({"objective": {"kd": {"teacher": "all-MiniLM-L6-v2"}}}, "objective", "needs a teacher that knows the labels"),
    ({"parameters": []}, "parameters", "`parameters` chooses nothing"),
    ({"parameters": {"full": False}}, "parameters", "`parameters` chooses nothing"),
    ({"parameters": ["full", "layernorm"]}, "parameters", "`full` moves everything"),
    ({"parameters": ["lora", "layernorm"]}, "parameters", "`lora` trains new low-rank weights"),
    ({"parameters": ["auto", {"layers": [0]}]}, "parameters", "`auto` tries selections of its own"),
    ({"parameters": "auto", "schedule": "unfreezing"}, "schedule", "longer than the trials of `auto` last"),
    ({"examples": []}, "examples", "`examples` chooses nothing"),
    ({"examples": "replay", "remember": [ENGLISH]}, "examples", "`replay` has nothing to replay"),
    ({"anchors": ["ewc"], "remember": [ENGLISH]}, "anchors", "`ewc` needs the Fisher information of old data"),
    (
        {"anchors": ["ewc"], "remember": [WITH_TRAIN], "assess": {"measure": "taylor"}},
        "anchors",
        "`ewc` weighs by Fisher information, and `assess.measure` is taylor",
    ),
    ({"anchors": {"kl": {"on": "remembered"}}, "remember": [ENGLISH]}, "anchors", "`kl` on remembered texts has none"),
    ({"anchors": ["l2sp"], "parameters": "lora"}, "anchors", "`l2sp` anchors the start model's own weights"),
    ({"schedule": ["plain", "slanted"]}, "schedule", "both say how the learning rate changes over time"),
    ({"schedule": ["unfreezing"], "parameters": "embeddings"}, "schedule", "`unfreezing` goes layer by layer"),
    ({"schedule": ["unfreezing"], "parameters": "prompt"}, "schedule", "`unfreezing` goes layer by layer"),
    ({"schedule": "importance-scaled"}, "schedule", "`importance-scaled` weighs against general importance"),
    (
        {"schedule": "importance-scaled", "parameters": "ia3", "remember": [WITH_TRAIN]},
        "schedule",
        "`ia3` moves new",
    ),
    ({"schedule": ["wise"], "control": {"enabled": True}}, "schedule", "`wise` draws weights back as far as it says"),
    ({"assess": {"circuit": {"top": 0.1}}}, "assess", "`parameters` does not choose `circuit`"),
    ({"remember": [ENGLISH, ENGLISH]}, "remember", "two remembered tasks are named `english`"),
    ({"task": "generation", "learn": {"train": "a.csv", "text": "words"}}, "task", "`learn.text` is never read"),
    ({"task": "generation", "learn": {"train": "a.csv", "expect": ["known-labels"]}}, "learn.expect", "about labels"),
    ({"task": "generation", "learn": {"train": "a.csv", "metric": "choice"}}, "learn.metric", "name the column"),
    ({"task": "generation", "parameters": "auto"}, "task", "`auto` compares trials by classifying"),
    ({"examples": "self"}, "examples", "`self` learns answers in the model's own words"),
    ({"examples": "domain-text"}, "examples", "`domain-text` learns from texts without labels: name them"),
    (
        {"examples": "pseudo-labels", "task": "generation", "learn": {"train": "a.csv", "unlabelled": "u.csv"}},
        "examples",
        "`pseudo-labels` gives texts labels",
    ),
    ({"task": "generation", "examples": ["self", "gold"]}, "examples", "`self` takes the place of the gold answers"),
    (
        {"task": "generation", "examples": {"self": {"judge": {"tests": {"seconds": 1}}}}},
        "examples",
        "name the column of its tests as `learn.tests`",
    ),
    ({"merge": {"versions": ["models:/a/1"], "how": "ties"}, "method": "lora"}, "merge", "`merge` tunes nothing"),
    ({"training": {"frozen_weights": "4bit"}}, "training.frozen_weights", "`full` moves everything"),
    (
        {"training": {"frozen_weights": "4bit"}, "parameters": {"lora": {"kind": "dora"}}},
        "training.frozen_weights",
        "`dora` is made of the frozen weights",
    ),
    (
        {"training": {"frozen_weights": "4bit"}, "parameters": "auto"},
        "training.frozen_weights",
        "`auto` tries one selection after the other",
    ),
    ({**RANDOM_HEAD, "objective": "asft"}, "training.new_head", "`asft` asks the start model for its answers"),
    ({**RANDOM_HEAD, "anchors": ["kl"]}, "training.new_head", "`kl` asks the start model for its answers"),
    (
        {**RANDOM_HEAD, "examples": "pseudo-labels", "learn": {"train": "a.csv", "unlabelled": "u.csv"}},
        "training.new_head",
        "`pseudo-labels` asks the start model",
    ),
    ({**RANDOM_HEAD, **DECODER}, "training.new_head", "a decoder has no head"),
    ({"training": {"prefix_cache": "on"}}, "training.prefix_cache", "below `full` lies none: say auto or off"),
    ({"training": {"packing": True}}, "training.packing", "rows of a classifier are not packed"),
    (
        {**DECODER, "training": {"packing": True}, "parameters": "prompt"},
        "training.packing",
        "`prompt` puts states before every row",
    ),
    (
        {**DECODER, "training": {"gradient_checkpointing": True}, "parameters": "prompt"},
        "training.gradient_checkpointing",
        "`prompt` runs a decoder's layer twice",
    ),
    (
        {"task": "generation", "learn": {"train": "a.csv", "metric": "likelihood"}},
        "remember",
        "texts that are remembered",
    ),
]


@pytest.mark.parametrize(("changes", "key", "said"), RULES)
def test_every_combination_that_cannot_work_is_refused(file, changes, key, said):
    path = file(**changes)
    message = refused(path)
    assert message.startswith(f"{path}, key `{key}`: ") and said in message


def test_a_random_head_goes_with_what_does_not_ask_the_start_model(file):
    taught = {"objective": {"kd": {"teacher": "models:/a/1"}}}
    kept = {"anchors": ["kl"], "remember": [WITH_TRAIN]}
    for fine in ({}, taught, kept, {"objective": "psft"}, {"anchors": ["l2sp"]}):
        assert spec.load(file(**RANDOM_HEAD, **fine)).training.new_head == "random"


def test_every_rule_is_seen_to_refuse(file, monkeypatch):
    broken = set()
    for changes, _, _ in RULES:
        path = file(**changes)
        with monkeypatch.context() as patch:
            patch.setattr(compatibility, "check", lambda pipeline, file=None: None)
            patch.setattr(spec, "_uncontrolled", lambda pipeline: pipeline)
            patch.setattr(spec, "_with_metrics", lambda pipeline: pipeline)  # as the file says it, nothing left out
            pipeline = spec.load(path)
        broken |= {place for place, (_, rule) in enumerate(compatibility.RULES) if rule(pipeline)}
    assert broken == set(range(len(compatibility.RULES)))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "pipelines").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_pipeline_of_the_repository_can_be_read(path):
    pipeline = spec.load(path)
    assert pipeline.name == path.stem
    assert pipeline.start.made_by is None or pipeline.start.made_by.is_file()


MERGE = {"versions": ["models:/a/1", "models:/b@champion"], "how": "ties"}


def test_a_merge_is_written_out(file):
    path = file(merge=MERGE)
    pipeline = spec.load(path)
    wanted = {**MERGE, "versions": (*MERGE["versions"],), "weights": (1, 1), "density": 0.2}
    assert pipeline.merge.model_dump() == wanted
    assert spec.parse(pipeline.resolved(), path).resolved() == pipeline.resolved()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"merge": {**MERGE, "weights": [1]}}, "1 weights for 2 versions"),
        ({"merge": {**MERGE, "how": "task-arithmetic", "density": 0.5}}, "`density` is read by `ties` alone"),
        ({"merge": {**MERGE, "versions": []}}, "merge.versions"),
        ({"merge": MERGE, "method": "lora"}, "`merge` tunes nothing"),
        ({"merge": MERGE, "anchors": "l2sp"}, "`merge` tunes nothing"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(file, changes, said):
    assert said in refused(file(**changes))
