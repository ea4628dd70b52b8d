"""The only folder that touches hooks: runs a network, reads and edits activations on the way, and says what it did."""
