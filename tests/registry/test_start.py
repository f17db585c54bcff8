"""Start models: bases and registered versions, found by alias or number, and what is said when they are not there."""

from pathlib import Path

import pytest

from holdfast import models, spec
from holdfast.errors import BadInput
from holdfast.home import Home
from holdfast.records import HeadInfo, Start
from holdfast.registry import gate, start, versions
from holdfast.spec import Gate, StartSpec


@pytest.fixture(scope="module")
def promoted(make):
    work = make("english", seed=1)
    gate.gate(work.register(), work.evaluated, Gate(), work.home)
    make("english", seed=2).register()
    return work


def test_a_base_model_is_found_by_folder(place: Home, tiny_start: Start) -> None:
    assert start.resolve(StartSpec(model=tiny_start.model), place) == tiny_start
    with pytest.raises(BadInput, match="no-such-model"):
        start.resolve(StartSpec(model="/no-such-model"), place)


@pytest.mark.parametrize("reference", ["models:/english@champion", "models:/english/1", "models:/english"])
def test_a_version_is_found_with_its_base_heads_and_verified_adapter(promoted, place: Home, reference: str) -> None:
    found = start.resolve(StartSpec(model=reference), place)
    assert (found.model, found.version, found.base) == ("models:/english/1", "1", promoted.prepared.start.base)
    assert found.digest == promoted.tuned.adapter.digest and place.store.holds(found.adapter)
    assert found.heads == {"sentiment": HeadInfo(labels=("negative", "positive"))}
    assert models.load(found, place).labels == ("negative", "positive")


def test_a_version_is_fetched_into_a_store_that_lacks_it(promoted, place: Home) -> None:
    place.store.discard(promoted.tuned.adapter)
    found = versions.fetch("english", "champion", place)
    assert place.store.holds(found.adapter)


def test_what_is_not_there_is_bad_input_with_what_is(promoted, place: Home) -> None:
    with pytest.raises(BadInput, match=r"registered as `englsh`.*one of .*english.*Did you mean `english`") as caught:
        start.resolve(StartSpec(model="models:/englsh@champion", made_by=Path("/p/english.yaml")), place)
    assert "holdfast run /p/english.yaml" in str(caught.value) and caught.value.key == "start.model"
    for which, expected in (
        ("9", "no version 9; expected one of 1, 2"),
        ("previous", "no previous; expected champion"),
    ):
        with pytest.raises(BadInput, match=expected):
            versions.fetch("english", which, place)
    with pytest.raises(BadInput, match="names no version"):
        start.resolve(StartSpec(model="models:/"), place)


def test_the_objectives_teacher_is_found_like_a_start_model(promoted, place: Home) -> None:
    raw = {"name": "t", "start": {"model": "x"}, "learn": {"train": "a.csv"}}
    assert start.teacher(spec.parse(raw, Path("t.yaml")), place) is None
    taught = {**raw, "objective": {"kd": "models:/english@champion"}}
    found = start.teacher(spec.parse(taught, Path("t.yaml")), place)
    assert (found.version, found.digest) == ("1", promoted.tuned.adapter.digest)
    taught["objective"] = {"target": {"teacher": "models:/englsh@champion"}}
    with pytest.raises(BadInput, match="Did you mean `english`") as caught:
        start.teacher(spec.parse(taught, Path("t.yaml")), place)
    assert caught.value.key == "objective.target.teacher"


def test_other_aliases_of_mlflow_are_followed(promoted, place: Home) -> None:
    from holdfast.registry import tracking

    tracking.client(place).set_registered_model_alias("english", "canary", "2")
    assert versions.fetch("english", "canary", place).version == "2"
    with pytest.raises(BadInput, match="has no nosuch; expected champion, canary"):
        versions.fetch("english", "nosuch", place)


def test_a_name_exists_once_it_has_a_champion(promoted, make, place: Home) -> None:
    make("unpromoted", seed=1).register()
    assert versions.exists("english", place)
    assert not versions.exists("unpromoted", place) and not versions.exists("unheard-of", place)


def test_references_are_read() -> None:
    assert versions.parse("models:/a@champion") == ("a", "champion")
    assert versions.parse("models:/a/3") == ("a", "3")
    assert versions.parse("models:/a") == ("a", "champion")
