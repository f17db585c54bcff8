"""The report needs nothing else, runs nothing, and says what the records say."""

import base64
import re
from html.parser import HTMLParser

import pytest

from holdfast import report
from holdfast.errors import Corrupt

from .conftest import EVIL, put

pytestmark = pytest.mark.pictures


class Page(HTMLParser):
    """Collects tags, attributes that refer to something, and the text of each table row."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.rows, self.text = [], [], [], []
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in {"src", "href", "action", "style"}]
        assert not [name for name, _ in attributes if name.startswith("on")]
        self.cell = tag in {"td", "th"}
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        self.cell = False

    def handle_data(self, data):
        self.text.append(data)
        if self.cell and data.strip():
            self.rows[-1].append(data)

    def row(self, first):
        return next(row for row in self.rows if row and row[0] == first)


@pytest.fixture
def page(parts, records, tmp_path):
    path = report.write(tmp_path / "report", parts.result, **records)
    assert path == tmp_path / "report" / "report.html"
    return path


def test_the_page_refers_to_nothing_outside(page):
    parsed = Page(page.read_text())
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in parsed.references)
    assert not set(parsed.tags) & {"script", "link", "iframe", "object", "form", "base"}
    assert "default-src 'none'" in page.read_text()
    assert not re.search(r"@import|url\(", page.read_text())


def test_hostile_text_is_inert(page):
    text = page.read_text()
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") >= 10
    assert EVIL in "".join(Page(text).text)  # shown to the reader as it is
    markdown = page.with_suffix(".md").read_text()
    outside_code = re.sub(r"```.*?```", "", markdown, flags=re.S)
    assert "<script" not in outside_code


def test_pictures_are_inside(page):
    pictures = [value for value in Page(page.read_text()).references if value.startswith("data:")]
    assert len(pictures) == 3
    assert all(base64.b64decode(p.split(",")[1]).startswith(b"\x89PNG") for p in pictures)


def test_the_page_says_what_was_kept_and_lost(page, parts):
    parsed = Page(page.read_text())
    lost = parts.evaluated.remembered[1]
    assert parsed.row("english")[-1] == "kept"
    row = parsed.row(EVIL)
    assert row[1:] == [
        "90.0%", "80.0%", "-10.0", f"worst {-100 * lost.bound:+.1f}", "-5.0", "20/60", "400", "NOT KEPT",
    ]  # fmt: skip
    assert parsed.row("target")[-1] == "learned"
    text = " ".join(parsed.text)
    assert f"REFUSED: `{EVIL}` was not kept" in text
    assert "version 3" in text and "the most frequent label" in text


def test_the_page_shows_validation_data_lineage_and_times(page):
    parsed = Page(page.read_text())
    text = " ".join(parsed.text)
    for expected in (
        "not met",
        f"label {EVIL}; and more",
        "39 of 40",
        "d" * 64,
        "m" * 32,
        "g-dirty",
        "torch",
        "130.0",
        "reused",
    ):
        assert expected in text
    assert "1,200 of 48,000 encoder weights (2.5%)" in text


def test_passwords_stay_out(page, parts):
    everything = page.read_text() + page.with_suffix(".md").read_text() + "".join(report.summary_lines(parts.result))
    assert "secret" not in everything
    assert "postgresql://db.example/mlflow" in everything


def test_markdown_tables_keep_their_shape(page):
    rows = [line for line in page.with_suffix(".md").read_text().splitlines() if line.startswith("| english")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 10
    quarantined = next(line for line in page.with_suffix(".md").read_text().splitlines() if "a \\| b c" in line)
    assert quarantined.startswith("|")


def test_equal_records_give_equal_pages(page, parts, records, tmp_path):
    again = report.write(tmp_path / "again", parts.result, **records)
    assert again.read_bytes() == page.read_bytes()
    assert sorted(p.name for p in again.parent.iterdir()) == ["report.html", "report.md"]


def test_a_damaged_picture_is_not_shown(parts, records, tmp_path):
    folder = parts.home.store.path(parts.assessed.artifact)
    (folder / "heatmap.png").write_bytes(b"other")
    with pytest.raises(Corrupt, match=re.escape("heatmap.png")):
        report.write(tmp_path, parts.result, **records)
    assert not (tmp_path / "report.html").exists()


def test_a_run_without_champion_competences_or_quarantine_is_told_too(parts, records, tmp_path):
    empty = put(parts.home, "validation", {"results.json": b"{}"})
    changed = {"quarantined": 0, "expectations": (), "competences": (), "artifact": empty}
    records["validated"] = parts.validated.model_copy(update=changed)
    records["evaluated"] = parts.evaluated.model_copy(update={"champion": None, "cka": None, "remembered": ()})
    text = report.write(tmp_path, parts.result, **records).read_text()
    assert "no champion of this name" in text and "No row was set aside" in text and "not defined" in text
