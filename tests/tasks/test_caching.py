"""What a cache key sees: digests and settings, never paths, times or names as written."""

from holdfast.records import Artifact, BaseRef, DatasetVersion, HeadInfo, Start
from tasks import caching


def _dataset(source: str, digest: str = "d1") -> DatasetVersion:
    return DatasetVersion(
        ref=source, source=source, digest=digest, dvc_md5="m", git_revision=source, rows=1, labels={"a": 1},
        artifact=Artifact(kind="dataset", digest="x"),
    )  # fmt: skip


def test_a_dataset_is_its_content_not_its_place() -> None:
    assert caching.plain(_dataset("/a.csv")) == caching.plain(_dataset("/b.csv"))
    assert caching.plain(_dataset("/a.csv")) != caching.plain(_dataset("/a.csv", "d2"))


def test_a_start_model_is_its_bytes_not_its_alias() -> None:
    base = BaseRef(name="b", revision=None, sha256="s")
    adapter = Artifact(kind="adapter", digest="a1")
    heads = {"h": HeadInfo(labels=("x", "y"))}
    first = Start(model="models:/n@champion", base=base, version="n/1", adapter=adapter, heads=heads)
    same = first.model_copy(update={"model": "models:/n/1", "version": "copy/9"})
    other = first.model_copy(update={"adapter": Artifact(kind="adapter", digest="a2")})
    assert caching.plain(first) == caching.plain(same)
    assert caching.plain(first) != caching.plain(other)


def test_only_the_named_roles_of_the_datasets_are_seen() -> None:
    digests = {"learn.train": "1", "learn.test": "2", "remember.r.train": "3"}
    versions = {key: _dataset(f"/{key}", digest) for key, digest in digests.items()}
    assert caching.datasets(versions, "train") == {"learn.train": "1", "remember.r.train": "3"}


def test_an_evaluation_tells_the_champions_version_so_that_another_of_the_same_bytes_is_another() -> None:
    from types import SimpleNamespace

    from holdfast.spec import Learn, Training
    from tasks.evaluate import evaluate

    def key(version: str) -> str:
        base = BaseRef(name="b", revision=None, sha256="s")
        champion = Start(model="m", base=base, version=version, adapter=Artifact(kind="adapter", digest="a1"))
        given = {
            "champion": champion,
            "start": champion.model_copy(update={"version": None}),
            "remember": (),
            "tuned": SimpleNamespace(adapter=Artifact(kind="adapter", digest="a2")),
            "training": Training(),
            "validated": SimpleNamespace(datasets={}, labels=("x", "y")),
            "learn": Learn(train="a.csv"),
        }
        return str(evaluate.cache_key_fn(SimpleNamespace(task=evaluate), given))

    assert key("4") == key("4") != key("9")
