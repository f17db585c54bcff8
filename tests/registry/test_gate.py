"""The gate and the hand: who becomes champion, who is refused and why, and what survives a crash or a race."""

from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import BadInput, Conflict, Corrupt
from holdfast.home import Home
from holdfast.records import Registered
from holdfast.registry import aliases, catalogue, gate, ledger, package, promote, tracking, versions
from holdfast.spec import Gate

STRICT = Gate(target_gain=0.99)


def _judge(work, settings: Gate | None = None):
    return gate.gate(work.register(), work.evaluated, settings or work.pipeline.gate, work.home)


def _aliases(place: Home, name: str) -> dict[str, str]:
    found = tracking.client(place).get_registered_model(name).aliases
    return {alias: str(version) for alias, version in found.items()}


def test_a_version_that_gained_and_kept_is_promoted_once(make, place: Home) -> None:
    work = make("good")
    verdict = _judge(work)
    assert (verdict.verdict, verdict.generation) == ("promoted", 1)
    assert "lower bound +0.0500, above 0" in verdict.reason and "`old` was kept" in verdict.reason
    assert _judge(work) == verdict
    (entry,) = ledger.at(place).history("good")
    assert (entry.version, entry.digest, entry.why) == ("1", work.tuned.adapter.digest, verdict.reason)
    assert entry.expected_generation == 0 and entry.who.startswith("the gate, for ")
    assert _aliases(place, "good") == {"champion": "1"}
    shown = versions.show("good", "champion", place)
    assert (shown["verdict"], shown["place"], shown["reason"]) == ("promoted", "champion", verdict.reason)
    assert len(shown["decisions"]) == 1 and shown["history"][0]["generation"] == 1


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"lower": 0.0, "gain": 0.0}, ["gain is +0.0000", "not above 0 (gate.target_gain)"]),
        ({"lower": -0.02}, ["lower bound -0.0200"]),
        ({"bound": 0.05}, ["`old` was not kept", "up to 0.0500", "not below the margin 0.05"]),
        ({"lower": -0.1, "bound": 0.3}, ["lower bound -0.1000", "`old` was not kept"]),
    ],
    ids=["no-op", "no established gain", "forgot", "both"],
)
def test_a_version_that_did_not_is_refused_with_every_reason(make, place: Home, scores, told) -> None:
    work = make("bad", **scores)
    verdict = _judge(work)
    assert (verdict.verdict, verdict.generation) == ("refused", None)
    assert all(part in verdict.reason for part in told)
    assert ledger.at(place).champion("bad") is None
    version = work.register().version
    assert _aliases(place, "bad") == {"challenger": version}
    assert versions.show("bad", version, place)["verdict"] == "refused"


def test_a_bound_that_is_not_a_number_promotes_nothing(make) -> None:
    evaluated = make("unregistered", rival="1", rival_bound=float("nan")).evaluated
    target = evaluated.target.model_copy(update={"lower": float("nan")})
    anyone = Registered(name="unregistered", version="1", run_id="", digest="")
    broken = list(gate.failures(evaluated.model_copy(update={"target": target}), Gate(), [], anyone))
    assert len(broken) == 2 and "target" in broken[0] and "champion" in broken[1]


def test_worse_than_the_champion_is_refused_and_the_champion_stays(make, place: Home) -> None:
    _judge(make("rivals", seed=1))
    worse = make("rivals", seed=2, rival="1", rival_bound=0.05)
    verdict = _judge(worse)
    assert verdict.verdict == "refused"
    assert "up to 0.0500 worse than the champion (version 1: 0.7000" in verdict.reason
    assert _aliases(place, "rivals") == {"champion": "1", "challenger": "2"}
    better = make("rivals", seed=3, rival="1", rival_bound=0.049)
    assert (_judge(better).verdict, _judge(better).generation) == ("promoted", 2)
    assert _aliases(place, "rivals") == {"champion": "3", "previous": "1", "challenger": "2"}


def test_a_version_compared_with_another_champion_is_a_conflict(make, place: Home) -> None:
    first, second = make("stale", seed=1), make("stale", seed=2, rival="1")
    _judge(first)
    unaware = make("stale", seed=3)
    with pytest.raises(Conflict, match=r"compared with the champion none, .* now is version 1 \(generation 1\)"):
        _judge(unaware)
    _judge(second)
    late = make("stale", seed=4, rival="1")
    with pytest.raises(Conflict, match=r"champion version 1, .* now is version 3 .*run the same file again"):
        _judge(late)
    assert [entry.version for entry in ledger.at(place).history("stale")] == ["1", "3"]


