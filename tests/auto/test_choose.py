"""The choice: what the budget allows, who wins, what is kept as evidence, and what is refused."""

import json
from dataclasses import dataclass, field

import pytest

from holdfast import choices, selection
from holdfast.auto import choose, picture
from holdfast.auto.candidates import Candidate
from holdfast.errors import BadInput
from holdfast.forgetting.watch import Look, Seen

pytestmark = pytest.mark.slow


def look(gain: float, *drops: float, loss: float = 1.0) -> Look:
    old = [Seen(f"old{i}", 100, 0.9, 0.9 - drop, 0.3, 0.4, 0.05) for i, drop in enumerate(drops)]
    return Look(Seen("target", 100, 0.3, 0.3 + gain, 1.2, loss), tuple(old))


def candidate(family: str, score: float = 1.0, share: float = 0.5) -> Candidate:
    return Candidate(family, (family,), frozenset({family}), int(100 * share), share, 0.5, 0.5, score)


@dataclass
class Made:
    """Trials whose looks are made up: {family: a look per round}."""

    looks: dict[str, list[Look | None]]
    tokens: list[int] = field(default_factory=lambda: list(range(0, 1010, 10)))
    ran: list[tuple[str, int]] = field(default_factory=list)

    def run(self, chosen, updates, progress=None):
        (family,) = chosen.whole
        self.ran.append((family, updates))
        progress(updates, updates, {})
        return self.looks[family][[name for name, _ in self.ran].count(family) - 1]


def probe(budget: float = 0.5, **looks):
    made = Made(looks)
    listed = [choose.Tried(candidate(family)) for family in looks]
    return choose.probe(made, listed, budget), made


