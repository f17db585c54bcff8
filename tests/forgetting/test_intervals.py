"""Tango's interval against its equation, a closed form, a published table and its coverage; the bootstrap too."""

import numpy as np
import pytest
from scipy import stats

from holdfast.errors import BadInput
from holdfast.forgetting import intervals

FLIPS = [
    (0, 0, 50),
    (5, 0, 50),
    (0, 5, 50),
    (3, 3, 50),
    (12, 2, 50),
    (40, 20, 160),
    (1, 7, 21),
    (30, 31, 400),
    (50, 0, 50),
]


def constrained_score(drop: float, b: int, c: int, n: int) -> float:
    """Tango's statistic with the constrained likelihood maximised numerically, not by the quadratic's root."""
    free = n - b - c

    def log_likelihood(q: float) -> float:
        both = (b, q + drop), (c, q), (free, 1 - 2 * q - drop)
        return sum(count * np.log(p) for count, p in both if count)

    low, high = max(0.0, -drop) + 1e-14, (1 - drop) / 2 - 1e-14
    for _ in range(200):  # golden section on a concave function
        left, right = high - 0.618034 * (high - low), low + 0.618034 * (high - low)
        low, high = (left, high) if log_likelihood(left) < log_likelihood(right) else (low, right)
    q = (low + high) / 2
    return (b - c - n * drop) / np.sqrt(n * (2 * q + drop * (1 - drop)))


def quartic_limits(b: int, c: int, n: int, confidence: float) -> tuple[float, float]:
    """The extreme real roots of the squared score equation as a quartic (Yang, Sun and Hardin 2013, Stat Med 32)."""
    g, d = stats.norm.ppf((1 + confidence) / 2) ** 2, b - c
    coefficients = [
        n**2 * (n / g + 1) ** 2,
        -n * d * (n / g + 1) * (4 * n / g + 1),
        2 * n * d**2 * (3 * n / g + 2) / g - n**2 * ((b + c) / g + 1),
        n * d * (2 * (b + c) / g + 1) - d**3 * (4 * n / g + 1) / g,
        d**2 * (d**2 / g - (b + c)) / g,
    ]
    real = [root.real for root in np.roots(coefficients) if abs(root.imag) < 1e-6]
    return min(real), max(real)


@pytest.mark.parametrize(("b", "c", "n"), [f for f in FLIPS if f[0] and f[1]])
def test_bounds_solve_the_score_equation(b, c, n):
    z = stats.norm.ppf(0.95)
    assert constrained_score(intervals.drop_upper(b, c, n), b, c, n) == pytest.approx(-z, abs=1e-5)
    assert constrained_score(intervals.drop_lower(b, c, n), b, c, n) == pytest.approx(z, abs=1e-5)


@pytest.mark.parametrize(("b", "c", "n"), [f for f in FLIPS if f[0] != f[1] and f[0] < f[2]])
def test_intervals_equal_the_roots_of_the_quartic(b, c, n):
    assert intervals.drop_interval(b, c, n, 0.95) == pytest.approx(quartic_limits(b, c, n, 0.95), abs=1e-7)


def test_published_example():
    """Airway reactivity, 1 and 7 discordant of 21: Tango interval in Fagerland et al. 2014 (Stat Med 33)."""
    assert intervals.drop_interval(1, 7, 21, 0.95) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_zero_flips_are_not_certainty():
    z = stats.norm.ppf(0.95)
    for n in (1, 20, 50, 1000):
        assert intervals.drop_upper(0, 0, n) == pytest.approx(z**2 / (n + z**2), rel=1e-12)
    low, high = intervals.drop_interval(0, 0, 400, 0.95)
    assert low == -high < 0


def test_swapping_before_and_after_mirrors_the_interval():
    for b, c, n in FLIPS:
        low, high = intervals.drop_interval(b, c, n, 0.9)
        assert intervals.drop_interval(c, b, n, 0.9) == pytest.approx((-high, -low), abs=1e-14)
        assert low <= (b - c) / n <= high


def test_bounds_are_monotone():
    rising = intervals.drop_upper(np.arange(0, 40), 3, 100)
    falling = intervals.drop_upper(10, np.arange(0, 40), 100)
    shrinking = intervals.drop_upper(0, 0, np.arange(1, 500))
    stricter = [intervals.drop_upper(10, 3, 100, confidence) for confidence in (0.5, 0.8, 0.95, 0.999)]
    assert np.all(np.diff(rising) > 0) and np.all(np.diff(falling) < 0) and np.all(np.diff(shrinking) < 0)
    assert stricter == sorted(stricter) and stricter[0] == pytest.approx(0.07, abs=1e-9)
    assert intervals.drop_upper(50, 0, 50) == 1.0


