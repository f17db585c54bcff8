"""The benchmark's page from made-up results: claims judged by intervals, generated parts replaced, the rest left."""

from pathlib import Path

import pytest
from scipy import stats

from benchmarks.frontier import arms, claims, page, run
from holdfast import spec, written
from holdfast.comparison.arms import check_alike, parse
from holdfast.comparison.arms import pipeline as made

ROOT = Path(__file__).resolve().parents[2]
NOTHING = {"mean": 0.0, "low": 0.0, "high": 0.0}


def interval(mean, half):
    return {"mean": mean / 100, "low": (mean - half) / 100, "high": (mean + half) / 100}


def arm(name, target=None, kept=None, runs=(0.5, 0.5, 0.5)):
    """An arm with differences from `sft` in points, (mean, half-width), and its target per seed."""
    old = {
        "name": "english",
        "metric": "accuracy",
        "drop": NOTHING,
        "kept": [1, 3],
        "against": kept and interval(*kept),
    }
    scores = {"after": 0.5, "gain": NOTHING, "against": target and interval(*target)}
    seen = [{"seed": seed, "target": value, "remembered": {"english": value}} for seed, value in enumerate(runs)]
    one = {"factor": 1.0, "kept": True, "gain": 0.1}
    return {"name": name, "target": scores, "remembered": [old], "runs": seen, "factor": 1.0, "rates": [one],
            "edge": False, "diverged": [], "share": 0.1, "seconds": 2.0, "frontier": False}  # fmt: skip


def document(*found):
    return {"arms": [arm("sft"), *found], "reference": "sft", "confidence": 0.95, "seeds": [7], "updates": [3],
            "grid": [0.2, 1.0, 5.0], "metric": "accuracy", "notes": [], "pipeline": "p"}  # fmt: skip


def test_a_claim_is_seen_only_where_the_interval_lies_on_its_side():
    claim = claims.Claim("p", "keeps more", "javanese", claims.keeps_more("ewc"))
    cases = {(2, 1): "seen", (2, 3): "not seen", (-2, 1): "not seen, the opposite is"}
    for kept, wanted in cases.items():
        ewc = arm("ewc", (0, 1), kept, runs=(0.5, 0.5, 0.6))
        assert claims.judged(claim, {"javanese": document(ewc)})[0] == wanted
    assert claims.judged(claim, {"javanese": document()}) == ("not yet measured", "-")
    assert claims.judged(claim, {}) == ("not yet measured", "-")
    assert claims.judged(claims.Claim("p", "q", why="too large"), {}) == ("not testable at this size", "too large")


def test_arms_with_the_same_scores_at_every_seed_show_nothing():
    said = ("not testable here", "both made the same rows on exercises: equal scores at every seed")
    for measure in (claims.learns_more_than("s3ft", "sdft"), claims.learns_more("s3ft"), claims.keeps_more("s3ft")):
        claim = claims.Claim("p", "learns more", "exercises", measure)
        same = document(arm("s3ft:a=b", (0, 1), (0, 1)), arm("sdft:a=b"))
        assert claims.judged(claim, {"exercises": same}) == said
        other = document(arm("s3ft:a=b", (0, 1), (0, 1), runs=(0.5, 0.5, 0.6)), arm("sdft:a=b"))
        assert claims.judged(claim, {"exercises": other})[0] == "not seen"


def test_a_rate_at_the_end_of_the_grid_is_told_with_the_number():
    claim = claims.Claim("p", "keeps more", "javanese", claims.keeps_more("ewc"))
    more = claims.Claim("p", "learns more", "javanese", claims.learns_more_than("ewc", "b:"))
    found = document(arm("ewc:a=b", (0, 1), (2, 1), runs=(0.4, 0.5, 0.7)), arm("b: 1"), arm("b: 2"), arm("c"))
    numbers = [claims.judged(one, {"javanese": found})[1] for one in (claim, more)]
    assert all(number.endswith(" on javanese") for number in numbers)
    for one, factor in zip(found["arms"], (0.2, 5.0, 0.2, 5.0, 0.2), strict=True):
        one |= {"factor": factor, "edge": True}
    ends = [claims.judged(one, {"javanese": found})[1].partition("; ")[2] for one in (claim, more)]
    assert ends[0] == "lowest rate of the grid: sft; highest rate of the grid: ewc"
    assert ends[1] == "lowest rate of the grid: b: 1; highest rate of the grid: ewc, b: 2"


def test_arms_are_paired_by_seed_and_several_others_averaged():
    found = document(
        arm("a", runs=(0.6, 0.7, 0.8)), arm("b: 1", runs=(0.5, 0.5, 0.5)), arm("b: 2", runs=(0.5, 0.6, 0.5))
    )
    differences = [10.0, 15.0, 30.0]
    half = stats.t.ppf(0.975, 2) * stats.sem(differences)
    wanted = pytest.approx((55 / 3, 55 / 3 - half, 55 / 3 + half))
    assert claims.learns_more_than("a", "b")(found) == wanted == claims.keeps_more_than("a", "b")(found)


