"""Shapley values: what each player of a game adds on average, exactly or by sampling; and the game of a network."""
