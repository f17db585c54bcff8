"""The axis `parameters`: which parts may move? One file per choice."""
