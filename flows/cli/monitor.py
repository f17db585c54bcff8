"""`holdfast monitor` and `holdfast decisions`: one round of watching, and every decision that was ever made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import common
from flows.cli.run import SetOption

_CODES = {"retrain": 4, "rollback": 4, "ask-for-labels": 5}


def monitor(
    file: Annotated[Path, typer.Argument(help="The pipeline file.")],
    window: Annotated[
        Path | None, typer.Option(help="A file or folder whose rows are one window; else monitor.source, else the log.")
    ] = None,
    act: Annotated[bool, typer.Option("--act", help="Adapt again, or roll back, where that was decided.")] = False,
    why: Annotated[str | None, typer.Option("--why", help="Ask for an adaptation by hand, with a reason.")] = None,
    set_: SetOption = None,
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """Watch production data once: check, report, decide; --act adapts.

    Exit 0: nothing to do, or done: adapted and promoted, rolled back; 3: adapted and refused; 4: an adaptation or a
    rollback was decided and awaits --act; 5: labels are wanted, or an audit failed; 2: bad input; 1: failed.
    """
    with common.guarded(json):
        place = common.enter(home)
        from holdfast import spec
        from holdfast.drift import champion

        champion.standing(spec.load(file, set_).registered_name, place)  # before Prefect is started for nothing
        from flows import monitor as flow
        from flows.cli import bars

        with bars.plain_lines() if json else bars.best():
            decisions, result = flow.once(file, set_ or [], place, window, why, act, announce=_announce)
        if json:
            found = [decision.model_dump(mode="json") for decision in decisions]
            adapted = result.model_dump(mode="json") if result else None
            common.print_json({"name": decisions[-1].name, "decisions": found, "adapted": adapted})
        else:
            _show(decisions, result)
        raise typer.Exit(_code(decisions[-1], result, act))


def _announce(line: str) -> None:
    typer.echo(line, err=True)


def _code(last: Any, result: Any, acted: bool) -> int:
    if result is not None:
        return 0 if result.verdict == "promoted" else 3
    if last.audit is not None and (last.audit.broken or last.audit.failed):
        return 5
    return 0 if last.outcome == "rollback" and acted else _CODES.get(last.outcome, 0)


def _show(decisions: Any, result: Any) -> None:
    for decision in decisions:
        typer.echo(f"{decision.outcome} ({decision.rule}): {decision.reason}")
        if decision.report:
            typer.echo(f"  report: {decision.report}/report.html")
        if decision.wanted_labels:
            typer.echo(f"  worth labelling: {decision.report}/to-label.csv ({len(decision.wanted_labels)} rows)")
    if result is not None:
        from holdfast import report

        for line in report.summary_lines(result):
            typer.echo(line)


def decisions(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    home: common.HomeOption = None,
    json: common.JsonOption = False,
) -> None:
    """List every decision about NAME, those to do nothing too, its adaptations, and who was champion since when."""
    with common.guarded(json):
        place = common.enter(home)
        from holdfast.decisions import book
        from holdfast.registry import ledger

        past, champions = book.at(place).past(name), ledger.at(place).history(name)
        if json:
            lists: dict[str, Any] = {**vars(past), "champions": champions}
            found = {key: [one.model_dump(mode="json") for one in some] for key, some in lists.items()}
            common.print_json({"name": name, **found})
            return
        rows = [[d.at, d.version, d.outcome, d.rule, d.reason, (d.window or "")[:12]] for d in past.decisions]
        common.print_table(["at", "version", "outcome", "rule", "reason", "window"], rows, title=name)
        for event in past.adaptations:
            typer.echo(f"{event.at} adaptation {event.token} {event.event} ({event.decision[:12]}) {event.holder}")
            for line in _came_of(event.result):
                typer.echo(f"  {line}")
        for entry in champions:
            typer.echo(f"{entry.at} generation {entry.generation}: {entry.action} version {entry.version}, {entry.who}")


def _came_of(result: Any) -> list[str]:
    """Return what came of an adaptation that ended or failed, as lines."""
    from holdfast.records import Shadow
    from holdfast.reports import words

    lines = [f"version {result['version']} {result['verdict']}"] if result.get("verdict") else []
    lines += [f"shadow: {words.shadow(Shadow(**result['shadow']))}"] if result.get("shadow") else []
    return lines + ([result["reason"]] if result.get("reason") else [])
