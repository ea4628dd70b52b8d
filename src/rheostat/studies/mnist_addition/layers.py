"""The five places of a network, three of which differ."""

GRADED_LAYERS = (0, 1, 3)
"""Those that differ: layer 2 repeats layer 1 and layer 4 repeats layer 3 (see `depth`)."""
UNIT = "networks"
_NAMES = ("layer 0", "layers 1 and 2", "layers 1 and 2", "layers 3 and 4", "layers 3 and 4")


def layer_name(layer: int) -> str:
    """Return a layer's name, together with the one that gives the same numbers."""
    return _NAMES[layer]
