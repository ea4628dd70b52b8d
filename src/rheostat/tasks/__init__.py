"""What a network is asked to do: items with answers, pairs of words with one relation, and how they are prompted."""
