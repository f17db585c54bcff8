"""Registered versions of one start model merged into a new one: `rules` say how numbers combine, `merge` does it."""
