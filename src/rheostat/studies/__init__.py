"""Named experiments from the literature; each execution leaves a record with a verdict per claim."""