def test_who_loses_the_race_is_told_and_changes_nothing(make, place: Home, monkeypatch) -> None:
    _judge(make("raced", seed=1))
    work = make("raced", seed=2, rival="1")
    registered = work.register()
    verify = gate.verify

    def someone_is_quicker(*given: object) -> None:
        verify(*given)
        ledger.at(place).promote("raced", "1", "another digest", 1, "quicker", "someone")

    monkeypatch.setattr(gate, "verify", someone_is_quicker)
    with pytest.raises(Conflict, match="expected generation 1, met 2"):
        gate.gate(registered, work.evaluated, Gate(), place)
    assert ledger.at(place).champion("raced").who == "someone"
    assert _aliases(place, "raced") == {"champion": "1"}, "who lost sets no alias"
    assert [line["place"] for line in versions.list("raced", place)] == ["champion", ""]
    assert _aliases(place, "raced")["champion"] == "1"


def test_a_changed_gate_judges_the_champion_again_without_dethroning_it(make, place: Home) -> None:
    work = make("again")
    _judge(work)
    strict = _judge(work, STRICT)
    assert strict.verdict == "refused" and "0.99" in strict.reason and "stays champion" in strict.reason
    assert _aliases(place, "again") == {"champion": "1"}
    assert _judge(work).generation == 1
    assert [one.verdict for one in ledger.at(place).decisions("again", "1")] == ["promoted", "refused"]


def test_the_alias_follows_the_ledger_whenever_someone_looks(make, place: Home, monkeypatch) -> None:
    work = make("crashed")
    registered = work.register()
    with monkeypatch.context() as patched:  # killed right after the ledger's insert
        patched.setattr(gate, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gate.gate(registered, work.evaluated, Gate(), place)
    assert _aliases(place, "crashed") == {}
    assert versions.list("crashed", place)[0]["place"] == "champion"
    assert _aliases(place, "crashed") == {"champion": "1"}
    client = tracking.client(place)
    make("crashed", seed=2).register()
    client.set_registered_model_alias("crashed", "champion", "2")  # someone in MLflow's pages
    client.set_registered_model_alias("crashed", "previous", "2")
    assert versions.fetch("crashed", "champion", place).version == "1"
    assert _aliases(place, "crashed") == {"champion": "1"}
    assert _judge(work).generation == 1


def test_an_alias_that_mlflow_will_not_keep_is_an_error(make, place: Home, monkeypatch) -> None:
    _judge(make("stubborn"))
    client = tracking.client(place)
    client.delete_registered_model_alias("stubborn", "champion")
    monkeypatch.setattr(type(client), "set_registered_model_alias", lambda *_: None)
    with pytest.raises(errors.HoldfastError, match="do not stay as the ledger has them"):
        aliases.reconcile(client, ledger.at(place), "stubborn")


def test_a_champion_that_mlflow_does_not_have_is_told(make, place: Home) -> None:
    make("lost").register()
    ledger.at(place).promote("lost", "7", "digest", 0, "why", "someone")
    with pytest.raises(errors.HoldfastError, match="the ledger says that version 7 is champion of `lost`"):
        versions.list("lost", place)


def test_a_damaged_adapter_is_not_promoted(make, place: Home) -> None:
    work = make("broken", seed=5)
    registered = work.register()
    client = tracking.client(place)
    uri = client.get_model_version_download_uri("broken", "1").removeprefix("file://")
    path = Path(uri) / package.ADAPTER / "heads.json"
    path.write_text(path.read_text().replace("positive", "negativ"))
    with pytest.raises(Corrupt, match="not the one that was registered"):
        gate.gate(registered, work.evaluated, Gate(), place)
    with pytest.raises(Corrupt):
        promote.promote("broken", "1", "because", place)
    with pytest.raises(Corrupt, match="was registered with the digest"):
        gate.verify(client, registered.model_copy(update={"digest": "0" * 64}), place)
    assert ledger.at(place).history("broken") == []


def test_promotion_by_hand_says_why_and_what_the_gate_had_said(make, place: Home) -> None:
    work = make("hand", lower=-0.5)
    _judge(work)
    entry = promote.promote("hand", "1", "the customer wants it", place)
    assert (entry.version, entry.generation) == ("1", 1)
    assert entry.why.startswith("by hand: the customer wants it (the gate had refused it: the target's gain")
    assert _aliases(place, "hand") == {"champion": "1"}
    for version, why, told in (("1", "again", "is the champion"), ("9", "why", "no version 9"), ("1", "  ", "empty")):
        with pytest.raises(BadInput, match=told):
            promote.promote("hand", version, why, place)


def test_rollback_goes_back_and_the_gate_does_not_undo_it(make, place: Home) -> None:
    first, second = make("back", seed=1), make("back", seed=2, rival="1")
    third = make("back", seed=3, rival="2")
    for work in (first, second, third):
        assert _judge(work).verdict == "promoted"
    entry = promote.rollback("back", "it is slow", place)
    assert (entry.version, entry.generation, entry.action) == ("2", 4, "rollback")
    assert _aliases(place, "back") == {"champion": "2", "previous": "1"}
    refused = _judge(third)
    assert refused.verdict == "refused" and "rolled this adapter back in generation 4 (it is slow)" in refused.reason
    assert promote.rollback("back", "slow too", place).version == "1"
    with pytest.raises(BadInput, match="no champion before version 1"):
        promote.rollback("back", "further", place)
    assert promote.promote("back", "3", "fast after all", place).generation == 6
    assert _judge(third).verdict == "promoted" and ledger.at(place).champion("back").generation == 6
    with pytest.raises(BadInput, match="empty"):
        promote.rollback("back", " ", place)


def test_the_rival_is_the_champion_or_the_one_before_when_it_is_this_adapter(make, place: Home) -> None:
    first, second = make("rival", seed=1), make("rival", seed=2, rival="1")
    digests = [work.tuned.adapter.digest for work in (first, second)]
    assert versions.rival("rival", digests[0], place) is None
    _judge(first)
    assert versions.rival("rival", digests[0], place) is None
    assert versions.rival("rival", digests[1], place).version == "1"
    _judge(second)
    assert versions.rival("rival", digests[1], place).version == "1"
    assert versions.rival("rival", digests[0], place).version == "2"


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_rollback_killed_before_the_alias_is_completed_not_done_twice(make, place: Home, monkeypatch) -> None:
    for seed in (1, 2, 3):
        assert _judge(make("undone", seed=seed, rival=str(seed - 1) if seed > 1 else None)).verdict == "promoted"
    with monkeypatch.context() as patched:
        patched.setattr(aliases, "reconcile", _killed)
        with pytest.raises(KeyboardInterrupt):
            promote.rollback("undone", "it is slow", place)
    assert _aliases(place, "undone") == {"champion": "3", "previous": "2"}
    entry = promote.rollback("undone", "it is slow", place)
    assert (entry.version, entry.generation) == ("2", 4)
    assert _aliases(place, "undone") == {"champion": "2", "previous": "1"}
    assert promote.rollback("undone", "slow too", place).version == "1", "once it is complete, the next goes further"


def test_a_promotion_by_hand_killed_before_the_alias_is_completed(make, place: Home, monkeypatch) -> None:
    _judge(make("unmarked", lower=-0.5))
    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "mark", _killed)
        with pytest.raises(KeyboardInterrupt):
            promote.promote("unmarked", "1", "wanted", place)
    assert _aliases(place, "unmarked") == {"challenger": "1"}
    assert promote.promote("unmarked", "1", "wanted", place).generation == 1
    assert _aliases(place, "unmarked") == {"champion": "1"}
    tags = catalogue.get(tracking.client(place), "unmarked", "1").tags
    assert tags[catalogue.BY_HAND].startswith("by hand: wanted")


