"""What was lost: metrics, intervals, verdicts."""
