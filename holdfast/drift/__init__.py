"""Watching production data: windows, the reference, the checks, and what changed; no orchestrator, no server."""