def test_the_first_sentence_says_whether_the_baseline_is_beaten():
    better = {"javanese": document(arm("psft", (0.5, 1), (2, 1)))}
    assert page.verdict(better, "psft").startswith("Beats plain tuning on javanese")
    for target, kept in (((0.5, 1), (1, 2)), ((-3, 1), (2, 1))):
        said = page.verdict({"made": document(arm("psft", target, kept))}, "other psft")
        assert said.startswith("Does not beat plain tuning on made, in points against `sft`: target ")
    own = {"exercises": document(arm("s3ft-wide:a=b", (9, 1)), arm("s3ft:a=b", (5, 1), (2, 3)), arm("sdft:a=b"))}
    assert page.verdict(own, "s3ft").startswith("Beats plain tuning on exercises")
    assert claims.learns_more_than("s3ft", "sdft")(own["exercises"]) is not None
    assert page.verdict({}, "psft") == "Not yet measured against its baseline."


def test_what_was_so_on_the_first_part_is_told_of_the_others_too():
    won, lost = document(arm("psft", (5, 1), (0, 1))), document(arm("psft", (0, 1), (0, 1)))
    assert page.verdict({"javanese": won, "made": won, "sundanese": lost}, "psft").endswith(
        " Beats it on made. Does not beat it on sundanese."
    )
    said = page.verdict({"javanese": lost, "made": won, "sundanese": lost, "minangkabau": lost}, "psft")
    assert said.endswith(" Does not beat it on sundanese and minangkabau either. Beats it on made.")
    both = page.verdict({"javanese": won, "made": document(arm("ewc", (5, 1)))}, "ewc none psft")
    assert both.startswith("`ewc`: Beats plain tuning on made") and " `psft`: Beats plain tuning on javanese" in both


def test_only_generated_parts_are_replaced():
    text = "a <!-- generated: verdict x -->old<!-- end --> b\n<!-- generated: tables -->\nold\n<!-- end -->\nc"
    made = page.rendered(text, {"made": document(arm("ewc", (0, 1), (2, 1)))})
    assert made.startswith("a <!-- generated: verdict x -->Not yet measured against its baseline.<!-- end --> b\n")
    assert "old" not in made.replace("old lost", "") and made.endswith("<!-- end -->\nc")
    assert "| ewc | 1x |" in made and made.count("Not yet measured.") == 6
    assert page.rendered(made, {}) == page.rendered(text, {})
    with pytest.raises(LookupError, match="nothing makes"):
        page.rendered("<!-- generated: nonsense --><!-- end -->", {})


def test_the_page_is_what_the_kept_results_give():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page.rendered(text, run.documents(run.RESULTS)) == text


def test_every_arm_of_the_benchmark_and_of_the_page_is_known():
    for own in (arms.EVERY, arms.MADE, arms.GENERATION, arms.RESTYLED):
        assert len(parse(",".join(own))) == len(own)
    marked = [match["name"] for match in page._MARKED.finditer((ROOT / "docs" / "methods.md").read_text())]
    said = {one for name in marked if name.startswith("verdict ") for one in name.split()[1:]}
    assert len(said) > 30 and parse(",".join(said - {"wise-ft"}))


@pytest.mark.parametrize("part", list(run.PARTS))
def test_every_arm_fits_the_file_of_its_part(part):
    file, own = run.PARTS[part]
    raw = written.read(file)
    every = {arm.name: made(arm, raw, file) for arm in parse(",".join(own or arms.EVERY))}
    assert {pipeline.training.patience for pipeline in every.values()} == {None}
    check_alike(every, spec.parse(raw, file))
    own = [pipeline.examples["self"]["paraphrase"] for pipeline in every.values() if "self" in pipeline.examples]
    assert {Path(prompt) for prompt in own if prompt} <= {ROOT / "data" / "base_model" / "paraphrase.txt"}
    assert all(own) or part not in ("exercises", "restyled")
    assert made(parse("replay")[0], raw, file).remember


@pytest.mark.parametrize("part", list(run.PARTS))
def test_the_file_that_makes_the_start_model_of_a_part_registers_it_under_that_name(part):
    start = spec.load(run.PARTS[part][0]).start
    assert (start.made_by is None) is (start.model.partition(":")[0] != "models")
    assert start.made_by is None or start.model == f"models:/{spec.load(start.made_by).name}@champion"


def test_s3ft_is_compared_with_sdft_where_they_learn_different_rows():
    claim = next(one for one in claims.CLAIMS if one.says == "learns the task better than SDFT")
    better = document(arm("s3ft:a=b", runs=(0.6, 0.7, 0.8)), arm("sdft:a=b", runs=(0.5, 0.6, 0.6)))
    assert claims.judged(claim, {"exercises": better}) == ("not yet measured", "-")
    assert claims.judged(claim, {"restyled": better})[1].endswith(" on restyled")
    assert {"s3ft", "sdft"} < {one.preset for one in parse(",".join(arms.RESTYLED))}


def test_a_part_has_rates_of_its_own_unless_the_command_names_some():
    assert {part: run.grid(part, None) for part in ("exercises", "restyled", "made")} == {
        "exercises": (0.1, 0.2, 1.0), "restyled": (0.1, 0.2, 1.0), "made": (0.2, 1.0, 5.0)
    }  # fmt: skip
    assert run.grid("exercises", "0.3,3") == run.grid("made", "0.3,3") == (0.3, 3.0)


def test_the_best_are_those_that_did_best_on_valid(tmp_path):
    import json

    found = [arm(f"a{i}") for i in range(10)]
    for i, one in enumerate(found):
        one["rates"][0] |= {"gain": i / 100, "kept": i != 9}
    path = tmp_path / "javanese.json"
    path.write_text(json.dumps({"arms": [{"name": "start", "rates": [], "target": {}}, *found]}))
    assert run.best(path) == [f"a{i}" for i in range(8, 0, -1)]
    assert run.best(tmp_path / "none.json") == []
