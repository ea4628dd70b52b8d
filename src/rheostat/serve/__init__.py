"""A server whose requests carry edits: many at once, each under its own plan."""
