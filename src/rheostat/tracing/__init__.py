"""Tracing: which activations carry an answer."""
