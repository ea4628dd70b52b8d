"""What to change: edits are values that say where, which tokens and how; the engine applies them."""
