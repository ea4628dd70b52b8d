"""Directions that say given tokens under the unembedding alone: what the planted cases write into a state."""

from collections.abc import Sequence

from torch import Tensor

from rheostat.model import Model


def saying(model: Model, tokens: Sequence[int], state: Tensor) -> Tensor:
    """Return a direction (d_model) that says the tokens, as long as the state: their mean row beyond all rows' mean."""
    table = model.part(model.body.unembed).get_parameter("weight").detach()
    found = table[list(tokens)].mean(0) - table.mean(0)
    scaled: Tensor = found / found.norm() * state.norm()
    return scaled