def test_of_two_rollbacks_at_once_one_is_told_what_it_met(make, place: Home, monkeypatch) -> None:
    for seed in (1, 2, 3):
        _judge(make("both", seed=seed, rival=str(seed - 1) if seed > 1 else None))
    verify = gate.verify

    def someone_is_quicker(*given: object) -> None:
        verify(*given)
        ledger.at(place).rollback("both", "quicker", "someone")

    monkeypatch.setattr(gate, "verify", someone_is_quicker)
    with pytest.raises(Conflict, match=r"expected generation 3, met 4 \(version 2, by someone: quicker\)"):
        promote.rollback("both", "slower", place)
    assert ledger.at(place).champion("both").version == "2"


def test_an_alias_on_a_version_that_the_ledger_does_not_know_is_put_right(make, place: Home) -> None:
    client = tracking.client(place)
    make("unknown").register()
    foreign = client.create_model_version("unknown", source="file:///somewhere/else").version
    client.set_registered_model_alias("unknown", "champion", foreign)
    assert versions.list("unknown", place)[0]["place"] == "", "nobody promoted anything"
    assert _aliases(place, "unknown") == {}
    assert _judge(make("unknown")).verdict == "promoted"
    for alias in ("champion", "previous"):
        client.set_registered_model_alias("unknown", alias, foreign)
    assert versions.fetch("unknown", "champion", place).version == "1"
    assert _aliases(place, "unknown") == {"champion": "1"}
