"""`Lens`: the interface of every lens, from activations to log-probabilities over the vocabulary."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.models.network import Network


class Lens(ABC):
    """Decodes activations of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @abstractmethod
    def logits(
        self, activations: Float[Tensor, "*rows d_model"], *, site: str | None = None
    ) -> Float[Tensor, "*rows d_vocab"]:
        """Return the logits (…, d_vocab) of activations (…, d_model); a trained lens needs to know their site."""

    def log_probabilities(
        self, activations: Float[Tensor, "*rows d_model"], *, site: str | None = None
    ) -> Float[Tensor, "*rows d_vocab"]:
        """Return log-probabilities in nats, (…, d_vocab), in float32 or better."""
        return log_softmax(self.logits(activations, site=site))


def log_softmax(logits: Float[Tensor, "*rows d_vocab"]) -> Float[Tensor, "*rows d_vocab"]:
    """Return the log-softmax over the vocabulary, taken in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
