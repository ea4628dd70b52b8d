"""Named places where activations live, and which tokens: `Site` and `Positions`."""
