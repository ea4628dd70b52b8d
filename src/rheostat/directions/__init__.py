"""Directions that stand for concepts: fitted from data, told apart from noise, and read."""
