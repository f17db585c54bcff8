"""Which version the new one must not be worse than."""

from prefect import task

from holdfast.home import Home
from holdfast.records import Start


@task(name="rival", persist_result=False)
def rival(name: str, adapter_digest: str, home: Home) -> Start | None:
    """Return the champion of `name`, or the one before it where the champion is this very adapter; None without one."""
    from holdfast.registry import versions

    return versions.rival(name, adapter_digest, home)
