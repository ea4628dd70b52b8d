"""What is known of a vector before it is added: what might predict its damage and the answer that wins."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from rheostat.model import Model
from rheostat.studies.mnist_addition.digits import Digits
from rheostat.studies.mnist_addition.network import Architecture
from rheostat.studies.mnist_addition.vectors import Kind, differences, norms

PREDICTORS = {
    "norm": "length",
    "cosine": "angle to a − b",
    "outside": "outside classes",
    "shift": "shift of logits",
    "margin_a": "margin of a",
    "margin_b": "margin of b",
}
"""Column → a short name."""
MEANINGS = (
    "Length: of the vector. Angle to a − b: cosine with the difference of the two digits' mean activations. Outside "
    "classes: share of the squared length outside the span of all digits' mean activations. Shift of logits: of the "
    "same pair at the last layer, largest minus mean. Margins: the logit of the image of a, or b, minus the next."
)
N_IMAGES = 1000
"""For the mean length of an activation."""


def describe(
    model: Model, architecture: Architecture, of_digits: Mapping[Kind, list[Tensor]], test: Digits
) -> pd.DataFrame:
    """Return a row per layer and pair.

    Returns:
        Rows {layer, a, b, norm, dose, class_norm, class_dose, cosine, outside, shift, margin_a, margin_b, aligned,
        largest}. dose: length over the mean length of an activation; class_…: of the vector between class means.
        aligned: the digit whose mean activation, seen from the mean of all, points most as the vector does; largest:
        the digit whose logit gains most from the same pair's vector at the last layer.
    """
    activations = model.run_plain(test.images[:N_IMAGES], capture=architecture.layers).activations
    assert activations is not None
    logits = of_digits["first image"][-1]
    shifts, own = differences(logits), margins(logits)
    tables = []
    for layer, path in enumerate(architecture.layers):
        single, means = of_digits["first image"][layer], of_digits["class mean"][layer]
        vectors, between = differences(single), differences(means)
        size = float(activations[path].flatten(1).norm(dim=-1).mean())
        directions = (means - means.mean(0)).flatten(1)
        alike = cosine_similarity(vectors.flatten(2)[:, :, None], directions[None, None], dim=-1)
        columns = {
            "norm": norms(vectors),
            "dose": norms(vectors) / size,
            "class_norm": norms(between),
            "class_dose": norms(between) / size,
            "cosine": cosine_similarity(vectors.flatten(2), between.flatten(2), dim=-1),
            "outside": outside(vectors.flatten(2), directions),
            "shift": shifts.amax(-1) - shifts.mean(-1),
            "margin_a": own[:, None].expand(10, 10),
            "margin_b": own[None, :].expand(10, 10),
            "aligned": alike.argmax(-1),
            "largest": shifts.argmax(-1),
        }
        a, b = (index.ravel() for index in np.indices((10, 10)))
        values = {name: column.flatten().numpy() for name, column in columns.items()}
        tables.append(pd.DataFrame({"layer": layer, "a": a, "b": b, **values}))
    return pd.concat(tables, ignore_index=True)


def margins(logits: Float[Tensor, "10 10"]) -> Float[Tensor, " 10"]:
    """Return, per digit's image, the logit of the digit minus the largest other."""
    own = logits.diagonal()
    others = logits.masked_fill(torch.eye(10, dtype=torch.bool), -torch.inf)
    return own - others.amax(-1)


def outside(vectors: Float[Tensor, "10 10 width"], directions: Float[Tensor, "10 width"]) -> Float[Tensor, "10 10"]:
    """Return the share of each vector's squared length outside the span of some directions; NaN for no vector."""
    _, sizes, basis = torch.linalg.svd(directions, full_matrices=False)
    basis = basis[sizes > 1e-5 * sizes[0]]
    inside: Tensor = (vectors @ basis.T).square().sum(-1)
    return 1 - inside / vectors.square().sum(-1)
