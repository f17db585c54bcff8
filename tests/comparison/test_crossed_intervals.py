"""The interval over seeds and items: worked by hand, against a plain t interval, and how often it covers the truth."""

import numpy as np
import pytest
from scipy import stats

from holdfast.comparison import intervals
from holdfast.errors import BadInput


def test_worked_by_hand():
    # D = [[1, 0, 0], [0, 0, -1]]. Row means 1/3 and -1/3, column means 1/2, 0, -1/2, all together 0.
    # MS_a = 3 (1/9 + 1/9) / 1 = 2/3; with the items 1 and -1 more, MS_b = 2 (1/4 + 0 + 1/4 + 1 + 1) / 4 = 5/4;
    # what is left over is +-1/6 four times and +-1/3 twice: MS_e = (4/36 + 2/9) / 2 = 1/6.
    variance = (2 / 3 + 5 / 4 - 1 / 6) / 6
    freedom = (2 / 3 + 5 / 4 - 1 / 6) ** 2 / ((2 / 3) ** 2 / 1 + (5 / 4) ** 2 / 2 + (1 / 6) ** 2 / 2)
    found = intervals.crossed([[1, 0, 0], [0, 0, -1]], confidence=0.5)
    half = stats.t.ppf(0.75, freedom) * variance**0.5
    assert found.mean == 0 and found.freedom == pytest.approx(freedom) == pytest.approx(2.4706, abs=1e-4)
    assert (found.low, found.high) == (pytest.approx(-half), pytest.approx(half))


def test_one_seed_is_a_paired_t_interval_over_items():
    gain = np.random.default_rng(3).choice([-1, 0, 1], 4000, p=[0.1, 0.6, 0.3])
    found, wanted = intervals.crossed([gain]), stats.t.interval(0.95, len(gain) - 1, gain.mean(), stats.sem(gain))
    assert (found.low, found.high) == (pytest.approx(wanted[0], abs=1e-4), pytest.approx(wanted[1], abs=1e-4))


def test_no_flips_are_no_proof():
    found = intervals.crossed(np.zeros((5, 100)))
    assert found.mean == 0 and -0.05 < found.low < -0.01 and 0.01 < found.high < 0.05


def test_it_stays_where_differences_can_lie():
    found = intervals.crossed([[1] * 4, [0] * 4])
    assert (found.low, found.high) == (-1, 1)


def test_differences_without_bounds_are_taken_as_they_are():
    # As above without the two items more: MS_b = 2 (1/4 + 0 + 1/4) / 2 = 1/2, MS_a = 2/3, MS_e = 1/6, all 9 times.
    variance = 9 * (2 / 3 + 1 / 2 - 1 / 6) / 6
    freedom = (2 / 3 + 1 / 2 - 1 / 6) ** 2 / ((2 / 3) ** 2 / 1 + (1 / 2) ** 2 / 2 + (1 / 6) ** 2 / 2)
    found = intervals.crossed([[5, 2, 2], [2, 2, -1]], confidence=0.5, bounded=False)
    half = stats.t.ppf(0.75, freedom) * variance**0.5
    assert found.mean == 2 and found.freedom == pytest.approx(freedom)
    assert (found.low, found.high) == (pytest.approx(2 - half), pytest.approx(2 + half)) and found.high > 2 > 1
    drops = np.random.default_rng(5).normal(1.5, 0.01, 50)
    one, wanted = intervals.crossed([drops], bounded=False), stats.t.interval(0.95, 49, drops.mean(), stats.sem(drops))
    assert (one.low, one.high) == (pytest.approx(wanted[0]), pytest.approx(wanted[1]))
    still = intervals.crossed(np.zeros((5, 100)), bounded=False)
    assert (still.low, still.mean, still.high) == (0, 0, 0)


def test_it_covers_the_truth_without_bounds_too():
    generator, hits = np.random.default_rng(11), 0
    for _ in range(600):
        table = 1.5 + 0.2 * generator.standard_normal((5, 1)) + 0.5 * generator.standard_normal(40)
        found = intervals.crossed(table + 0.3 * generator.standard_normal(table.shape), bounded=False)
        hits += found.low <= 1.5 <= found.high
    assert 0.925 <= hits / 600 <= 0.99, hits / 600


def world(generator, seeds, items, seed_spread, item_spread):
    """Flips of a model whose chance to flip an item depends on the item, and on the seed for all items alike."""
    good = 0.15 + item_spread * generator.standard_normal(items) + seed_spread * generator.standard_normal((seeds, 1))
    uniform = generator.random((seeds, items))
    good = np.clip(good, 0, 0.8)
    return (uniform < good).astype(float) - (uniform > 0.9), float(good.mean())


@pytest.mark.parametrize(
    ("seeds", "items", "seed_spread", "item_spread"),
    [(5, 100, 0.0, 0.0), (5, 400, 0.05, 0.05), (5, 400, 0.0, 0.3), (3, 100, 0.05, 0.1), (1, 100, 0.0, 0.1)],
)
def test_it_covers_the_truth_about_as_often_as_it_says(seeds, items, seed_spread, item_spread):
    generator = np.random.default_rng(11)
    truth = np.mean([world(generator, 1, 2000, seed_spread, item_spread)[1] for _ in range(400)]) - 0.1
    hits = 0
    for _ in range(600):
        found = intervals.crossed(world(generator, seeds, items, seed_spread, item_spread)[0])
        hits += found.low <= truth <= found.high
    assert 0.925 <= hits / 600 <= 0.99, hits / 600


def test_a_table_with_gaps_is_refused():
    with pytest.raises(BadInput, match="every seed must have answered the same items"):
        intervals.crossed([[0, 1], [1]])
