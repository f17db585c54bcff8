"""The registry: complete entries, digests that hold, downloads whole or absent, the real files as described."""

import functools
import http.server
import re
import threading
from collections import Counter

import pytest

from holdfast import digests
from holdfast.errors import BadInput, Corrupt, HoldfastError
from holdfast.versioning import registry

CSV = b"id,text,label\n1,fine,positive\n2,awful,negative\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def known(monkeypatch):
    """One dataset called `toy/train`, whose file is `toy/train.csv`."""
    file = registry.File("toy/train.csv", digests.of_bytes(CSV), "http://127.0.0.1:9/toy/train.csv")
    toy = registry.Dataset("toy/train", "Toy", 2, "CC0", "none", {}, (), "c0ffee", (file,), {"kind": "csv"})
    monkeypatch.setattr(registry, "load", lambda: {"toy/train": toy})
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    return toy


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A `HOLDFAST_DATA` that holds the toy dataset."""
    path = tmp_path / "data" / "toy" / "train.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CSV)
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def origin(known, tmp_path, monkeypatch):
    """The toy dataset served over HTTP from a folder."""
    served = tmp_path / "origin"
    (served / "toy").mkdir(parents=True)
    (served / "toy" / "train.csv").write_bytes(CSV)
    handler = functools.partial(Quiet, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/toy/train.csv"
        file = registry.File("toy/train.csv", digests.of_bytes(CSV), url)
        toy = registry.Dataset(**(vars(known) | {"files": (file,)}))
        monkeypatch.setattr(registry, "load", lambda: {"toy/train": toy})
        yield served / "toy" / "train.csv"
        server.shutdown()


def test_every_entry_is_complete():
    found = registry.load()
    families = {name.split("/")[0] for name in found}
    assert families == {
        "banking77", "clinc150", "goemotions", "nusaparagraph", "nusax", "semeval", "smsa", "xnli"
    }  # fmt: skip
    assert len([name for name in found if name.startswith("nusax/")]) == 10 * 3
    for dataset in found.values():
        assert dataset.title and dataset.licence and dataset.citation and dataset.cautions and dataset.rows > 0
        assert {"text", "label"} <= set(dataset.columns)
        assert re.fullmatch("[0-9a-f]{40}", dataset.commit)
        for file in dataset.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.url.startswith("https://raw.githubusercontent.com/") and dataset.commit in file.url


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(BadInput, match=r"no dataset is called 'nusax/javanes/train'; expected `nusax/javanese/train`"):
        registry.find("nusax/javanes/train")
    with pytest.raises(BadInput, match="holdfast data list"):
        registry.find("qqqq")


def test_a_file_is_found_where_the_variable_says(known, folder, home):
    assert registry.fetch("toy/train", home) == [folder / "toy" / "train.csv"]
    second = registry.rows(known, registry.fetch("toy/train", home))[1]
    assert second == {"id": "2", "text": "awful", "label": "negative"}
    assert not home.cache.exists()


def test_a_file_that_was_tampered_with_is_refused(known, folder, home):
    (folder / "toy" / "train.csv").write_bytes(CSV.replace(b"awful", b"awfuL"))
    with pytest.raises(Corrupt, match=r"toy/train\.csv: the file is not the registered one"):
        registry.fetch("toy/train", home)


def test_a_variable_that_names_no_folder_is_refused(known, home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="HOLDFAST_DATA names no folder"):
        registry.fetch("toy/train", home)


def test_what_is_not_there_is_downloaded_once_and_verified(origin, home, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "empty"))
    assert registry.listing(home)[0]["available"] == "download"
    (path,) = registry.fetch("toy/train", home)
    assert path.read_bytes() == CSV and home.cache in path.parents
    assert registry.listing(home)[0]["available"] == "cache"
    origin.unlink()
    assert registry.fetch("toy/train", home) == [path]


def test_a_damaged_download_is_fetched_again(origin, home):
    (path,) = registry.fetch("toy/train", home)
    path.write_bytes(b"damaged")
    assert registry.fetch("toy/train", home) == [path]
    assert path.read_bytes() == CSV


def test_a_download_of_other_bytes_is_refused_and_not_kept(origin, home):
    origin.write_bytes(b"someone else's bytes")
    with pytest.raises(Corrupt, match="the download is not the registered file"):
        registry.fetch("toy/train", home)
    assert not [path for path in home.cache.rglob("*") if path.is_file()]


def test_a_failed_download_says_what_to_do(known, home):
    with pytest.raises(HoldfastError, match=r"cannot be downloaded from http.*set HOLDFAST_DATA"):
        registry.fetch("toy/train", home)


def test_the_listing_has_size_licence_and_availability(known, folder, home):
    toy = {"name": "toy/train", "rows": 2, "licence": "CC0", "available": "HOLDFAST_DATA", "title": "Toy"}
    assert registry.listing(home) == [toy]


# --- the real files, where they are present -------------------------------------------------------------------------

NUSAX = {"train": (192, 119, 189), "valid": (38, 24, 38), "test": (153, 96, 151)}
TOPICS = {
    "business", "culture & heritage", "food & beverages", "leisures", "religion", "slice of life", "sports",
    "technology",
}  # fmt: skip
EMOTIONS = {"angry", "disgusted", "fear", "happy", "sad", "shame", "surprise"}
SENTIMENTS = {"positive", "neutral", "negative"}


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    """All rows of every registered dataset, read once."""
    from holdfast import home as homes

    home = homes.make(tmp_path_factory.mktemp("real") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_DATA", str(real_data))
        rows = {name: registry.rows(found, registry.fetch(name, home)) for name, found in registry.load().items()}
        assert {entry["available"] for entry in registry.listing(home)} == {"HOLDFAST_DATA"}
    return rows


def labels(rows):
    return Counter(row["label"] for row in rows)


@pytest.mark.real
def test_every_registered_dataset_has_its_rows_and_columns(real):
    for name, dataset in registry.load().items():
        assert len(real[name]) == dataset.rows, name
        assert all(set(row) == set(dataset.columns) for row in real[name]), name
        assert all(row["text"].strip() and row["label"] for row in real[name]), name


@pytest.mark.real
def test_nusax_has_the_published_label_counts_and_is_parallel(real):
    languages = sorted({name.split("/")[1] for name in real if name.startswith("nusax/")})
    for part, counts in NUSAX.items():
        expected = dict(zip(("negative", "neutral", "positive"), counts, strict=True))
        pairs = [[(row["id"], row["label"]) for row in real[f"nusax/{language}/{part}"]] for language in languages]
        assert all(Counter(label for _, label in own) == expected for own in pairs)
        assert all(own == pairs[0] for own in pairs)


@pytest.mark.real
def test_smsa_and_nusaparagraph_have_their_labels(real):
    assert labels(real["smsa/train"]) == {"positive": 6416, "neutral": 1148, "negative": 3436}
    for name, rows in real.items():
        if name.startswith("nusaparagraph/"):
            assert set(labels(rows)) == (TOPICS if "/topic/" in name else EMOTIONS), name
        if name.startswith(("smsa/", "semeval/")):
            assert set(labels(rows)) == SENTIMENTS, name


@pytest.mark.real
def test_clinc_has_ten_domains_of_fifteen_intents_and_scope(real):
    assert set(labels(real["clinc150/train"]).values()) == {100} and len(labels(real["clinc150/train"])) == 150
    assert len(labels(real["clinc150/test"])) == 150 and labels(real["clinc150/oos/test"]) == {"oos": 1000}
    domains = [name for name in real if name.startswith("clinc150/") and name.endswith("/train") and "oos" not in name]
    single = [name for name in domains if name.count("/") == 2]
    assert len(single) == 10
    assert all(len(labels(real[name])) == 15 for name in single)
    assert sorted(row["id"] for name in single for row in real[name]) == sorted(
        row["id"] for row in real["clinc150/train"]
    )


@pytest.mark.real
def test_banking_and_goemotions_have_their_labels(real):
    assert len(labels(real["banking77/train"])) == 77 == len(labels(real["banking77/test"]))
    for part, (rows, several) in {"train": (43410, 7102), "valid": (5426, 878), "test": (5427, 837)}.items():
        whole = real[f"goemotions/all/{part}"]
        assert (len(whole), sum("," in row["emotions"] for row in whole)) == (rows, several)
        assert real[f"goemotions/{part}"] == [row for row in whole if "," not in row["emotions"]]
        assert len(labels(real[f"goemotions/{part}"])) == 28


@pytest.mark.real
def test_tweets_are_decoded_and_dated(real):
    tweets = [row for name, rows in real.items() if name.startswith("semeval/") for row in rows]
    assert len({row["id"] for row in tweets}) == 49570
    cut = {"425272372158283776"}  # quoted twice, and cut at its first line end: left as it is
    assert {row["id"] for row in tweets if re.search(r'\\u[0-9a-f]{4}|\\"|"""', row["text"])} == cut
    assert real["semeval/2013/train"][1]["text"].startswith("Theo Walcott is still shit, watch Rafa")
    years = Counter(time[:4] for time in {row["id"]: row["time"] for row in tweets}.values())
    assert (round(years["2011"] + years["2012"], -2), round(years["2014"], -2), round(years["2015"], -2)) == (
        16700, 2500, 30400
    )  # fmt: skip
    assert years.total() == 49570
    assert {row["time"][:7] for row in tweets if row["time"] > "2015"} == {f"2015-{m:02}" for m in range(7, 13)}


@pytest.mark.real
def test_xnli_is_balanced_and_pairs_make_the_text(real):
    for name, rows in real.items():
        if name.startswith("xnli/"):
            third = 830 if name.endswith("valid") else 1670
            assert labels(rows) == dict.fromkeys(("entailment", "neutral", "contradiction"), third)
            assert all(row["text"] == f"{row['premise']} [SEP] {row['hypothesis']}" for row in rows)
    assert real["xnli/english/valid"][0]["premise"] == "And he said, Mama, I'm home."
    genres = {language: [row["genre"] for row in real[f"xnli/{language}/test"]] for language in ("english", "urdu")}
    assert genres["english"] == genres["urdu"]
