"""The activation-addition vector of one contrast pair, token by token (Turner et al. 2023, arXiv:2308.10248)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.arithmetic import Add
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.sites.site import SiteLike, resolve

Alignment: TypeAlias = Literal["front", "back"]


@dataclass(frozen=True, eq=False)
class PromptVector:
    """h(positive) − h(negative) at each token of two prompts of equal length."""

    positive: str
    negative: str
    site: str
    vector: Float[Tensor, "pos *site"]
    """Row 0 belongs to the token that begins every text, if there is one, and is zero then."""
    model: str

    def __len__(self) -> int:
        """Return how many tokens it covers."""
        return len(self.vector)

    def add(self, strength: float = 1.0, *, align: Alignment = "front") -> Add:
        """Return the edit that adds strength × the vector to as many tokens of a prompt.

        Args:
            strength: the paper's coefficient c.
            align: `front`: to the first tokens; `back`: to the last ones.

        A prompt that is shorter than the vector is refused when it runs.
        """
        if align not in ("front", "back"):
            raise BadArgument(f"align={align!r}: 'front' or 'back'.")
        where = tuple(range(len(self))) if align == "front" else tuple(range(-len(self), 0))
        return Add(self.site, self.vector, positions=where, strength=strength)

    def __neg__(self) -> "PromptVector":
        return PromptVector(self.negative, self.positive, self.site, -self.vector, self.model)


def prompt_vectors(
    network: Network,
    positive: str,
    negative: str,
    sites: "SiteLike | Sequence[SiteLike]" = "blocks.*.resid_pre",
    *,
    padding: str = " ",
) -> dict[str, PromptVector]:
    """Return the activation-addition vector of a contrast pair at each site, from one pass of both prompts.

    The shorter prompt is filled up with `padding` behind its end until both have as many tokens; `negative=""` is
    padding alone.

    Args:
        network: a language model.
        positive: the text whose concept is added.
        negative: the text whose concept is subtracted; the paper prefers spaces to the end-of-text token.
        sites: where; the paper reads and writes `resid_pre`.
        padding: a text of one token.

    Raises:
        BadArgument: both prompts are equal or empty.
        NotOneToken: the padding is several tokens.
        SiteNotFound, SiteNotOffered
    """
    if positive == negative or not positive:
        raise BadArgument(f"the contrast pair {positive!r} − {negative!r} has no difference to add.")
    found = resolve(network, sites)
    ids = [
        list(network.row(text).ids) if text else list(network.row(padding).ids)[:-1] for text in (positive, negative)
    ]
    filler = network.token_id(padding)
    length = max(map(len, ids))
    held = capture(network, [row + [filler] * (length - len(row)) for row in ids], list(found))
    return {
        str(site): PromptVector(positive, negative, str(site), held[site][0] - held[site][1], network.name)
        for site in found
    }
