"""Every number of a check against an independent computation: loops, closed forms, published and hand-worked cases."""

import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact

from holdfast.drift import content, descriptors, embedding, performance, settings, shares
from holdfast.drift.finding import Finding, judge, skipped


def counts(old, new):
    names = tuple(f"k{i}" for i in range(len(old)))
    return shares.Counts(names, np.array(old), np.array(new))


def test_descriptors_of_a_text_counted_by_hand():
    found = descriptors.describe(["Äb 12!", ""])
    #        characters, words, word length, capitals, digits, marks, beyond ASCII (of the 5 that are not space)
    assert found[0] == pytest.approx([6, 2, 2.5, 1 / 5, 2 / 5, 1 / 5, 1 / 5])
    assert found[1, 0] == 0 and np.isfinite(found).all()


def test_the_largest_distance_of_a_descriptor_is_that_of_its_step_functions(sample):
    old, new = sample(30), sample(40, text=["word " * (1 + i % 7) for i in range(40)])
    found = descriptors.check(old, new, settings.Descriptors())
    distances = []
    for i in range(len(descriptors.NAMES)):
        a, b = old.descriptors[:, i], new.descriptors[:, i]
        distances.append(max(abs(np.mean(a <= x) - np.mean(b <= x)) for x in [*a, *b]))
    assert found.effect == pytest.approx(max(distances))
    assert found.detail["most"] == descriptors.NAMES[int(np.argmax(distances))] and found.p < 1e-6


def test_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    low, high = rng.integers(0, 8, 30).astype(float), rng.integers(2, 10, 20).astype(float)
    pairs = [(y > x) + 0.5 * (y == x) for x in low for y in high]
    assert content.auc(low, high) == pytest.approx(np.mean(pairs))


def test_the_cut_off_of_the_content_check_follows_from_the_sizes(world, worlds):
    """An AUC of 0.5 + z x Mann-Whitney's deviation in both halves has the p-value of z."""
    window = worlds.mixed(world, "foreign", 0.1, np.random.default_rng(3))
    found = content.check(world.reference, window, settings.Content(), seed=1).finding
    n, m = 250, 1000
    deviation = math.sqrt((n + m + 1) / (12 * n * m))
    z = np.mean([(found.detail[half] - 0.5) / deviation for half in ("first half", "second half")])
    assert found.p == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), rel=0.02)
    assert found.p < 0.01 and found.n == 500 and found.reference_n == 2000


def test_the_strangest_rows_are_those_of_another_kind(world, worlds):
    window = worlds.mixed(world, "foreign", 0.2, np.random.default_rng(4))
    told = content.check(world.reference, window, settings.Content(), seed=1)
    order = np.argsort(-told.strangeness)
    foreign = np.array([name.startswith("foreign") for name in window.ids])
    assert foreign[order[:40]].mean() > 0.9 and not np.isnan(told.strangeness).any()


def test_squared_mmd_is_the_mean_over_distinct_pairs():
    rng = np.random.default_rng(2)
    mapped = rng.standard_normal((9, 5)).astype(np.float32)
    observed, null = embedding.permuted(mapped, 4, 300, seed=0)
    kernel = mapped.astype(float) @ mapped.T.astype(float)
    old, new = range(5), range(5, 9)
    within = [np.mean([kernel[i, j] for i in side for j in side if i != j]) for side in (new, old)]
    assert observed == pytest.approx(sum(within) - 2 * np.mean([kernel[i, j] for i in new for j in old]), abs=1e-5)
    assert len(null) == 300 and abs(null.mean()) < 4 * null.std() / math.sqrt(300)  # unbiased


def test_random_features_approximate_the_gaussian_kernel():
    rng = np.random.default_rng(3)
    points = rng.standard_normal((40, 6)).astype(np.float32)
    width = embedding.bandwidth(points, seed=0)
    mapped = embedding.fourier(points, width, 8192, seed=1)
    squared = ((points[:, None] - points[None]) ** 2).sum(-1)
    assert np.abs(mapped @ mapped.T - np.exp(-squared / (2 * width**2))).max() < 0.06
    assert width == pytest.approx(np.median(np.sqrt(squared[np.triu_indices(40, 1)])), rel=0.1)


def test_psi_and_jensen_shannon_by_hand():
    found = counts([50, 50], [75, 25])
    assert shares.psi(found) == pytest.approx(0.25 * math.log(1.5) - 0.25 * math.log(0.5))
    middle = [(0.5 + 0.75) / 2, (0.5 + 0.25) / 2]
    divergence = sum(p * math.log2(p / m) for p, m in zip((0.5, 0.5), middle, strict=True)) / 2
    divergence += sum(q * math.log2(q / m) for q, m in zip((0.75, 0.25), middle, strict=True)) / 2
    assert shares.jensen_shannon(found) == pytest.approx(math.sqrt(divergence))
    assert math.isfinite(shares.psi(counts([100, 0], [50, 50])))


