"""The axis `objectives`: what do we minimise? One file per choice."""
