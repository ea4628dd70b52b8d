"""Ways to say how much each unit matters to a topic, one per file."""