def test_psi_without_change_is_its_noise_on_average():
    rng = np.random.default_rng(5)
    draws = [counts(rng.multinomial(2000, [0.25] * 4), rng.multinomial(500, [0.25] * 4)) for _ in range(800)]
    assert np.mean([shares.psi(one) for one in draws]) == pytest.approx(shares.noise(draws[0]), rel=0.08)


def test_chi_square_is_the_usual_test_and_exact_where_cells_are_small():
    large = counts([300, 200, 100], [60, 70, 30])
    expected = chi2_contingency([large.old, large.new], correction=False).pvalue
    assert shares.chi_square(large, seed=0) == pytest.approx(expected)
    small = counts([28, 2], [17, 6])  # hand-checked: the two-sided exact test of Fisher
    exact = fisher_exact([small.old, small.new]).pvalue
    assert shares.chi_square(small, seed=0) == pytest.approx(exact, abs=0.02)
    assert shares.chi_square(counts([10], [5]), seed=0) == 1


def test_missing_values_are_no_category_of_labels_but_one_of_segments(sample):
    none, some = [None] * 40, ["a", "b"] * 20
    found = shares.check("label", sample(40, label=some).labels, sample(40, label=none).labels, settings.Shares(), 0)
    assert found.skipped
    half = [*some[:20], *none[:20]]
    found = shares.segments(sample(40, source=some), sample(40, source=half), settings.Shares(), 0)
    assert found.effect > 1 and found.p < 0.001 and "(none): 0.0% -> 50.0%" in str(found.detail["grew"])
    assert shares.segments(sample(40), sample(40, source=some), settings.Shares(), 0).skipped


def test_newcombes_published_interval():
    assert performance.newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # his table II, case (a)


def answered(sample, right, wrong, times=None):
    labels = ["yes"] * (right + wrong)
    columns = {"label": labels, "prediction": ["yes"] * right + ["no"] * wrong}
    return sample(right + wrong, **columns, **({"time": times} if times else {}))


def test_a_drop_in_accuracy_by_hand(sample):
    found = performance.measured(answered(sample, 180, 20), answered(sample, 70, 30), settings.Performance())
    pooled = 250 / 300
    z = 0.2 / math.sqrt(pooled * (1 - pooled) * (1 / 200 + 1 / 100))
    assert found.effect == pytest.approx(0.2) and (found.n, found.reference_n) == (100, 200)
    assert found.p == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)))


def test_only_the_last_72_hours_count(sample):
    old, new = "2026-01-01T00:00:00Z", "2026-01-04T00:00:01Z"
    window = answered(sample, 30, 70, [new] * 30 + [old] * 70)
    assert performance.measured(answered(sample, 90, 10), window, settings.Performance()).n == 30
    assert performance.measured(answered(sample, 90, 10), window, settings.Performance(within="4d")).n == 100


def test_rows_that_were_learned_from_do_not_judge(sample):
    reference = answered(sample, 90, 10)
    reference.judging[:50] = False
    assert len(performance.right(reference)) == 50


def test_the_estimate_counts_each_row_as_right_as_its_group_is(sample):
    """Two groups of confidence, right in 9 and 6 of 10 rows: a window of 30:10 is estimated at their mean."""
    sure, unsure = {"yes": 0.95}, {"yes": 0.55}
    groups = [sure] * 200 + [unsure] * 200
    labels = (["yes"] * 9 + ["no"]) * 20 + (["yes"] * 6 + ["no"] * 4) * 20
    reference = sample(400, label=labels, prediction=["yes"] * 400, probabilities=groups)
    window = sample(400, prediction=["yes"] * 400, probabilities=[sure] * 100 + [unsure] * 300)
    found = performance.estimated(reference, window, settings.Estimate())
    assert found.detail["before"] == pytest.approx(0.75) and found.detail["after"] == pytest.approx(0.675)
    assert found.effect == pytest.approx(0.075) and found.p < 1e-6


def finding(check, p, effect=1.0):
    return Finding(check=check, measure="m", effect=effect, floor=0.5, p=p, n=9, reference_n=9)


def test_holms_levels_and_the_floors():
    found = judge([finding("a", 0.02), finding("b", 0.009), skipped("c", "no labels"), finding("d", 0.001, 0.4)], 0.03)
    levels = {one.check: one.level for one in found}
    assert levels == {"d": pytest.approx(0.01), "b": pytest.approx(0.015), "a": pytest.approx(0.03), "c": None}
    assert {one.check for one in found if one.drifted} == {"a", "b"}  # d passes its test but is too small to matter
    assert not any(one.drifted for one in judge([finding("a", 0.02), finding("b", 0.9)], 0.03))
