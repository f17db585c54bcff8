"""Deciding what to do about drift: a rule that is a pure function of what was seen, and the book of its decisions."""
