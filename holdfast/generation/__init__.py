"""Decoder models: how prompts and answers become tokens, greedy answers, likelihoods, and probes of what was lost."""
