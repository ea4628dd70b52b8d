"""What one row of logits says of a token, or of another row. Plain functions of tensors; none of them sees a pad.

Logits in half precision are taken to float32 first. A NaN among the logits makes the value NaN, never a rank.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def logit_difference(logits: Float[Tensor, "*rows d_vocab"], answer: int, other: int) -> Float[Tensor, "*rows"]:
    """Return how much higher the logit of `answer` is than that of `other`: the logarithm of their odds, in nats.

    Reference: Wang et al. 2023, Interpretability in the Wild (arXiv:2211.00593), section 2.
    """
    return full(logits)[..., answer] - full(logits)[..., other]


def log_probability(logits: Float[Tensor, "*rows d_vocab"], token: int) -> Float[Tensor, "*rows"]:
    """Return the natural logarithm of the token's probability, at most 0."""
    wide = full(logits)
    return wide[..., token] - wide.logsumexp(-1)


def probability(logits: Float[Tensor, "*rows d_vocab"], token: int) -> Float[Tensor, "*rows"]:
    """Return the softmax of the logits at the token, 0 to 1."""
    return log_probability(logits, token).exp()


def rank(logits: Float[Tensor, "*rows d_vocab"], token: int) -> Float[Tensor, "*rows"]:
    """Return 1 + the number of tokens with a higher logit: 1 is the likeliest, and ties share the better rank."""
    wide = full(logits)
    above = (wide > wide[..., token, None]).sum(-1) + 1
    return _where_known(wide, above.to(wide.dtype))


def among(logits: Float[Tensor, "*rows d_vocab"], tokens: Sequence[int]) -> Float[Tensor, "*rows"]:
    """Return 1 where the token that greedy decoding would write is one of `tokens`, else 0.

    Greedy decoding takes the highest logit, and the lowest id among equals.
    """
    wide = full(logits)
    if len(tokens) > 1:
        right = torch.isin(wide.argmax(-1), torch.tensor(tokens, device=wide.device))
    else:  # on a CPU a maximum is many times faster than its place
        (token,) = tokens
        own = wide[..., token]
        right = own >= wide.amax(-1)
        if token > 0:
            right &= own > wide[..., :token].amax(-1)
    return _where_known(wide, right.to(wide.dtype))


def surprise(logits: Float[Tensor, "*rows pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, "*rows pos"]:
    """Return the negative log-probability of one target per position, in nats, at least 0."""
    wide = full(logits)
    chosen = wide.gather(-1, targets.expand(wide.shape[:-1])[..., None])[..., 0]
    return wide.logsumexp(-1) - chosen


def kl_divergence(
    clean: Float[Tensor, "*#rows d_vocab"], logits: Float[Tensor, "*#rows d_vocab"]
) -> Float[Tensor, "*#rows"]:
    """Return KL(clean ‖ edited) of the two next-token distributions, in nats, at least 0.

    A token that the clean run rules out (a logit of −∞, or a probability that rounds to 0) adds nothing; one that only
    the edited run rules out adds ∞. What rounding leaves below 0 is 0.

    Reference: Kullback and Leibler 1951; as a measure of what an edit changed, Conmy et al. 2023 (arXiv:2304.14997).
    """
    before, after = full(clean).log_softmax(-1), full(logits).log_softmax(-1)
    chance = before.exp()
    return torch.where(chance == 0, 0.0, chance * (before - after)).sum(-1).clamp_min(0)


def full(logits: Float[Tensor, "*rows d_vocab"]) -> Float[Tensor, "*rows d_vocab"]:
    """Return float32 for narrower logits, and float32 and float64 as they are."""
    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def _where_known(logits: Tensor, values: Tensor) -> Tensor:
    """Return `values`, but NaN in rows whose logits hold one; comparing with NaN says false, not unknown."""
    return torch.where(logits.amax(-1).isnan(), torch.nan, values)
