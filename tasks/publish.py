"""After the gate: write the report, and show it in Prefect."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.context import TaskRunContext

from holdfast.home import Home
from holdfast.records import Result


@task(name="publish", persist_result=False)
def publish(home: Home, **parts: Any) -> dict[str, Any]:
    """Write the report of a run, leave Prefect artifacts (scores, stage times, heat map, links), return the result.

    The run is over: checkpoints that nobody has gone on with for long are removed.
    """
    from holdfast import leftovers, report, results

    result = results.assemble(home=home, **parts)
    page = report.write(Path(result.report).parent, result, home=home, **parts)
    if TaskRunContext.get() is not None:
        _show_in_prefect(result, page, home.store.path(parts["assessed"].artifact) / "heatmap.png")
    leftovers.remove_old(home)
    return result.model_dump(mode="json")


def _show_in_prefect(result: Result, page: Path, heat_map: Path) -> None:
    key = f"{result.pipeline}-{result.version}".lower().replace(".", "-").replace("_", "-")
    rows: list[dict[str, Any]] = [{"task": "target", **result.target.model_dump(mode="json")}]
    rows += [{"task": task.name, **task.model_dump(mode="json")} for task in result.remembered]
    create_table_artifact(rows, key=f"{key}-scores", description=f"{result.verdict}: {result.reason}")
    create_table_artifact([s.model_dump() for s in result.stages], key=f"{key}-stages", description="Seconds per stage")
    create_markdown_artifact(page.with_suffix(".md").read_text(encoding="utf-8"), key=f"{key}-report")
    create_image_artifact(heat_map.as_uri(), key=f"{key}-heatmap", description="How much each part matters")
    create_link_artifact(page.as_uri(), key=f"{key}-page", description="The report")
    create_link_artifact(result.tracking, key=f"{key}-mlflow", description=f"MLflow, run {result.run_id}")
