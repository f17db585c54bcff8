"""Prefect tasks, one module per stage: call one pure function, record, return a small record."""
