"""Great Expectations suites, and what to do with a bad row."""
