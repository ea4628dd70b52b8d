"""What the post gives in figures, as far as it is known here: not its table of 90 pairs, only means and ends of it.

The post calls its figures perplexity. They are mean cross-entropies in nats: 0.089 could be no perplexity, which is at
least 1.
"""

SOURCE = "Baker, “Activation additions in a simple MNIST network” (LessWrong, 2023)"

UNPATCHED = 0.089
ALL_CELLS = 7.417
"""Mean of the table's 100 cells, the ten unpatched ones of its diagonal among them; the “~7.4” of the post."""
ALL_PAIRS = 8.23
"""Mean of the 90 others."""
BY_LAYER = (7.80, 12.69, 12.69, 17.01, 17.01)
"""Under the vector 3 − 1, by the module after which it is added."""
NAMED_LAYER = 0
"""The layer for which the post gives its table."""
ROW_MEANS = (11.9, 4.3, 4.9, 16.3, 7.9, 14.7, 7.9, 7.5, 2.3, 4.6)
"""Mean over b ≠ a of the table's row of a = 0 … 9."""
CELLS = {(9, 7): 0.6, (5, 2): 26.7, (3, 1): 12.7}
"""(a, b) → the table's cell: the smallest, the largest, and the pair of `BY_LAYER`."""
NOT_GIVEN = (
    "The post's table of 90 pairs was not available here; compared are the means of its ten rows, its smallest and "
    "largest cell, and its cell 3 − 1."
)
