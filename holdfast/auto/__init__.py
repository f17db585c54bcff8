"""`parameters: auto`: candidate selections ranked by the importances, tried in a short probe on `valid`, one chosen."""
