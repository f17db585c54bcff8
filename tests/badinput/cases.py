"""Everything that can be wrong with what a user gives, and what the message must say of it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tests.badinput.house import PARTS, RECIPE, House
from tests.flows.conftest import sentences


@dataclass(frozen=True)
class Case:
    """`wrong` is for people; `given(house)` makes it and returns the command; `says` is what the answer must hold.

    `during(house)` is a fault in place while the command runs. `then` is the command that must succeed right after
    it: where None, the very command that failed.
    """

    wrong: str
    given: Callable[[House], list[str]]
    code: int
    says: tuple[str, ...]
    during: Callable[[House], AbstractContextManager[Any]] = lambda house: nullcontext()
    then: tuple[str, ...] | None = ("run", "toy.yaml")


def run(**changes: Any) -> Callable[[House], list[str]]:
    """Run a file that changes the good one."""
    return lambda house: ["run", house.write("bad", **changes)]


def check(**changes: Any) -> Callable[[House], list[str]]:
    """Check a file that changes the good one."""
    return lambda house: ["check", house.write("bad", **changes)]


def again(**changes: Any) -> Callable[[House], list[str]]:
    """Run a file that changes the one with a remembered task; `old` in the changes goes to that task."""

    def given(house: House) -> list[str]:
        good = house.again()
        good["remember"][0].update(changes.pop("old", {}))
        return ["run", house.write("bad", **{**good, **changes, "name": "bad"})]

    return given


def table(name: str, data: bytes | str, **learn: str) -> Callable[[House], list[str]]:
    """Run a file that trains on the table `name` with these bytes."""

    def given(house: House) -> list[str]:
        house.bytes(name, data.encode() if isinstance(data, str) else data)
        return ["run", house.write("bad", learn={**{part: f"{part}.csv" for part in PARTS}, "train": name, **learn})]

    return given


def more(part: str, *rows: tuple[str, str], command: str = "run", **changes: Any) -> Callable[[House], list[str]]:
    """Give a part of the good data further rows of (text, label)."""

    def given(house: House) -> list[str]:
        good = dict(zip(PARTS, (range(40), range(40, 50), range(50, 90)), strict=True))
        extra = [{"text": text, "label": label} for text, label in rows]
        learn = {one: f"{one}.csv" for one in PARTS} | {part: f"more-{part}.csv"}
        house.rows(f"more-{part}.csv", [*sentences(good[part]), *extra])
        return [command, house.write("bad", **{"learn": learn, **changes})]

    return given


def parquet(house: House) -> list[str]:
    """A Parquet file whose texts are numbers."""
    import pyarrow
    from pyarrow import parquet as files

    files.write_table(pyarrow.table({"text": [1, 2], "label": ["positive", "negative"]}), house.project / "bad.parquet")
    return table("x.csv", "", train="bad.parquet")(house)


def ids(house: House) -> list[str]:
    """Rows 1 and 3 have one id."""
    rows = [{"id": str(n), **row} for n, row in enumerate(sentences(range(40)))]
    rows[2]["id"] = "0"
    learn = {part: f"{part}.csv" for part in PARTS} | {"train": house.rows("ids.csv", rows)}
    return ["check", house.write("bad", learn=learn)]


def flipped(house: House) -> list[str]:
    """The remembered task's valid rows have each other's labels, so the start model is never right."""
    other = {"positive": "negative", "negative": "positive"}
    rows = [{**row, "label": other[row["label"]]} for row in sentences(range(40, 50))]
    return again(old={"valid": house.rows("flipped.csv", rows)})(house)


HEADER = "text,label\n"
GOOD = "".join(f"{row['text']},{row['label']}\n" for row in sentences(range(40)))
OLD = {"name": "old", "valid": "valid.csv", "test": "test.csv"}
LONG = " ".join(["very"] * 100 + ["good", "movie"])
DUPLICATES = [(row["text"].upper(), row["label"]) for row in sentences(range(4))]
LEAKS = [(row["text"], row["label"]) for row in sentences(range(50, 54))]

FILES = [
    Case("unknown key", run(trainng={}), 2, ("bad.yaml, key `trainng`", "Did you mean `training`?")),
    Case("missing pipeline file", lambda h: ["run", "toi.yaml"], 2, ("toi.yaml", "no such pipeline file")),
    Case("no YAML", lambda h: ["run", h.bytes("bad.yaml", b"name: [")], 2, ("bad.yaml", "cannot be read as YAML",
          "line 1")),
    Case("override that is none", lambda h: ["run", "toy.yaml", "--set", "training.epochs"], 2,
         ("'training.epochs'", "--set dotted.key=value")),
    Case("override of an unknown key", lambda h: ["run", "toy.yaml", "--set", "training.epoch=3"], 2,
         ("toy.yaml, key `training.epoch`", "Did you mean `epochs`?")),
    Case("override with a wrong value", lambda h: ["run", "toy.yaml", "--set", "training.epochs=-1"], 2,
         ("toy.yaml, key `training.epochs`", "greater than 0", "-1")),
    Case("argument left out", lambda h: ["run"], 2, ("Missing argument 'file'",)),
    Case("unknown option", lambda h: ["run", "toy.yaml", "--sett", "a=1"], 2, ("--sett", "--set")),
    Case("unknown command", lambda h: ["rum"], 2, ("'rum'", "run")),
    Case("replay without remembered train", run(examples=["gold", "replay"], remember=[OLD]), 2,
         ("bad.yaml, key `examples`", "`replay` has nothing to replay", "`train` dataset")),
    Case("two remembered tasks of one name", run(remember=[OLD, OLD]), 2,
         ("bad.yaml, key `remember`", "two remembered tasks are named `old`")),
    Case("a new champion judged on no window", check(monitor={"rollback": {"windows": 0}}), 2,
         ("bad.yaml, key `monitor.rollback.windows`", "greater than or equal to 1", "0")),
    Case("more held out than learned", check(monitor={"retrain": {"shadow": 0.9}}), 2,
         ("bad.yaml, key `monitor.retrain.shadow`", "less than or equal to 0.5", "0.9")),
    Case("empty list of remembered tasks", run(name="toy", remember=[]), 0, ('"verdict": "promoted"',)),
    Case("start model that is nowhere", run(start={"model": "no-such-model"}), 2,
         ("key `start.model`", "`no-such-model`", "a folder, a hub id, models:/NAME@champion")),
    Case("name that is not registered", run(start={"model": "models:/toi@champion"}), 2,
         ("key `start.model`", "nothing is registered as `toi`", "Did you mean `toy`?")),
    Case("unknown version", lambda h: ["show", "toy/9"], 2, ("`toy` has no version 9", "one of 1")),
    Case("unknown alias", lambda h: ["predict", "toy@best", "test.csv", "out.csv"], 2,
         ("`toy` has no best", "champion", "a version's number")),
    Case("unknown head", lambda h: ["predict", "toy@champion", "test.csv", "out.csv", "--head", "mod"], 2,
         ("no head named `mod`", "one of label")),
    Case("remembered task with an unknown head", again(old={"head": "labl"}), 2,
         ("key `remember.old.head`", "no head named `labl`", "one of label", "Start from a version that")),
    Case("head with other labels", again(learn={**{part: f"moods-{part}.csv" for part in PARTS}, "head": "label"}), 2,
         ("moods-train.csv", "key `learn.head`", "glad", "negative, positive", "another name")),
    Case("file that `init` would overwrite", lambda h: ["init", "train.csv", "--output", "toy.yaml"], 2,
         ("toy.yaml: exists already", "--output")),
    Case("table without the text column", lambda h: ["predict", "toy@champion", "test.csv", "out.csv", "--text",
          "txet"], 2,
         ("test.csv, key `txet`", "no such column", "`text`")),
    Case("ledger's address that is none", lambda h: ["versions", "toy"], 2, ("key `HOLDFAST_LEDGER`", "sqlite:///"),
         during=lambda h: h.setting("HOLDFAST_LEDGER", "nonsense")),
]  # fmt: skip

TABLES = [
    Case("missing dataset", run(learn={"train": "trian.csv"}), 2, ("trian.csv: no such file",
          "Did you mean train.csv?")),
    Case("unknown dataset name", run(learn={"train": "nusax/javanes/train"}), 2,
         ("'nusax/javanes/train'", "`nusax/javanese/train`", "`holdfast data list`")),
    Case("unknown format", table("bad.xlsx", b"x"), 2, ("bad.xlsx", "suffix '.xlsx'", ".csv, .tsv, .jsonl")),
    Case("wrong column", table("bad.csv", HEADER + GOOD, label="lable"), 2,
         ("bad.csv, key `lable`", "no such column", "`label`")),
    Case("column twice", table("bad.csv", "text,text\na,b\n"), 2, ("bad.csv, key `text`", "more than once")),
    Case("empty file", table("bad.csv", ""), 2, ("bad.csv", "is empty", "at least one row")),
    Case("header without rows", table("bad.csv", HEADER), 2, ("bad.csv", "holds no rows", "at least one row")),
    Case("binary file", table("bad.csv", bytes(range(256)) * 9), 2, ("bad.csv", "binary", "UTF-8")),
    Case("UTF-16", table("bad.csv", (HEADER + GOOD).encode("utf-16")), 2, ("bad.csv", "UTF-16", "UTF-8")),
    Case("non-UTF-8 bytes",
         table("bad.csv", (HEADER + "fine,positive\ncaf\u00e9,negative\n").encode("latin-1")), 2,
         ("bad.csv, row 2", "not UTF-8 (0xe9 at byte 4", "Save the file again as UTF-8")),
    Case("ragged row", table("bad.csv", HEADER + "a,positive\nb,c,negative\n"), 2,
         ("bad.csv, row 2", "the row has 3 fields", "2: text, label")),
    Case("quotation mark never closed", table("bad.csv", HEADER + 'a,positive\n"b,negative\nc,positive\n'), 2,
         ("bad.csv, row 2", "quoting is broken", "must be quoted")),
    Case("NUL byte far down", table("bad.csv", HEADER + "a,positive\n" * 2000 + "b\0c,negative\n"), 2,
         ("bad.csv, row 2001, key `text`", "NUL", "save it again")),
    Case("byte order mark and Windows line ends", table("bom.csv", b"\xef\xbb\xbf" + (HEADER + GOOD).replace("\n",
          "\r\n").encode()), 0,
         ('"verdict": "promoted"',)),
    Case("broken line of JSON", table("bad.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", \n'), 2,
         ("bad.jsonl, row 2", "not JSON", "one JSON object a line")),
    Case("JSON that is no object", table("bad.jsonl", '{"text": "a", "label": "x"}\n3\n'), 2,
         ("bad.jsonl, row 2", "JSON int", "one JSON object a line")),
    Case("Parquet with numbers for texts", parquet, 2, ("bad.parquet, row 1, key `text`", "int 1", "a string")),
    Case("broken Parquet", table("bad.parquet", b"PAR1" + bytes(40)), 2, ("bad.parquet",
          "cannot be read as Parquet")),
    Case("label that is a list", table("bad.jsonl", '{"text": "a", "label": ["x"]}\n'), 2,
         ("bad.jsonl, row 1, key `label`", "list ['x']", "text or a whole number")),
    Case("missing label", table("bad.csv", HEADER + "a,positive\nb,\n"), 2,
         ("bad.csv, row 2, key `label`", "the label is missing", "text or a whole number")),
    Case("too few rows to split", table("few.csv", HEADER + "a,positive\nb,negative\n", valid=None, test=None), 2,
         ("few.csv", "'negative' has too few rows", "at least 3", "add rows")),
]  # fmt: skip

ROWS = [
    Case("label unseen in training", more("test", *[(f"the {n} food", "postive") for n in ("a", "very", "not",
          "and", "is")]), 2,
         ("more-test.csv, row 81", "5 of 85 rows are bad", "the label `postive` is not known", "`positive`",
          "quarantine.jsonl")),
    Case("one class only", table("one.csv", HEADER + "a movie,positive\nthe movie,positive\n"), 2,
         ("one.csv", "every row of learn.train has the same label", "`positive`", "at least two labels")),
    Case("duplicate rows", more("train", *DUPLICATES), 2,
         ("more-train.csv, row 81", "8 of 88 rows are bad", "the same text and label as row 1", "quarantine.jsonl",
          "correct the data")),
    Case("leak into test", more("train", *LEAKS), 2,
         ("more-train.csv, row 81", "8 of 88 rows are bad", "the same text stands in learn.test, row 1",
          "quarantine.jsonl")),
    Case("text longer than the model", more("train", (LONG, "positive"), training={**RECIPE, "epochs": 0.2}), 3,
         ('"verdict": "refused"',)),
    Case("text longer than the model, checked", more("train", (LONG, "positive"), command="check"), 0,
         ("fits-the-model", "row 81: 104 tokens, of which the model reads 64")),
    Case("cell of 10 MB", more("train", ("good " * 2_000_000, "positive"), command="check"), 0,
         ("no-endless-text", "row 81: the text has 10000000 characters, more than 50000", '"quarantined": 1')),
    Case("repeated id", ids, 0, ("distinct-ids", "row 3: the id `0` is also row 1's")),
    Case("labels that differ in case or white space", more("train", ("a fine movie", "Positive "), command="check"),
          0,
         ("no-similar-labels", "row 81: the label 'Positive ' differs from 'positive' only in case or white space")),
    Case("remembered task at chance", flipped, 2,
         ("flipped.csv", "key `remember.old`", "cannot do `old`", "on 20 valid rows", "chance is 0.500",
          "a lower bound above chance",
          "Do not list this task")),
    Case("margin not establishable at n", again(old={"margin": 0.001}), 2,
         ("test.csv", "key `remember.old.margin`", "`old` has 80 good test rows", "at least 2703", "wider margin")),
]  # fmt: skip

PARTS_OF_A_MODEL = [
    Case("pattern matching nothing", run(parameters={"layers": ["*.atention.*"]}), 2,
         ("key `parameters.layers`", "`*.atention.*` matches no tensor", "attention")),
    Case("pattern matching everything", run(parameters={"layers": ["*"]}), 2,
         ("key `parameters.layers`", "`*` matches every tensor", "a part")),
    Case("layers that are everything", run(parameters={"layers": ["embeddings", 0, 1, "pooler"]}), 2,
         ("key `parameters`", "covers all", "choose `full`")),
    Case("layer that is not there", run(parameters={"layers": [7]}), 2,
         ("key `parameters.layers`", "no layer 7", "0 to 1")),
    Case("head that is not there", run(parameters={"heads": ["0.9"]}), 2,
         ("key `parameters.heads`", "no head `0.9`", "0.0 to 1.3")),
]  # fmt: skip


def same_name(house: House) -> list[str]:
    """Two pipeline files that call themselves `bad`."""
    return ["up", house.write("bad", **house.again() | {"name": "bad"}), house.write("bad-too")]


SERVERS = [
    Case("`up` beside a Prefect server of the user's", lambda h: ["up", "toy.yaml"], 2,
         ("key `PREFECT_API_URL`", "a Prefect server of yours", "prefect deploy --all"),
         during=lambda house: house.setting("PREFECT_API_URL", "http://127.0.0.1:9/api")),
    Case("span of time that is none", lambda h: ["up", "toy.yaml", "--every", "5 minutes"], 2,
         ("key `--every`", "'5 minutes' is no span of time", "90s, 15m or 1h")),
    Case("folder of pipelines that is none", lambda h: ["up", "--pipelines", "nowhere"], 2,
         ("nowhere, key `--pipelines`", "no such folder")),
    Case("two pipelines of one name", same_name, 2, ("bad-too.yaml, key `name`", "bad.yaml has the same name")),
]  # fmt: skip

BAD_INPUT = [*FILES, *TABLES, *ROWS, *PARTS_OF_A_MODEL, *SERVERS]


def text_of(answer: dict[str, Any]) -> str:
    """Return the answer as it stood on stdout."""
    return json.dumps(answer, ensure_ascii=False)
