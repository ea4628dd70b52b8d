"""What to read, and the `Activations` that come back."""
