"""The trainer: transformers' `Trainer` with checkpoints that hold no pickle and resume to the same bytes."""
