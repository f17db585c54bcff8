"""Holdfast: adapt language models to new data without making them forget."""

__version__ = "0.1.0"
