"""What DVC and Great Expectations leave in the home holds no pickle (the whole run's home is checked with the flow)."""

from holdfast.spec import Learn
from holdfast.validation import validate
from holdfast.versioning import prepare

from .pickles import pickled_files


def test_preparing_and_validating_leave_no_pickle(home, tiny_start, toy_rows, tmp_path):
    table = tmp_path / "toy.csv"
    table.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in toy_rows))
    learn = Learn(train=str(table))
    datasets = prepare.prepare(learn, (), 7, home)
    assert validate.validate(datasets, tiny_start, learn, (), 32, home).quarantined == 0
    assert any(home.path.rglob("*.db"))  # DVC's: its list of links would be pickled
    assert pickled_files(home.path) == []
