"""A dated stream replayed through the loop under several policies: its windows, what happened, and what it comes to."""
