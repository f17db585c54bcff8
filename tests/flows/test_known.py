"""What is told without a run is only what is known from one."""

from pathlib import Path

import pytest
import yaml

from flows import known
from holdfast.home import Home


@pytest.mark.parametrize("more", [{"merge": {"versions": ["models:/a/1"], "how": "ties"}}, {}], ids=["merge", "unmade"])
def test_what_was_not_made_is_not_told(more: dict, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    model = "all-MiniLM-L6-v2"
    spec = {"name": "t", "start": {"model": model}, "learn": {"train": str(tmp_path / "rows.csv")}, **more}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(spec))
    assert known.tell(tmp_path / "t.yaml", [], home) is None, "a new home"
    home.results.mkdir()
    assert known.tell(tmp_path / "t.yaml", [], home) is None, "a home with the results of others"
    assert list(home.results.iterdir()) == []
