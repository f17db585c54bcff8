"""What was lost: paired intervals, forgetting metrics, representation similarity, and the stage that evaluates."""
