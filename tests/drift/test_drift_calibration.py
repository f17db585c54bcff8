"""As a set, the checks keep quiet where nothing drifted and see what did (benchmarks/drift measures this at length)."""

import numpy as np
import pytest

from holdfast.drift import checks, settings

pytestmark = pytest.mark.slow

POWERFUL = {"sudden": 0.2, "gradual": 1.0, "recurring": 0.2, "covariate": 0.6, "label": 0.3}
REPEATS = {"gradual": 3, "recurring": 2}


@pytest.mark.slow
def test_sixty_windows_without_drift_alarm_at_most_three_times(world, worlds):
    rng = np.random.default_rng(11)
    found = [checks.run(world.reference, worlds.drawn(world.pool, 500, rng), worlds.MONITOR) for _ in range(60)]
    assert sum(one.alarm for one in found) <= 3
    made = {finding.check for one in found for finding in one.findings if not finding.skipped}
    assert made == set(settings.Checks.model_fields)  # all eight were made


def test_p_values_over_references_are_not_too_small(world, worlds):
    """With a new reference each time, at most a tenth of the p-values are below a tenth, up to chance."""
    rng = np.random.default_rng(15)
    both = worlds.joined(world.reference, world.pool)
    low = dict.fromkeys(settings.Checks.model_fields, 0)
    for _ in range(40):
        rows = worlds.drawn(both, 500, rng)
        rows.judging[:] = True
        found = checks.run(rows.take(np.arange(350)), rows.take(np.arange(350, 500)), worlds.MONITOR)
        for finding in found.findings:
            low[finding.check] += finding.p < 0.1
    assert max(low.values()) <= 10, low  # 10 or more of 40 at a tenth: p = 0.005


@pytest.mark.slow
@pytest.mark.parametrize("kind", POWERFUL)
def test_changes_are_seen(kind, world, worlds):
    rng = np.random.default_rng(12)
    seen = [worlds.SEEN[kind](world, POWERFUL[kind], rng)[0] for _ in range(REPEATS.get(kind, 8))]
    assert np.mean(seen) >= 0.8


def test_a_set_of_checks_that_looks_at_p_values_alone_would_alarm(world, worlds):
    """The family-wise level is what keeps quiet: at a level of one half, every other window alarms."""
    rng = np.random.default_rng(13)
    loose = settings.Monitor(family_wise=0.5, checks=settings.Checks(content={"auc": 0.5}, embedding=False))
    found = [checks.run(world.reference, worlds.drawn(world.pool, 500, rng), loose) for _ in range(12)]
    assert sum(one.alarm for one in found) >= 2


def test_a_check_left_out_is_not_made_and_rows_too_few_are_told(world, sample):
    monitor = settings.Monitor(checks={"content": False, "embedding": False, "segments": False})
    found = checks.run(world.reference, sample(10), monitor)
    made = {finding.check: finding.skipped for finding in found.findings}
    assert "content" not in made and all(made.values()) and not found.alarm


def test_the_same_window_gives_the_same_findings_and_leaves_the_global_random_state(world, worlds):
    window = worlds.drawn(world.pool, 100, np.random.default_rng(14))
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    first = checks.run(world.reference, window, worlds.MONITOR).findings
    assert first == checks.run(world.reference, window, worlds.MONITOR).findings
    assert np.random.get_state()[1].tolist() == before
