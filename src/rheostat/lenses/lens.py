"""`Lens`: the interface of every lens, from activations to log-probabilities over the vocabulary."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from rheostat.models.network import Network


class Lens(ABC):
    """Decodes activations of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @abstractmethod
    def logits(self, activations: Tensor, *, site: str | None = None) -> Tensor:
        """Return the logits (…, d_vocab) of activations (…, d_model); a trained lens needs to know their site."""

    def log_probabilities(self, activations: Tensor, *, site: str | None = None) -> Tensor:
        """Return log-probabilities in nats, (…, d_vocab), in float32 or better."""
        return log_softmax(self.logits(activations, site=site))


def log_softmax(logits: Tensor) -> Tensor:
    """Return the log-softmax over the vocabulary, taken in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
