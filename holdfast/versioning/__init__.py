"""Datasets: the registry, their versions, and the private DVC repository."""
