"""The trainer, its checkpoints, and the tune stage."""
