"""From an activation to a distribution over the vocabulary."""