@pytest.mark.parametrize("n", [50, 100, 400, 1000])
def test_one_sided_coverage_by_simulation(n):
    """20,000 draws per cell: no cell with a true drop under 0.928 (Monte Carlo error 0.002), 0.945 on average."""
    generator, coverages = np.random.default_rng(7), []
    rates = [
        (0, 0),
        (0.01, 0),
        (0.05, 0),
        (0.1, 0),
        (0.2, 0),
        (0.05, 0.01),
        (0.1, 0.02),
        (0.02, 0.02),
        (0.1, 0.1),
        (0.2, 0.2),
    ]
    for negative, positive in rates:
        draws = generator.multinomial(n, [negative, positive, 1 - negative - positive], 20_000)[:, :2]
        pairs, back = np.unique(draws, axis=0, return_inverse=True)
        bounds = intervals.drop_upper(pairs[:, 0], pairs[:, 1], n)[back.ravel()]
        coverages.append(np.mean(bounds >= negative - positive - 1e-12))
    assert min(coverages) >= 0.928
    assert 0.945 <= np.mean(coverages) <= 0.985


@pytest.mark.parametrize("n", [50, 52, 100])
def test_exact_coverage_where_accuracy_does_not_rise(n):
    """Every outcome enumerated with its probability: coverage at least 0.93 over the grid, 0.95 on average."""
    b, c = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    b, c = b[b + c <= n], c[b + c <= n]
    bounds, coverages = intervals.drop_upper(b, c, n), []
    for negative in np.arange(0, 0.201, 0.02):
        for positive in np.arange(0, negative + 1e-9, 0.02):
            p = stats.binom.pmf(b, n, negative) * stats.binom.pmf(c, n - b, positive / (1 - negative))
            coverages.append(p[bounds >= negative - positive - 1e-12].sum())
    assert min(coverages) >= 0.93
    assert np.mean(coverages) >= 0.95


def test_two_sided_coverage_by_simulation():
    draws = np.random.default_rng(3).multinomial(200, [0.08, 0.15, 0.77], 20_000)
    low, high = intervals.drop_interval(draws[:, 0], draws[:, 1], 200, 0.95)
    assert np.mean((low <= -0.07) & (high >= -0.07)) == pytest.approx(0.95, abs=0.01)


def test_a_margin_that_zero_flips_cannot_establish():
    assert not intervals.establishable(51, 0.05, 0.95)
    assert intervals.establishable(52, 0.05, 0.95)
    assert intervals.smallest_n(0.05, 0.95) == 52
    for margin, confidence in [(0.02, 0.95), (0.1, 0.99), (0.5, 0.9), (0.01, 0.8)]:
        n = intervals.smallest_n(margin, confidence)
        assert intervals.establishable(n, margin, confidence)
        assert n == 1 or not intervals.establishable(n - 1, margin, confidence)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 0), (3, 3, 5), (-1, 0, 10)])
def test_impossible_counts_are_refused(b, c, n):
    with pytest.raises(BadInput):
        intervals.drop_upper(b, c, n)


def test_impossible_confidence_is_refused():
    with pytest.raises(BadInput):
        intervals.drop_upper(1, 1, 10, 1.0)


def test_mcnemar_is_the_binomial_tail():
    from math import comb

    for b, c in [(1, 7), (0, 4), (9, 12), (5, 5)]:
        tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
        assert intervals.mcnemar(b, c) == pytest.approx(min(1.0, 2 * tail))
    assert intervals.mcnemar(0, 0) == 1.0


def test_bootstrap_agrees_with_scipy():
    generator = np.random.default_rng(0)
    before, after = generator.gamma(2.0, size=(2, 60))
    ours = intervals.bootstrap(lambda i: float(np.mean(after[i] - before[i])), 60, 0.9, seed=1, resamples=4000)
    result = stats.bootstrap(
        (before, after), lambda x, y, axis: np.mean(y - x, axis=axis), paired=True, confidence_level=0.9,
        n_resamples=4000, method="BCa", rng=generator,
    )  # fmt: skip
    width = result.confidence_interval.high - result.confidence_interval.low
    assert ours == pytest.approx(tuple(result.confidence_interval), abs=0.05 * width)


def test_bootstrap_is_seeded_and_blind_to_zero_flips():
    values = np.random.default_rng(0).normal(size=30)
    assert intervals.bootstrap(lambda i: values[i].mean(), 30, seed=2) == intervals.bootstrap(
        lambda i: values[i].mean(), 30, seed=2
    )
    assert intervals.bootstrap(lambda i: 0.0, 30) == (0.0, 0.0)


def test_bootstrap_coverage():
    """The 90% interval of a paired mean covers it in 90% of samples, within what 200 samples can tell."""
    generator, covered = np.random.default_rng(5), 0
    for seed in range(200):
        values = generator.normal(0.3, 1, 80)
        low, high = intervals.bootstrap(lambda i: values[i].mean(), 80, 0.9, seed=seed, resamples=300)  # noqa: B023
        covered += low <= 0.3 <= high
    assert 0.84 <= covered / 200 <= 0.96
