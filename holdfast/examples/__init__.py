"""The axis `examples`: what do we learn from? One file per choice."""
