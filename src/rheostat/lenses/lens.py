"""`Lens`: the interface of every lens, from activations to log-probabilities over the vocabulary."""

from abc import ABC, abstractmethod

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
        """Return log-probabilities in nats, (…, d_vocab)."""
        return self.logits(activations, site=site).log_softmax(-1)
