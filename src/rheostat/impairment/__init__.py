"""The dial: damage a part of a model by a graded amount, and measure what breaks."""
