"""Importing this module teaches PEFT every method of ours; nothing else is needed to load their folders."""

from holdfast import delta
from holdfast.tuners import bottleneck, prefix, prompt

METHODS = (delta.NAME, bottleneck.NAME, prefix.NAME, prompt.NAME)
