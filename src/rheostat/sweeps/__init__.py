"""Sweeps: many plans, their metrics, one table."""
