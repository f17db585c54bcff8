"""The small typed records that stages hand to each other: JSON only, pointing at artifacts by digest."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen JSON-able record; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Record):
    """A folder in the store, named by the digest of its files."""

    kind: str
    digest: str


class DatasetVersion(Record):
    """One dataset as a run saw it.

    `digest` is the SHA-256 of the canonical rows (`rows.jsonl` in the artifact); `dvc_md5` is what the private DVC
    repository knows the file by; `git_revision` is the commit of the repository that the source lies in (ending in
    `-dirty` when the file differs from it), or None outside git.
    """

    ref: str
    source: str
    digest: str
    dvc_md5: str
    git_revision: str | None
    rows: int
    labels: dict[str, int]
    artifact: Artifact


class HeadInfo(Record):
    """A named classification head: its labels, in the order of its logits."""

    labels: tuple[str, ...]


class BaseRef(Record):
    """A base model: how to find it again (`name`, `revision`) and the SHA-256 that its weights must have."""

    name: str
    revision: str | None
    sha256: str


class Start(Record):
    """The start model, resolved: a base, or a registered version of one (`adapter` holds its deltas and heads).

    `task` says what it is used for, and so whether it is loaded as a classifier or as a decoder.
    """

    model: str
    base: BaseRef
    version: str | None = None
    adapter: Artifact | None = None
    heads: dict[str, HeadInfo] = {}
    task: Literal["classification", "generation"] = "classification"

    @property
    def digest(self) -> str:
        """The adapter's digest, or the base's weights' when there is no adapter."""
        return self.adapter.digest if self.adapter else self.base.sha256


class Merge(Record):
    """Registered versions of one start model made into one: by which rule, with a weight for each."""

    how: Literal["task-arithmetic", "ties"]
    weights: tuple[float, ...]
    density: float | None
    parents: tuple[Start, ...]


class Prepared(Record):
    """What the run works on. Keys of `datasets`: `learn.train|valid|test`, `remember.NAME.train|valid|test`.

    `teacher` is the model that the objective names, if it names one; `merge` says what was merged instead of tuned.
    """

    start: Start
    datasets: dict[str, DatasetVersion]
    teacher: Start | None = None
    merge: Merge | None = None


class Expectation(Record):
    """One Great Expectations result in brief; `example` is the first row against it, as `row 7: why`."""

    dataset: str
    expectation: str
    success: bool
    unexpected: int
    severity: Literal["stop", "quarantine", "warn"]
    example: str = ""


class Competence(Record):
    """How well the start model does a remembered task on `valid`; chance is the larger of 1/labels and majority."""

    name: str
    accuracy: float
    chance: float
    lower: float
    n: int


class Validated(Record):
    """The datasets after bad rows were set aside (same keys as `Prepared.datasets`), and the evidence."""

    datasets: dict[str, DatasetVersion]
    labels: tuple[str, ...]
    quarantined: int
    expectations: tuple[Expectation, ...]
    competences: tuple[Competence, ...]
    artifact: Artifact


class Assessed(Record):
    """Importance of every part; the artifact holds `importance.json`, `heatmap.png` and, on demand, safetensors.

    `circuit` holds `circuit.json` and `circuit.png`, where a circuit was to be found.
    """

    measure: str
    examples: int
    artifact: Artifact
    circuit: Artifact | None = None


class Selected(Record):
    """The plan of what moves. `moved`/`total` count encoder weights, `head` the weights of the head beside them."""

    moved: int
    total: int
    share: float
    names: tuple[str, ...]
    head: int
    artifact: Artifact


class Tuned(Record):
    """A tuned version before anyone judged it. `adapter` is the adapter folder; `curve` holds the loss per step.

    `trajectory` is what the controller saw, chose and spent; None where there was no contract to keep.
    """

    adapter: Artifact
    curve: Artifact
    trajectory: Artifact | None = None
    steps: int
    final_loss: float


class TargetScore(Record):
    """The target task before and after, paired on the test items; `interval` is two-sided, of the gain."""

    metric: str
    before: float
    after: float
    gain: float
    interval: tuple[float, float]
    lower: float
    positive_flips: int
    negative_flips: int
    n: int


class RememberedScore(Record):
    """A remembered task: `drop` = before - after, `bound` its one-sided upper bound; kept iff `bound < margin`."""

    name: str
    metric: str
    before: float
    after: float
    drop: float
    bound: float
    margin: float
    confidence: float
    kept: bool
    positive_flips: int
    negative_flips: int
    n: int


class ChampionScore(Record):
    """The new version against the champion on the target's test items: `bound` is the upper bound of the loss."""

    version: str
    before: float
    after: float
    drop: float
    bound: float
    confidence: float
    n: int


class Evaluated(Record):
    """What was learned and what was lost; the artifact holds the item-level outcomes and pictures."""

    target: TargetScore
    remembered: tuple[RememberedScore, ...]
    champion: ChampionScore | None
    kl: dict[str, float]
    cka: float | None
    artifact: Artifact


class Shadow(Record):
    """A challenger beside the champion on the newest labelled window: both answer, only the champion answers users.

    `window` is the window's digest, `n` its labelled rows that neither of the two learned from; `bound` is the upper
    bound of the loss, and the challenger holds where that is below `margin`. Without such rows it does not hold.
    """

    champion: str
    window: str | None
    before: float
    after: float
    drop: float
    bound: float
    margin: float
    confidence: float
    holds: bool
    n: int


class Registered(Record):
    """A version in the registry."""

    name: str
    version: str
    run_id: str
    digest: str


class Verdict(Record):
    """The gate's decision; `generation` is the ledger's number when promoted."""

    verdict: Literal["promoted", "refused"]
    reason: str
    generation: int | None


class StageTime(Record):
    """How long a stage took, in seconds, and whether its result was reused."""

    name: str
    seconds: float
    cached: bool


class Lineage(Record):
    """A version's four dimensions and the code that made it."""

    start: dict
    data: dict
    method: dict
    code: dict
    evaluation: dict


class Result(Record):
    """What `holdfast run --json` prints; `controller` says what the controller chose and why, where there was one.

    `learned` says whose words were learned, where some are the model's own; `shadow` how an adaptation that drift asked
    for did beside the champion.
    """

    pipeline: str
    verdict: Literal["promoted", "refused"]
    reason: str
    version: str
    run_id: str
    target: TargetScore
    remembered: tuple[RememberedScore, ...]
    selection: dict
    stages: tuple[StageTime, ...]
    lineage: Lineage
    report: str
    tracking: str
    controller: str | None = None
    learned: str | None = None
    shadow: Shadow | None = None