@pytest.mark.parametrize("budget", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("count", [2, 3, 6, 8])
def test_the_trials_stay_within_the_budget_and_use_it(budget, count):
    tokens = [0]
    for update in range(200):
        tokens.append(tokens[-1] + 50 + update * 7 % 13)
    plan = choose.rounds(tokens, count, budget)
    spent = sum(size * tokens[updates] for size, updates in plan)
    assert plan[0][0] == count and all(updates <= 200 for _, updates in plan)
    assert spent <= budget * tokens[-1]
    most = plan[-1][0] * 63
    assert spent > budget * tokens[-1] - most or plan[-1][1] == 200
    assert len(plan) == 1 or plan[1][1] >= plan[0][1]


def test_a_budget_without_an_update_for_each_is_refused():
    with pytest.raises(BadInput, match=r"parameters\.auto\.budget.*no update for each of 6.*at least 0\.120"):
        choose.rounds(list(range(101)), 6, 0.05)
    assert choose.rounds(list(range(101)), 6, 0.12) == [(6, 1), (2, 3)]
    assert choose.rounds(list(range(101)), 1, 0.0001) == []


def test_the_best_third_goes_on_and_the_best_of_it_wins():
    rounds = {f"f{i}": [look(i / 100), look(0.5 - i / 100)] for i in range(6)}
    won, made = probe(**rounds)
    assert won.candidate.family == "f4"
    assert [name for name, _ in made.ran] == ["f0", "f1", "f2", "f3", "f4", "f5", "f5", "f4"]
    assert made.ran[-1][1] > made.ran[0][1]


def test_a_gain_counts_as_far_as_the_contracts_leave_it():
    assert choose.worth(look(0.4)) == choose.worth(look(0.4, 0.025)) == choose.worth(look(0.4, -0.1)) == 0.4
    assert choose.worth(look(0.4, 0.0, 0.1)) == 0.1, "a drop of ten points, two and a half of which are allowed"
    assert choose.worth(look(-0.4, 0.1)) == -0.4
    looks = {"greedy": [look(0.4, 0.01), look(0.5, 0.1)], "gentle": [look(0.1, 0.0), look(0.2, 0.02)]}
    won, _ = probe(**looks, other=[look(0.0, 0.0)], fourth=[look(-0.1, 0.0)])
    assert won.candidate.family == "gentle"
    won, _ = probe(hardly=[look(0.05, 0.0)], more=[look(0.2, 0.03)])
    assert won.candidate.family == "more"


def test_up_to_three_candidates_take_one_round_and_none_goes_on():
    won, made = probe(a=[look(0.1)], b=[look(0.3)], c=[look(0.2)])
    assert won.candidate.family == "b" and made.ran == [("a", 16), ("b", 16), ("c", 16)]


def test_equal_gains_go_by_log_loss_and_a_diverged_candidate_loses():
    won, _ = probe(a=[look(0.1, loss=1.0)], b=[look(0.1, loss=0.9)])
    assert won.candidate.family == "b"
    won, _ = probe(a=[None], b=[look(-0.4, 0.3)])
    assert won.candidate.family == "b"


def options(**raw):
    return choices.parse("parameters", {"auto": raw}, "parameters")


@pytest.fixture
def run(given, home):
    def call(**raw):
        found = given()
        parts = (found.assessed, found.validated, found.start, options(**raw), found.recipe, found.remember)
        selected = choose.choose(*parts, home)
        return selected, json.loads((home.store.open(selected.artifact) / "auto.json").read_text())

    return call


def test_the_choice_and_its_evidence_are_kept_and_the_same_twice(run, home):
    selected, evidence = run(budget=1.0, most=4)
    folder = home.store.open(selected.artifact)
    assert {path.name for path in folder.iterdir()} == {"selection.json", "plan.json", "auto.json", "auto.png"}
    assert selected.names[0] == f"{evidence['chosen']} (chosen by auto)"
    assert (folder / "auto.png").read_bytes() == picture.draw(evidence)
    rows = evidence["candidates"]
    chosen = next(row for row in rows if row["verdict"] == "chosen")
    assert chosen["family"] == evidence["chosen"] and chosen["weights"] == selected.moved
    assert selection.load(folder).notes == (evidence["why"],)
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    scores = [row["importance"]["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    tried = [row for row in rows if row["trials"]]
    assert len(tried) == 4 and max(len(row["trials"]) for row in tried) == 2
    spent = sum(one["tokens"] for row in tried for one in row["trials"])
    assert evidence["work"]["spent"]["tokens"] == spent <= evidence["work"]["full"]["tokens"]
    for row in tried:
        seen = row["trials"][0]["look"]
        assert seen["target"]["n"] == 12 and seen["remembered"][0]["margin"] == 0.1
    assert run(budget=1.0, most=4) == (selected, evidence)


def test_the_share_caps_what_is_chosen_and_what_is_tried(run):
    selected, evidence = run(share=0.4, most=2)
    verdicts = {row["family"]: row["verdict"] for row in evidence["candidates"]}
    assert selected.share <= 0.4
    assert verdicts["full"] == verdicts["low"] == "not tried: moves too much"
    assert sum(bool(row["trials"]) for row in evidence["candidates"]) == 2
    assert "not tried: ranked too low" in verdicts.values()


def test_the_only_candidate_needs_no_trial(run):
    selected, evidence = run(candidates=["norms"])
    assert evidence["chosen"] == "norms" and evidence["work"]["spent"]["tokens"] == 0
    assert "only candidate" in evidence["why"] and selected.names[1] == "all layer norms"


def test_what_cannot_be_tried_is_refused(run):
    with pytest.raises(BadInput, match="no candidate moves at most"):
        run(share=1e-6)
    with pytest.raises(BadInput, match="no update for each"):
        run(budget=1e-6)
    with pytest.raises(BadInput, match=r"auto\.candidates\.0.*'low'"):
        run(candidates=["lowest"])


def test_auto_cannot_select_without_trials():
    with pytest.raises(BadInput, match="by trial"):
        choices.load("parameters", "auto").select(None, None, None)


def test_the_bar_counts_the_updates_of_all_trials():
    from holdfast import progress

    seen = []
    with progress.listening(lambda stage, done, total, figures: seen.append((stage, done, total))):
        probe(a=[look(0.1), look(0.1)], b=[look(0.1), look(0.1)], c=[look(0.1)])
    assert {stage for stage, _, _ in seen} == {"select"} and seen[-1][1] == seen[-1][2]
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
