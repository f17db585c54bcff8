"""Methods side by side: which arms, at which rates and seeds, what came out, and how sure that is. No orchestration."""
