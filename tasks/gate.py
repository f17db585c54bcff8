"""Stage 8: promote the version if it kept its promise, else refuse it with the reason."""

from typing import Any

from prefect import task

from holdfast.home import Home
from holdfast.records import Evaluated, Registered, Shadow
from holdfast.spec import Gate


@task(name="gate", persist_result=False)
def gate(
    registered: Registered, evaluated: Evaluated, settings: Gate, home: Home, shadow: Shadow | None = None
) -> dict[str, Any]:
    """Return `Verdict`. Never cached, but idempotent: promoting the champion again changes nothing."""
    from holdfast.registry import gate as gates

    return gates.gate(registered, evaluated, settings, home, shadow).model_dump(mode="json")
