"""The activation-addition vector of one contrast pair, token by token (Turner et al. 2023, arXiv:2308.10248).

Both prompts begin with the same token and are filled up to equal length; what they differ in is added to the first
tokens of another prompt. Each prompt runs by itself, so that exchanging the two negates the vector bit for bit, and
tokens before their first difference give exactly zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.arithmetic import Add
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.site import SiteLike, resolve, resolve_single

ALIGNMENTS = ("front", "middle", "back")


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

    @property
    def norms(self) -> Float[Tensor, " pos"]:
        """Its length at each token, in units of the activation."""
        found: Tensor = self.vector.flatten(1).norm(dim=1)
        return found

    def add(self, strength: float = 1.0, *, align: str = "front", n_tokens: int | None = None) -> Add:
        """Return the edit that adds strength × the vector to as many tokens of a prompt.

        Args:
            strength: the paper's coefficient c.
            align: `front`: to the first tokens; `back`: to the last ones; `middle`: around token n // 2 of n.
            n_tokens: of the prompt; needed for `middle` alone.

        A prompt that is shorter than the vector is refused when it runs, with `middle` at once.
        """
        return Add(self.site, self.vector, positions=self._positions(align, n_tokens), strength=strength)

    def at(self, site: SiteLike, network: Network) -> "PromptVector":
        """Return the same vector for another site, as in adding an embedding difference at a later block.

        Raises:
            SiteNotFound, SiteNotOffered
        """
        return replace(self, site=str(resolve_single(network, site)))

    def with_norms_of(self, other: "PromptVector") -> "PromptVector":
        """Return the vector with the other's length at each token; a token where it is zero stays zero.

        Raises:
            BadArgument: the two cover another number of tokens.
        """
        if len(self) != len(other):
            raise BadArgument(f"a vector of {len(self)} tokens cannot take the lengths of one of {len(other)}.")
        own = self.norms
        factor = torch.where(own > 0, other.norms.to(own) / own, 0.0)
        return replace(self, vector=self.vector * factor.view(-1, *[1] * (self.vector.dim() - 1)))

    def random(self, *, seed: int) -> "PromptVector":
        """Return a control: at each token a random direction with this vector's length there."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(self.vector.shape, generator=generator, dtype=torch.float64)
        shown = f"random vector {seed} as long as {self.positive!r} − {self.negative!r}"
        return replace(self, positive=shown, negative="", vector=drawn.to(self.vector)).with_norms_of(self)

    def _positions(self, align: str, n_tokens: int | None) -> tuple[int, ...]:
        n = len(self)
        if align not in ALIGNMENTS:
            raise BadArgument(f"align={align!r}: 'front', 'middle' or 'back'.")
        if align == "front":
            return tuple(range(n))
        if align == "back":
            return tuple(range(-n, 0))
        if n_tokens is None or n_tokens < n:
            raise BadArgument(f"align='middle' needs n_tokens, the prompt's length, of at least {n}; {n_tokens} given.")
        first = min(max(n_tokens // 2 - n // 2, 0), n_tokens - n)
        return tuple(range(first, first + n))

    def __neg__(self) -> "PromptVector":
        return replace(self, positive=self.negative, negative=self.positive, vector=-self.vector)


def prompt_vectors(
    network: Network,
    positive: Prompt,
    negative: Prompt | None,
    sites: "SiteLike | Sequence[SiteLike]" = "blocks.*.resid_pre",
    *,
    begin: str | int | None = None,
    padding: str | int = " ",
) -> dict[str, PromptVector]:
    """Return the activation-addition vector of a contrast pair at each site.

    The shorter prompt is filled up with `padding` behind its end until both have as many tokens; `negative=""` is
    padding alone.

    Args:
        network: a language model.
        positive: the text, or token ids, whose concept is added.
        negative: the one whose concept is subtracted; the paper prefers spaces to the end-of-text token. None:
            nothing is subtracted.
        sites: where; the paper reads and writes `resid_pre`.
        begin: the token that begins both; the prompts to be steered must begin with it too (see `beginning_with`).
            None: what the tokenizer puts there, which for some models is nothing.
        padding: a text of one token, or its id.

    Raises:
        BadArgument: both prompts are equal, or the positive one is empty.
        NotOneToken: the padding or the beginning is several tokens.
        SiteNotFound, SiteNotOffered
    """
    if positive == negative or not positive:
        raise BadArgument(f"the contrast pair {positive!r} − {negative!r} has no difference to add.")
    found = [str(site) for site in resolve(network, sites)]
    filler = network.token_id(padding) if isinstance(padding, str) else padding
    texts = [positive] if negative is None else [positive, negative]
    ids = [beginning_with(network, text, begin) for text in texts]
    length = max(map(len, ids))
    held = [capture(network, [row + [filler] * (length - len(row))], found) for row in ids]
    return {
        site: PromptVector(
            positive=_shown(positive),
            negative="" if negative is None else _shown(negative),
            site=site,
            vector=held[0][site][0] if negative is None else held[0][site][0] - held[1][site][0],
            model=network.name,
        )
        for site in found
    }


def beginning_with(network: Network, prompt: Prompt, begin: str | int | None) -> list[int]:
    """Return the tokens of a prompt with `begin` as the first, in place of what the tokenizer puts there.

    Args:
        network: a language model.
        prompt: a text, which may be empty, or token ids.
        begin: a text of one token, such as `<|endoftext|>`, or its id; None: the tokenizer's own way.

    Raises:
        NotOneToken: `begin` is several tokens.
    """
    if begin is not None:
        first = network.token_id(begin) if isinstance(begin, str) else begin
        ids = network.tokens.spell(prompt) if isinstance(prompt, str) else list(prompt)
        return ids if ids[:1] == [first] else [first, *ids]
    if prompt:
        return list(network.row(prompt).ids)
    return list(network.row(" ").ids)[: -len(network.tokens.spell(" "))]


def _shown(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else str(list(prompt))
