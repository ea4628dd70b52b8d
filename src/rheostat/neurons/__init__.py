"""Which units matter to a topic: rankings of the coordinates of a site, and clusters of the highest."""
